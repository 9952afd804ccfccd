"""The rules of structure that a reader counts on: imports point one way, and everything is short."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "tlkeras").rglob("*.py"), *(ROOT / "scripts").glob("*.py")])
HEAVY = ("tensorflow", "keras")

# From what is imported to what imports; a module may import from its own layer and from those before it.
LAYERS = [
    ["errors"],
    ["config", "backbones"],
    ["startup", "display", "durable", "archives", "places", "unfreeze", "weight_files", "parser", "options"],
    ["hub"],
    ["data", "models"],
    ["features"],
    ["training"],
    ["evaluation"],
    ["run"],
    ["scripts", "__init__"],
]
NAMES = {name for layer in LAYERS for name in layer}
LIGHT = [name for layer in LAYERS[:3] for name in layer]
# The road up to the decoded pictures, and whatever a script imports at its top, does without TensorFlow.
LIGHT_MODULES = [
    "hub.encoders",
    "hub.handles",
    "hub.row",
    "data.sources",
    "data.reading",
    "data.sounds",
    "data.splits",
    "data.prepare",
    "features.store",
    "training.checkpoint",
]


def layer_of(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


def part_of(path: Path) -> str:
    """The part of the program that a file belongs to, such as "data" or "config"."""
    inside = path.relative_to(ROOT)
    return "scripts" if inside.parts[0] == "scripts" else inside.parts[1].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str, int]]:
    """Module, imported name and line of each import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import"
            yield from ((node.module, alias.name, node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
class TestEachFile:
    def test_imports_point_one_way(self, path):
        own = layer_of(part_of(path))
        for module, name, line in imports(path):
            names = module.split(".")
            assert names[0] != "scripts", f"line {line}: the library does not import scripts"
            if names[0] != "tlkeras":
                continue
            parts = [names[1]] if len(names) > 1 else [name if name in NAMES else "__init__"]
            if parts == ["__init__"] and name.startswith("__"):
                continue  # __version__ is nobody's business but the package's
            assert layer_of(parts[0]) <= own, f"line {line}: {part_of(path)} imports {module}, which is built on it"

    def test_no_private_names_of_another_module(self, path):
        for module, name, line in imports(path):
            if module.partition(".")[0] == "tlkeras":
                private = [
                    word for word in [*module.split("."), name] if word.startswith("_") and word != "__version__"
                ]
                assert not private, f"line {line}: imports {module}.{name}"

    def test_light_parts_never_name_tensorflow(self, path):
        if part_of(path) in LIGHT and part_of(path) != "startup":
            assert not [line for module, _, line in imports(path) if module.partition(".")[0] in HEAVY]

    def test_files_are_short(self, path):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 260
        if part_of(path) == "scripts":
            assert own_lines(ast.parse("\n".join(lines)), lines) <= 30

    def test_functions_are_short(self, path):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno + 1 - docstring_lines(node)
                assert length <= 50, f"{node.name} has {length} lines"

    def test_what_is_public_is_explained(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or not tree.body
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node) or node.name in ("main", "available_cores"), (
                    f"{node.name} has no docstring"
                )


def docstring_lines(node: ast.AST) -> int:
    if not ast.get_docstring(node):
        return 0
    text = node.body[0]
    return text.end_lineno - text.lineno + 1


def own_lines(tree: ast.Module, lines: list[str]) -> int:
    """Lines of a script without docstrings, imports and empty ones."""
    given = sum(docstring_lines(node) for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef))
    given += sum(
        node.end_lineno - node.lineno + 1 for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    )
    return len([line for line in lines if line.strip()]) - given


def imported_by_scripts() -> list[str]:
    """The modules of the library that the scripts import at their top."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES if part_of(path) == "scripts"]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.ImportFrom)]
    return sorted({node.module for node in nodes if node.module.startswith("tlkeras.")})


def test_every_part_has_a_layer():
    assert {part_of(path) for path in SOURCES} == NAMES


def test_light_modules_do_not_load_tensorflow():
    """In fact, not only in the text: nothing that they import loads it either."""
    modules = ", ".join([*(f"tlkeras.{name}" for name in [*LIGHT, *LIGHT_MODULES]), *imported_by_scripts()])
    code = f"import sys, {modules}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
