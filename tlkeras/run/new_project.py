"""The whole road of `scripts/new_project.py`: this template in, a project with a name of its own out."""

import importlib.util
import json
import keyword
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tlkeras.errors import UserError
from tlkeras.run.project_notebooks import forget_pages
from tlkeras.run.project_parts import BYTE_FOR_BYTE, Parts, choose_parts
from tlkeras.run.project_readme import command_lines, make_readme

TEMPLATE = "tlkeras"
# The template's lines leave room for so many letters; a test formats and lints a copy with the longest name.
NAME = re.compile(r"[a-z][a-z0-9_]{1,15}")
DESCRIPTION = "An image classifier, trained by transfer learning with Keras."
FIRST = "Two commands"  # the section of the README with what a reader is told to type first
IGNORED_BY_GIT = {"build", "dist", "venv"}


def new_project(
    template: Path,
    target: Path,
    name: str | None = None,
    description: str = DESCRIPTION,
    scripts: str = "none",
    notebooks: str = "none",
) -> str:
    """Copy the template into a project of the user's own: renamed, with a README of its own and a first commit.

    The copy is made beside the target under a hidden name, and is in its place when it is whole.

    Args:
        template: the repository's folder.
        target: where the project goes; a folder that is not there yet, or is empty.
        name: of the package; the target's own name when None.
        description: one line for the README and the package's metadata.
        scripts: which of the scripts beyond the usual ones come along: "all", "none", or names joined by commas.
        notebooks: which of the notebooks come along, likewise.

    Returns:
        What was made, and the commands to go on with, in a few lines.

    Raises:
        UserError: for a target that is in use or cannot be made, a name that a package cannot have, or parts that are
            not there.
    """
    place = target.resolve()
    name = place.name if name is None else name
    check_name(name, template)
    parts = choose_parts(template, TEMPLATE, scripts, notebooks)
    partial = make_partial(target, template)
    try:
        write_project(template, partial, name, " ".join(description.split()), parts)
        repository = first_commit(partial, name)
        put_in_place(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    lines = [f"Project: {name}, {len(parts.taken) + 1} files in {target}", f"Scripts: {', '.join(parts.scripts)}"]
    lines += [f"Notebooks: {', '.join(parts.notebooks)}"] if parts.notebooks else []
    lines += [repository, "Next:", f"cd {shlex.quote(str(target))}", *command_lines(place / "README.md", FIRST)]
    return "\n".join(lines)


def make_partial(target: Path, template: Path) -> Path:
    """Make the hidden folder beside the target that is renamed to it at the end.

    Args:
        target: where the project is to go.
        template: the repository's folder.

    Returns:
        The folder, which is empty.

    Raises:
        UserError: something is at the target already, or no folder can be made there.
    """
    try:
        check_target(target, template)
        place = target.resolve()
        partial = place.with_name(f".{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a program that was killed
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"The folder {target} cannot be made: {error.strerror}. Give one elsewhere.") from None
    return partial


def check_target(target: Path, template: Path) -> None:
    """Refuse a place where something is already.

    Args:
        target: where the project is to go.
        template: the repository's folder.

    Raises:
        UserError: it is a file, a folder that is not empty, or lies inside the template.
    """
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"The folder {target} is not empty. Give one that is empty, or not there yet.")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file. Give a folder that is empty or not there yet.")
    if target.resolve().is_relative_to(template.resolve()):
        raise UserError(f"The folder {target} lies inside the template. Give one beside it.")


