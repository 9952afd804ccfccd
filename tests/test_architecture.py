"""The rules of structure that a reader counts on, one test for each; a test collects all violations and fails once."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "tlkeras").rglob("*.py"), *(ROOT / "scripts").glob("*.py")])
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
HEAVY = ("tensorflow", "keras")

# From what is imported to what imports; a module may import from its own layer and from those before it.
LAYERS = [
    ["errors"],
    ["config", "io"],
    ["runtime", "gpu_driver", "progress", "notebook"],
    ["backbones", "modalities"],
    ["data", "models"],
    ["cluster"],
    ["extras"],
    ["features"],
    ["training"],
    ["evaluation"],
    ["export"],
    ["selection"],
    ["run"],
    ["serving"],
    ["cli"],
    ["commands"],
    ["scripts", "__init__", "__main__"],
]
# What a project may lack: the core names these packages, if at all, in a text that is imported when it is needed.
PARTS = (
    "tlkeras.extras", "tlkeras.modalities.text", "tlkeras.modalities.audio", "tlkeras.data.csv_file",
    "tlkeras.data.tfds",
)  # fmt: skip
LIGHT = ("errors", "config", "io", "backbones", "modalities", "cli", "commands", "scripts")
# Modules of the other layers that find and decode the examples, without TensorFlow.
LIGHT_MODULES = (
    "data.sources", "data.loading", "data.splits", "data.prepare", "features.cache", "training.checkpoint", "run.job",
    "run.load_run", "export.artifact", "export.formats",
)  # fmt: skip
# What data or backbones are of: nothing of the core asks for it, it asks the `Modality` or the `BackboneSpec`.
KINDS = {"modality", "provider", "form", "preset", "handle"}


def layer_of(file: str) -> str:
    """Return the layer of a file, such as "data" or "config"."""
    parts = Path(file).parts
    return "scripts" if parts[0] == "scripts" else parts[1].removesuffix(".py")


def module_of(file: str) -> str:
    """Return the name that a file of the package is imported by."""
    return ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Yield the module, the imported name and the line of each import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from ((f"{'.' * node.level}{node.module or ''}", alias.name, node.lineno) for alias in node.names)


def own_imports() -> Iterator[tuple[str, int, str]]:
    """Yield file, line and full name of each import of the package's own modules."""
    for file, tree in TREES.items():
        for module, name, line in imports(tree):
            full = f"{module}.{name}".rstrip(".")
            if module.partition(".")[0] in ("tlkeras", "scripts", "tools", ""):
                yield file, line, full


def is_part(name: str) -> bool:
    """Return whether a module belongs to something that a project may lack."""
    return any(f"{name}.".startswith(f"{part}.") for part in PARTS)


def core() -> Iterator[tuple[str, ast.Module]]:
    """Yield the files of the package that every project has."""
    yield from ((file, tree) for file, tree in TREES.items() if not is_part(module_of(file)))


def test_every_file_has_a_layer():
    assert {layer_of(file) for file in TREES} <= {name for layer in LAYERS for name in layer}


def test_imports_point_one_way():
    number = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    wrong = []
    for file, line, full in own_imports():
        words = full.split(".")
        layer = words[1] if words[0] == "tlkeras" and words[1] in number else "__init__"
        one_way = words[0] == "tlkeras" and number[layer] <= number[layer_of(file)]
        if not one_way and full != "tlkeras.__version__":  # which is no one's business but the package's
            wrong.append(f"{file}:{line} imports {full}, which is built on it")
    assert not wrong, "\n".join(wrong)


