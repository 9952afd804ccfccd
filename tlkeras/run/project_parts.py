"""Which files of the template come along into a new project."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlkeras.cli import not_known
from tlkeras.errors import UserError

CORE = ("train", "evaluate", "predict", "summary", "cache")  # scripts that every project has
NEVER = ("new_project",)
FILES = (
    ".gitignore", "LICENSE", "constraints.txt", "pyproject.toml", "requirements.txt", "requirements-dev.txt",
    "saved_models/README.md",
)  # fmt: skip
FOLDERS = (".ci", "notebooks", "scripts", "tests")  # and the package
STAYS = ("benchmarks",)  # and README.md: the figures there are the template's, and the project gets one of its own
BYTE_FOR_BYTE = {"bundled"}  # folders of weights and the cards that say where they come from


@dataclass(frozen=True)
class Parts:
    """What comes along and what does not, as paths relative to the template.

    Attributes:
        taken: files that are copied.
        left: files and whole folders that are not.
        scripts: names of the scripts that come along.
        notebooks: names of the notebooks that come along.
    """

    taken: list[Path]
    left: set[str]
    scripts: list[str]
    notebooks: list[str]


def choose_parts(template: Path, package: str, scripts: str, notebooks: str) -> Parts:
    """Choose the files that a project of these scripts and notebooks needs.

    A module of the library comes along if a script that does needs it, or the package itself names it; a file
    of the tests if all that it names comes along.

    Args:
        template: the repository's folder.
        package: name of the package.
        scripts: "all", "none", or names of scripts beyond the usual ones, joined by commas.
        notebooks: "all", "none", or names of notebooks, joined by commas.

    Raises:
        UserError: there is no such script or notebook.
    """
    programs = sorted(path.stem for path in (template / "scripts").glob("*.py") if path.stem not in NEVER)
    books = sorted(path.stem for path in (template / "notebooks").glob("*.ipynb"))
    kept = {*CORE, *chosen_names("script", scripts, programs)}
    kept_books = chosen_names("notebook", notebooks, books)
    files = [path for folder in (*FOLDERS, package, *STAYS) for path in files_in(template, folder)]
    starts = [Path(package, "__init__.py"), *(Path("scripts", f"{name}.py") for name in kept)]
    starts += [Path("notebooks", f"{name}.py") for name in kept_books]
    modules = {module_name(path): path for path in files if path.parts[0] == package and path.suffix == ".py"}
    needed = reached(template, modules, [path for path in starts if path in files])
    unneeded = {name for name, path in modules.items() if path not in needed}

    def stays(path: Path) -> bool:
        if path.parts[0] == "notebooks":  # what belongs to no single one comes along with any; runs of theirs do not
            return not kept_books or len(path.parts) > 2 or path.stem in set(books) - set(kept_books)
        if path.parts[0] == "scripts":
            return path.stem not in kept
        return path.parts[0] in STAYS or (path in modules.values() and module_name(path) in unneeded)

    left = {path for path in files if stays(path)}
    names = {path.name for path in left if path.parts[0] == "scripts" or path.stem in books}
    names |= empty_folders(files, left)
    tests = [path for path in files if path.parts[0] == "tests" and path.suffix == ".py"]
    left |= {path for path in tests if names_any(template / path, unneeded, names)}
    taken = [Path(entry) for entry in FILES] + [path for path in files if path not in left]
    left_names = {path.as_posix() for path in left} | empty_folders(files, left)
    return Parts(taken, left_names, [name for name in programs if name in kept], kept_books)


def chosen_names(what: str, words: str, known: Sequence[str]) -> list[str]:
    """The names that a user chose among the known ones.

    Args:
        what: "script" or "notebook".
        words: "all", "none", or names joined by commas.
        known: all that there are.

    Raises:
        UserError: one of them is not known, or "all" or "none" is among others.
    """
    if words in ("all", "none"):
        return list(known) if words == "all" else []
    names = [word.strip().removesuffix(".py").removesuffix(".ipynb") for word in words.split(",")]
    if {"all", "none"} & set(names):
        raise UserError(f"--{what}s was {words}; all and none stand alone. Give one of them, or names with commas.")
    for name in names:
        if name not in known:
            raise UserError(not_known(what, f'"{name}"', name, ["all", "none", *known]))
    return names


def files_in(template: Path, folder: str) -> list[Path]:
    """The files of a folder as paths relative to the template, without what Python and editors leave there."""
    found = sorted(path.relative_to(template) for path in (template / folder).rglob("*") if path.is_file())
    return [
        path
        for path in found
        if not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts)
    ]


def module_name(path: Path) -> str:
    """The name that a file of the package is imported by."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def mentions(path: Path) -> Iterator[str]:
    """All that a Python file imports, by full names, and all of its texts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def reached(template: Path, modules: dict[str, Path], starts: Sequence[Path]) -> set[Path]:
    """Files of the modules that some files need, directly or not.

    Args:
        template: the repository's folder.
        modules: files by the names of the modules, relative to the template.
        starts: the files to start from, which are among what is needed.
    """
    waiting, needed = list(starts), set(starts)
    while waiting:
        for mention in mentions(template / waiting.pop()):
            words = mention.split(".")
            for end in range(1, len(words) + 1):  # with a module comes the package that it lies in
                path = modules.get(".".join(words[:end]))
                if path and path not in needed:
                    needed.add(path)
                    waiting.append(path)
    return needed


def names_any(path: Path, modules: set[str], names: set[str]) -> bool:
    """Whether a test needs one of these modules, or names one of these files or folders."""
    found = set(mentions(path))
    return bool(found & names) or any(
        mention == module or mention.startswith(f"{module}.") for mention in found for module in modules
    )


def empty_folders(files: Sequence[Path], left: set[Path]) -> set[str]:
    """Folders of which no file comes along."""
    used = {folder for path in files if path not in left for folder in path.parents}
    return {folder.as_posix() for path in left for folder in path.parents if folder not in used}
