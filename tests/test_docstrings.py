"""Docstrings agree with the code: arguments, defaults, what is raised, names; a test collects all that do not."""

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docstring_parser

import tlkeras

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tlkeras").rglob("*.py"))


def parse(text: str) -> docstring_parser.Docstring:
    """Return the sections of a docstring in Google style."""
    return docstring_parser.parse(text, docstring_parser.DocstringStyle.GOOGLE)


@dataclass(frozen=True)
class Function:
    """A public function or method, and its docstring."""

    where: str
    node: ast.FunctionDef

    @property
    def text(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def docs(self) -> docstring_parser.Docstring:
        return parse(self.text)

    @property
    def defaults(self) -> dict[str, str | None]:
        """Return each parameter with its default as it is written, None where it has none; without self."""
        given = self.node.args
        usual = [*given.posonlyargs, *given.args]
        values = [None] * (len(usual) - len(given.defaults)) + given.defaults + given.kw_defaults
        pairs = zip([*usual, *given.kwonlyargs], values, strict=True)
        found = {one.arg: None if value is None else ast.unparse(value) for one, value in pairs}
        found |= {one.arg: None for one in (given.vararg, given.kwarg) if one}
        return {name: value for name, value in found.items() if name not in ("self", "cls")}

    def raised(self) -> set[str]:
        """Return the names of the exceptions that it raises itself."""
        calls = [node.exc for node in ast.walk(self.node) if isinstance(node, ast.Raise) and node.exc]
        names = {ast.unparse(call.func if isinstance(call, ast.Call) else call) for call in calls}
        return {name for name in names if name[0].isupper()}  # the others are exceptions that were caught


def nodes(kind: type) -> Iterator[tuple[str, ast.AST]]:
    """Yield public functions and methods, or classes, each with its file and name."""
    for path in FILES:
        waiting = [("", node) for node in ast.parse(path.read_text(encoding="utf-8")).body]
        while waiting:
            owner, node = waiting.pop(0)
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if isinstance(node, kind):
                yield f"{path.relative_to(ROOT).as_posix()}::{owner}{node.name}", node
            if isinstance(node, ast.ClassDef):
                waiting += [(f"{node.name}.", inner) for inner in node.body]


FUNCTIONS = [Function(where, node) for where, node in nodes(ast.FunctionDef)]
CLASSES = {node.name for _, node in nodes(ast.ClassDef)}


def is_exported(where: str) -> bool:
    """Return whether a function or a class is one of `tlkeras.__all__`, which notebooks and other programs use."""
    file, _, name = where.partition("::")
    return tlkeras._HOMES.get(name) == file.removesuffix(".py").replace("/", ".")


def report(problems: Iterable[str]) -> None:
    """Fail with all problems, if there are any."""
    found = list(problems)
    assert not found, "\n" + "\n".join(found)


def test_arguments_are_those_of_the_signature():
    """Of dataclasses, the attributes are fields. What is exported names all of them, the others what needs words."""
    problems = []
    for function in FUNCTIONS:
        documented = [entry.arg_name.lstrip("*") for entry in function.docs.params]
        parameters = list(function.defaults)
        if documented != [name for name in parameters if name in documented or is_exported(function.where)]:
            problems.append(f"{function.where}: Args are {documented}, parameters {parameters}")
    for where, node in nodes(ast.ClassDef):
        entries = [entry for entry in node.body if isinstance(entry, ast.AnnAssign)]
        fields = {ast.unparse(entry.target) for entry in entries}
        needed = {ast.unparse(entry.target) for entry in entries if "ClassVar" not in ast.unparse(entry.annotation)}
        documented = {entry.arg_name for entry in parse(ast.get_docstring(node) or "").params}
        if any("dataclass" in ast.unparse(entry) for entry in node.decorator_list) and documented:
            wrong = sorted((documented - fields) | (needed - documented if is_exported(where) else set()))
            problems += [f"{where}: Attributes and fields differ in {', '.join(wrong)}"] if wrong else []
    report(problems)


def test_defaults_are_those_of_the_signature():
    problems = []
    for function in FUNCTIONS:
        for entry in function.docs.params:
            stated = re.search(r"[Dd]efault(?:s to|:| is) `?\"?([\w.-]+?)\"?`?(?:[.,;)]|$)", entry.description)
            default = str(function.defaults.get(entry.arg_name)).strip("'\"")
            if stated and stated[1] != default:
                problems.append(f"{function.where}: the default of {entry.arg_name} is {default}, not {stated[1]}")
    report(problems)


def test_what_is_raised_is_documented():
    """What is exported names all that it raises; what the others name is an exception."""
    problems = []
    for function in FUNCTIONS:
        documented = {entry.type_name for entry in function.docs.raises}
        if is_exported(function.where) and (missing := function.raised() - documented):
            problems.append(f"{function.where} raises {', '.join(missing)}")
        unknown = [name for name in documented if not (hasattr(builtins, name or "") or name in CLASSES)]
        problems += [f"{function.where}: there is no exception {name}" for name in unknown]
    report(problems)


def test_public_names_have_arguments_returns_and_an_example():
    problems = []
    for function in (function for function in FUNCTIONS if is_exported(function.where)):
        missing = [name for name in function.defaults if f"{name}:" not in function.text]
        if function.node.returns is None or any(one.annotation is None for one in function.node.args.args):
            missing.append("type hints")
        if ast.unparse(function.node.returns or ast.Constant(None)) != "None" and not function.docs.returns:
            missing.append("Returns")
        missing += [] if "Example:\n" in function.text else ["Example"]
        if function.node.name.startswith("build_"):  # the paper, and what goes in
            needed = (r"arXiv:\d{4}\.\d{4,5}\b|https://", r"`\(B, H, W, 3\)`", "0–255", "UserError")
            missing += [pattern for pattern in needed if not re.search(pattern, function.text)]
        problems += [f"{function.where} lacks {', '.join(missing)}"] if missing else []
    report(problems)


def test_names_that_are_referred_to_exist():
    problems = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                # A word in capitals stands for any other.
                names = [name for name in re.findall(r"`(tlkeras(?:\.\w+)+)`", text) if not exists(name)]
                files = re.findall(r"`((?:tlkeras|tests|scripts|configs|docs|tools)/[\w/.]+)`", text)
                names += [file for file in files if not (ROOT / file).exists()]
                names = [name for name in names if not re.search(r"\b[A-Z]{3,}\b", name)]
                problems += [f"{path.relative_to(ROOT)}: there is no {name}" for name in names]
    report(problems)


def exists(name: str) -> bool:
    """Return whether there is a module of this name, or a module that defines its last parts."""
    words = name.split(".")
    for end in range(len(words), 0, -1):
        path = ROOT.joinpath(*words[:end])
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        if file.exists():
            text = file.read_text(encoding="utf-8")
            return all(re.search(rf"\b{word}\b", text) for word in words[end:])
    return False