def check_name(name: str, template: Path) -> None:
    """Refuse a name that Python could not import, or that something else is imported by.

    Args:
        name: of the new package.
        template: the repository's folder.

    Raises:
        UserError: a sentence that says whose name it is.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f'The name was "{name}"; it must be one that Python can import: 2 to 16 lower-case letters, digits and '
            "underscores, a letter first. Give one with --name."
        )
    pins = "\n".join((template / file).read_text(encoding="utf-8") for file in ("requirements.txt", "constraints.txt"))
    needed = {pin.lower().replace("-", "_") for pin in re.findall(r"^([\w-]+)==", pins, re.MULTILINE)}
    own = {path.stem for pattern in ("*", "scripts/*", "tests/*") for path in template.glob(pattern)}
    shown = re.findall(r"--data (\w+)|(\w+)/", "\n".join(command_lines(template / "README.md")))
    installed = importlib.util.find_spec(name)
    whose = (
        "a word of Python" if keyword.iskeyword(name)
        else "a module of Python's own" if name in sys.stdlib_module_names
        else "a package that the project needs" if name in needed
        else "a folder or script of the project" if name in own | IGNORED_BY_GIT
        else "a folder of data in the README's commands" if any(name in words for words in shown)
        else "a package that is installed here" if installed and installed.origin
        else None
    )  # fmt: skip
    if whose:
        raise UserError(f'The name was "{name}", which is {whose}. Give another one with --name.')


def write_project(template: Path, folder: Path, name: str, description: str, parts: Parts) -> None:
    """Write all files of the project, renamed.

    Args:
        template: the repository's folder.
        folder: where they go; it is not there yet.
        name: of the package.
        description: one line.
        parts: which files come along.
    """
    for path in parts.taken:
        place = folder / rename(path.as_posix(), name)
        place.parent.mkdir(parents=True, exist_ok=True)
        content = (template / path).read_bytes()
        place.write_bytes(content if BYTE_FOR_BYTE & set(path.parts) else renamed_content(content, name))
        shutil.copymode(template / path, place)
    forget_pages(folder / "notebooks", parts.left)
    metadata = folder / "pyproject.toml"
    line = f"description = {toml_string(description)}\n{authors_line(folder)}".rstrip()
    text = re.sub(r"^description = .*$", lambda _: line, metadata.read_text(encoding="utf-8"), flags=re.MULTILINE)
    metadata.write_text(text, encoding="utf-8")
    readme = make_readme(template, parts.left)
    origin = f"Made from the template {TEMPLATE} (Apache-2.0)."
    head = f"# {name}\n\n{description}\n\n{origin}\n\n"
    (folder / "README.md").write_text(head + rename(readme, name), encoding="utf-8")


def toml_string(text: str) -> str:
    """Text as a string of TOML, which is written like JSON's."""
    return json.dumps(text, ensure_ascii=False)


def authors_line(folder: Path) -> str:
    """The line of `pyproject.toml` with whom git knows in a folder; empty where it knows nobody or is not there."""
    known: dict[str, str] = {}
    environment = own_environment()
    for key in ("name", "email") if shutil.which("git") else ():
        command = ["git", "config", f"user.{key}"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        known[key] = done.stdout.strip()
    if not re.fullmatch(r"[\w.+-]+@[\w.-]+", known.get("email", ""), re.ASCII):  # setuptools takes no other
        known.pop("email", None)
    pairs = ", ".join(f"{key} = {toml_string(value)}" for key, value in known.items() if value)
    return f"authors = [{{ {pairs} }}]" if pairs else ""


def rename(text: str, name: str) -> str:
    """Text of the template with the project's name, in environment variables too."""
    return text.replace(TEMPLATE, name).replace(TEMPLATE.upper(), name.upper())


def renamed_content(content: bytes, name: str) -> bytes:
    """Bytes of a file with the project's name if they are text, else as they are."""
    try:
        return content if b"\0" in content else rename(content.decode("utf-8"), name).encode("utf-8")
    except UnicodeDecodeError:
        return content


def own_environment() -> dict[str, str]:
    """The environment without what names another repository, such as a hook of git sets for the programs it calls."""
    return {key: os.environ[key] for key in os.environ if key not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}


def first_commit(folder: Path, name: str) -> str:
    """Make a git repository of a folder with one commit, if git is there and knows who commits.

    Args:
        folder: the project.
        name: of the project, for the message.

    Returns:
        A sentence that says what was done or what is to do.
    """
    message = f"{name}, made from the template {TEMPLATE}"
    by_hand = f'git init && git add --all && git commit -m "{message}"'
    if not shutil.which("git"):
        return f"Repository: none, as git is not installed; later, in the folder: {by_hand}"
    commands: Sequence[Sequence[str]] = (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.useConfigOnly=true", "commit", "--quiet", "--message", message],  # never with a guessed name
    )
    for command in commands:
        done = subprocess.run(["git", *command], cwd=folder, env=own_environment(), capture_output=True, text=True)
        if done.returncode:
            why = next(
                (line for line in reversed(done.stderr.splitlines()) if line.startswith("fatal: ")), "fatal: it failed"
            )
            return f"Repository: no first commit ({why[7:]}); make it in the folder: {by_hand}"
    return "Repository: git, with its first commit"


def put_in_place(partial: Path, target: Path) -> None:
    """Move a whole project to its place; an empty folder stays the folder it is, as a shell may stand in it."""
    if not target.exists():
        partial.rename(target)
        return
    for path in sorted(partial.iterdir()):
        path.rename(target / path.name)