def test_the_core_imports_nothing_that_a_project_may_lack():
    wrong = [
        f"{file}:{line} imports {full}"
        for file, line, full in own_imports()
        if is_part(full) and not is_part(module_of(file))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_private_names_of_other_modules():
    wrong = []
    for file, line, full in own_imports():
        if any(word.startswith("_") and word != "__version__" for word in full.split(".")):
            wrong.append(f"{file}:{line} imports {full}")
    assert not wrong, "\n".join(wrong)


def test_private_names_of_keras_are_in_one_file():
    """In the other files that import Keras, each name with an underscore is one that the package itself gives."""
    everything = [node for tree in TREES.values() for node in ast.walk(tree)]
    own = {node.name for node in everything if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for node in everything if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    wrong = []
    for file, tree in TREES.items():
        used = [(f"{module}.{name}", line) for module, name, line in imports(tree) if module.split(".")[0] == "keras"]
        if file == "tlkeras/models/keras_private.py" or not used:
            continue
        used += [(f"….{node.attr}", node.lineno) for node in ast.walk(tree)
                 if isinstance(node, ast.Attribute) and node.attr not in own]  # fmt: skip
        wrong += [f"{file}:{line} uses {name}" for name, line in used if re.search(r"\._(?!_)", name)]
    assert not wrong, "\n".join(wrong)


def test_light_modules_do_not_load_tensorflow():
    """In fact, not only in the text: nothing that they import loads it either."""
    names = {module_of(file) for file in TREES if file.startswith("tlkeras/") and layer_of(file) in LIGHT}
    names |= {f"tlkeras.{name}" for name in LIGHT_MODULES} | {"tlkeras"}
    for file, tree in TREES.items():  # what commands and scripts import at their top
        if layer_of(file) in ("commands", "scripts", "__main__"):
            found = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
            names |= {node.module for node in found if node.module.startswith("tlkeras")}
    code = f"import sys, {', '.join(sorted(names))}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_core_does_not_ask_what_kind_of_data_or_backbone_it_has():
    """No comparison of a kind with a constant, no test for one of its classes: the object itself has the answer."""
    wrong = [f"{file}:{line} asks: {text}" for file, tree in core() for line, text in branches(tree)]
    assert not wrong, "\n".join(wrong)


def branches(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of each expression that tells one kind of data or backbone from another."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            constants = [words for side in sides if (words := strings_of(side))]
            about_kind = any(names_kind(side) for side in sides if not strings_of(side))
            if (constants and (about_kind or set.union(*constants) & known_kinds())) or any(map(is_class, sides)):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Match) and names_kind(node.subject):
            yield node.lineno, f"match {ast.unparse(node.subject)}"
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("isinstance", "issubclass") and is_class(node.args[1]):
                yield node.lineno, ast.unparse(node)
            if called in ("startswith", "endswith") and node.args:
                words = strings_of(node.args[0])
                if words and (names_kind(node.func.value) or words & known_kinds()):
                    yield node.lineno, ast.unparse(node)


def strings_of(node: ast.expr) -> set[str]:
    """Return the text of a constant, or the texts of a tuple, list or set of constants."""
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)}


def names_kind(node: ast.expr) -> bool:
    """Return whether an expression is about the kind of data or backbone, such as `data.modality.name`."""
    names = {inner.attr if isinstance(inner, ast.Attribute) else getattr(inner, "id", "") for inner in ast.walk(node)}
    return bool(names & KINDS)


def is_class(node: ast.expr) -> bool:
    """Return whether an expression is, or holds, a class of one kind, such as `ImageModality`."""
    items = node.elts if isinstance(node, ast.Tuple) else [node]
    names = {item.attr if isinstance(item, ast.Attribute) else getattr(item, "id", "") for item in items}
    return any(name.endswith(("Modality", "Spec")) and name not in ("Modality", "BackboneSpec") for name in names)


def known_kinds() -> set[str]:
    """Return the names of all modalities and of all providers of backbones, these also as they stand in a name."""
    modalities = {Path(file).stem for file in TREES if file.startswith("tlkeras/modalities/")} - {"base", "__init__"}
    providers = {Path(file).parts[2] for file in TREES if file.startswith("tlkeras/extras/")} - {"__init__.py"}
    return modalities | providers | {f"{name}:" for name in providers} | {"applications"}


def test_the_rule_about_kinds_finds_what_it_forbids():
    asking = [
        "modality == 'image'", "data.modality.name != 'text'", "spec.provider in ('hub', 'kerashub')",
        "kind == 'audio'", "modality is ImageModality", "isinstance(spec, HubSpec)", "name.startswith('hub:')",
        "form.startswith('p')", "'text' in modality.name",
    ]  # fmt: skip
    fine = [
        "task == 'regression'", "given.modality is not own.modality", "isinstance(spec, BackboneSpec)",
        "weights != 'none'", "name.startswith('_')", "modality.inline",
    ]  # fmt: skip
    for text in asking:
        assert list(branches(ast.parse(text))), text
    for text in fine:
        assert not list(branches(ast.parse(text))), text


def test_files_and_functions_are_short():
    wrong = []
    for file, tree in TREES.items():
        lines = len((ROOT / file).read_text(encoding="utf-8").splitlines())
        if lines > (30 if layer_of(file) == "scripts" else 400):
            wrong.append(f"{file} has {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > 50:
                wrong.append(f"{file}:{node.lineno} {node.name} has {length(node)} lines")
    assert not wrong, "\n".join(wrong)


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function without its docstring."""
    text = node.body[0] if ast.get_docstring(node) else None
    return node.end_lineno - node.lineno + 1 - (text.end_lineno - text.lineno + 1 if text else 0)


def test_what_is_public_has_a_docstring():
    wrong = []
    for file, tree in TREES.items():
        if tree.body and not ast.get_docstring(tree):
            wrong.append(file)
        for node in tree.body:
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            public = isinstance(node, kinds) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                wrong.append(f"{file}:{node.lineno} {node.name}")
    assert not wrong, "\n".join(wrong)
