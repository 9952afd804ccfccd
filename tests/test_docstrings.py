"""Docstrings say what the signatures say: names, defaults, what is raised, and shapes where arrays go in or out."""

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docstring_parser
import pytest

import tlkeras

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tlkeras").rglob("*.py"))
# With more parameters than these a line of prose no longer tells which is which.
FEW = 3
ARRAYS = r"\b(np\.ndarray|keras\.KerasTensor|tf\.Tensor|tf\.data\.Dataset)"
SHAPE = r"`\([^`]*\)`"


@dataclass(frozen=True)
class Function:
    """A public function or method, and its docstring."""

    place: str
    node: ast.FunctionDef

    @property
    def text(self) -> str:
        return ast.get_docstring(self.node) or ""

    @property
    def docs(self) -> docstring_parser.Docstring:
        return docstring_parser.parse(self.text, docstring_parser.DocstringStyle.GOOGLE)

    @property
    def defaults(self) -> dict[str, str | None]:
        """Each parameter with its default as it is written, None where it has none; without self."""
        given = self.node.args
        usual = [*given.posonlyargs, *given.args]
        values = [None] * (len(usual) - len(given.defaults)) + given.defaults + given.kw_defaults
        pairs = zip([*usual, *given.kwonlyargs], values, strict=True)
        found = {one.arg: None if value is None else ast.unparse(value) for one, value in pairs}
        found |= {one.arg: None for one in (given.vararg, given.kwarg) if one}
        return {name: value for name, value in found.items() if name not in ("self", "cls")}

    @property
    def exported(self) -> bool:
        return self.node.name in tlkeras.__all__ and "." not in self.place.rpartition("::")[2]

    def raised(self) -> set[str]:
        """Exceptions that it raises itself, by name."""
        calls = [node.exc for node in ast.walk(self.node) if isinstance(node, ast.Raise) and node.exc]
        names = {ast.unparse(call.func if isinstance(call, ast.Call) else call) for call in calls}
        return {name for name in names if name[0].isupper()}  # the others are exceptions that were caught


def nodes(kind: type) -> Iterator[tuple[str, ast.AST]]:
    """Public functions and methods, or classes, each with the place it stands at."""
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


FUNCTIONS = [Function(place, node) for place, node in nodes(ast.FunctionDef)]
CLASSES = {node.name for _, node in nodes(ast.ClassDef)}
DATACLASSES = {
    place: node
    for place, node in nodes(ast.ClassDef)
    if any("dataclass" in ast.unparse(d) for d in node.decorator_list)
}
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.place)


@each_function
def test_arguments_are_those_of_the_signature(function):
    told = [entry.arg_name.lstrip("*") for entry in function.docs.params]
    if told or function.exported or len(function.defaults) > FEW:
        assert told == list(function.defaults)


@each_function
def test_defaults_are_those_of_the_signature(function):
    for entry in function.docs.params:
        if stated := re.search(r"[Dd]efault(?:s to|:| is) `?\"?([\w.-]+?)\"?`?(?:[.,;)]|$)", entry.description):
            assert stated[1] == str(function.defaults[entry.arg_name]).strip("'\""), entry.arg_name


@each_function
def test_what_is_raised_is_told(function):
    told = {entry.type_name for entry in function.docs.raises}
    assert function.raised() <= told
    assert all(hasattr(builtins, name) or name in CLASSES for name in told)


@each_function
def test_shapes_are_told(function):
    given = [*function.node.args.args, *function.node.args.kwonlyargs]
    hints = [ast.unparse(hint) for hint in [*(one.annotation for one in given), function.node.returns] if hint]
    if any(re.match(ARRAYS, hint) for hint in hints):
        assert re.search(SHAPE, function.text), f"{function.node.name} takes or gives arrays of which shape?"


@pytest.mark.parametrize("function", [one for one in FUNCTIONS if one.exported], ids=lambda function: function.place)
def test_what_notebooks_use_is_told_whole(function):
    assert function.node.returns and all(one.annotation for one in function.node.args.args)
    if ast.unparse(function.node.returns) != "None":
        assert function.docs.returns
    if function.node.name.startswith("build_"):
        for needed in (r"arXiv:\d{4}\.\d{4,5}\b|https://", r"`\(B, H, W, 3\)`", "0–255", "UserError"):
            assert re.search(needed, function.text), needed


@pytest.mark.parametrize("place", DATACLASSES)
def test_attributes_are_the_fields(place):
    node = DATACLASSES[place]
    fields = [entry for entry in node.body if isinstance(entry, ast.AnnAssign)]
    told = docstring_parser.parse(ast.get_docstring(node) or "", docstring_parser.DocstringStyle.GOOGLE).params
    if told or (len(fields) > 1 and "option(" not in ast.unparse(node)):  # an option brings its own help
        assert {entry.arg_name for entry in told} == {ast.unparse(entry.target) for entry in fields}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_that_are_referred_to_exist(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node) or ""
            for name in re.findall(r"`(tlkeras(?:\.\w+)+)`", text):
                assert exists(name), name
            for file in re.findall(r"`((?:tlkeras|tests)/[\w/.]+)`", text):
                assert (ROOT / file).exists(), file


def exists(name: str) -> bool:
    """Whether there is a module of this name, or a module that defines its last parts."""
    words = name.split(".")
    for end in range(len(words), 0, -1):
        place = ROOT.joinpath(*words[:end])
        file = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
        if file.exists():
            text = file.read_text(encoding="utf-8")
            return all(re.search(rf"\b{word}\b", text) for word in words[end:])
    return False
