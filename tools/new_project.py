"""Make a project of your own from this template: renamed, without the parts that it does not need, committed.

    python tools/new_project.py "../My Flowers" --data photos/flowers

`tools/parts.toml` says which files belong to which part; lines of them between `# [part: NAME]` and `# [/part]` stay if
that part was chosen, or one of several with commas. It needs nothing but Python.
"""

import argparse
import json
import keyword
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "tlkeras"
MARK = re.compile(r"\s*(?:#|<!--) \[(?:part: ([\w, -]+)|/part)\](?: -->)?\n?")
NAME = re.compile(r"[a-z][a-z0-9_]{1,15}")  # longer names make lines of more than 120 characters
UNCHANGED = {"LICENSE", "bundled"}  # file and folder whose content stays byte for byte
OTHER_NAMES = {"absl", "build", "dist", "google", "pil", "sklearn", "venv", "yaml"}  # of packages, or ignored by git
TABLE: dict[str, dict] = tomllib.loads((ROOT / "tools" / "parts.toml").read_text(encoding="utf-8"))


class UserError(Exception):
    """A mistake of the user's, said in a sentence."""


def slug(title: str) -> str:
    """Return a title as the name of a Python package: "My Flowers" becomes "my_flowers"."""
    letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def check_name(name: str) -> None:
    """Refuse a name that Python cannot import, or by which something else is imported."""
    pins = "\n".join((ROOT / file).read_text(encoding="utf-8") for file in ("requirements.txt", "constraints.txt"))
    needed = {pin.lower().replace("-", "_") for pin in re.findall(r"^([\w-]+)==", pins, re.MULTILINE)} | OTHER_NAMES
    own = {path.stem for pattern in ("*", "scripts/*", "tests/*") for path in ROOT.glob(pattern)} | {TEMPLATE}
    wrong = {
        "a name has 2 to 16 characters, a-z, 0-9 and _, and begins with a letter": not NAME.fullmatch(name),
        "that is a keyword or a module of Python": keyword.iskeyword(name) or name in sys.stdlib_module_names,
        "that is a package that the project needs": name in needed,
        "that is a folder or script of the project": name in own,
    }
    for reason in [reason for reason, holds in wrong.items() if holds]:
        raise UserError(f'The package would be called "{name}", but {reason}. Give another name with --name.')


def check_target(target: Path) -> None:
    """Refuse a folder in use; the template itself may be replaced where git keeps all of it."""
    place, status = target.resolve(), git(ROOT, "status", "--porcelain")
    if place == ROOT and (status.returncode or status.stdout):
        raise UserError(f"The files of {target} would be replaced. Commit them first, so that git keeps them.")
    if ROOT in place.parents:
        raise UserError(f"The folder {target} lies inside the template. Give one beside it.")
    if place != ROOT and place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise UserError(f"There is something at {target} already. Give a folder that is empty or not there yet.")


def choose_parts(words: str, parts: dict[str, dict]) -> set[str]:
    """Return the chosen parts, such as "hub,text" or "all", with those that they need, and "core"."""
    waiting, chosen = list(parts) if words == "all" else [word.strip() for word in words.split(",") if word], {"core"}
    while waiting:
        part = waiting.pop()
        if part not in parts:
            raise UserError(f'There is no part "{part}". Give --with all, or some of {",".join(parts)}.')
        waiting += [other for other in parts[part].get("needs", ()) if other not in chosen]
        chosen.add(part)
    return chosen


def choose_files(files: dict[str, list[str]], chosen: set[str]) -> list[Path]:
    """Return the files that come along, relative to the template; of several claims on one the longest path counts."""
    wanted = {key: any(set(parts.split("+")) <= chosen for parts in key.split(",")) for key in files}
    claims = {Path(path): wanted[key] for key, paths in files.items() for path in paths}
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    walked = (path.relative_to(ROOT) for path in ROOT.rglob("*") if "__pycache__" not in path.parts)
    found = list(walked) if listed.returncode else [Path(at) for at in listed.stdout.split("\0")]
    comes = {path: next((claims[at] for at in (path, *path.parents) if at in claims), False) for path in found}
    return sorted(path for path in found if comes[path] and (ROOT / path).is_file())


def without_blocks(text: str, chosen: set[str], known: set[str], where: Path) -> str:
    """Return a text without the marked blocks of parts that were not chosen, and without the marks of the others."""
    kept, wanted = [], [True]
    for line in re.split("(?<=\n)", text):
        mark = MARK.fullmatch(line)
        if mark is None:
            kept += [line] if all(wanted) else []
        elif mark[1]:
            parts = set(mark[1].replace(" ", "").split(","))
            if not parts <= known:
                raise UserError(f"The file {where} marks a part that tools/parts.toml does not have: {mark[1]}.")
            wanted.append(bool(parts & chosen))
        else:
            del wanted[-1:]
    if len(wanted) != 1:
        raise UserError(f"In the file {where} the marks [part: …] and [/part] do not come in pairs.")
    return "".join(kept)


def write_project(folder: Path, fields: dict[str, str], chosen: set[str]) -> None:
    """Write all files of the project, renamed, with README, config and metadata of its own."""
    name, known = fields["package"], {*TABLE["parts"], "template"}
    own = {Path("tools/README.project.md"): "README.md", Path("tools/config.project.yaml"): f"configs/{name}.yaml"}
    for source in [*choose_files(TABLE["files"], chosen), *own]:
        target = folder / own.get(source, source.as_posix().replace(TEMPLATE, name))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, target)
        if UNCHANGED & set(source.parts):
            continue
        text = without_blocks(target.read_bytes().decode("utf-8"), chosen, known, source)
        text = text.replace(TEMPLATE, name).replace(TEMPLATE.upper(), name.upper())  # in environment variables too
        if source in own:
            text = re.sub(r"\{(\w+)\}", lambda field: fields[field[1]], text)
        if source.name == "pyproject.toml":
            before, after = tomllib.loads(text)["project"]["description"], fields["description"]
            text = text.replace(json.dumps(before), json.dumps(after, ensure_ascii=False), 1)
        target.write_bytes(text.encode("utf-8"))


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, without the variables that a git hook sets; it fails where git is not installed."""
    known = {key: value for key, value in os.environ.items() if not re.match("GIT_(DIR|WORK_TREE|INDEX)", key)}
    try:
        return subprocess.run(["git", *words], cwd=folder, env=known, capture_output=True, text=True)
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", "fatal: git is not installed")


def commit(folder: Path, message: str) -> str:
    """Commit all files of a folder; return a sentence about it."""
    by_hand = f'in the folder: git init && git add --all && git commit -m "{message}"'
    as_told = ("-c", "user.useConfigOnly=true", "commit", "--quiet", "--message", message)  # under no guessed name
    for words in (("init", "--quiet"), ("add", "--all"), as_told):
        if (done := git(folder, *words)).returncode:
            reason = (re.findall(r"^(?:fatal|error): (.*)", done.stderr, re.MULTILINE) or ["it failed"])[-1]
            return f"There is no commit ({reason.rstrip('.')}). Make it {by_hand}"
    return "Git keeps all of it in a commit."


def new_project(target: Path, title: str, description: str, data: str | None, parts: str) -> str:
    """Make a project in an empty folder or in place of the template; return what was made and the next commands."""
    name, place, chosen = slug(title), target.resolve(), choose_parts(parts, TABLE["parts"])
    check_name(name)
    check_target(target)
    if data and (found := Path(data).expanduser().resolve()).exists():
        near = found.is_relative_to(place.parent)  # in the project or beside it
        data = Path(os.path.relpath(found, place)).as_posix() if near else str(found)
    data = data or "photos"  # in the files as JSON, which is YAML too
    fields = {"title": title, "package": name, "description": description, "data": json.dumps(data, ensure_ascii=False)}
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=place.parent) as hidden:
        made = Path(hidden, "project")
        write_project(made, fields, chosen)
        if place == ROOT:
            git(ROOT, "rm", "-r", "--quiet", ".")
            shutil.rmtree(ROOT / TEMPLATE, ignore_errors=True)  # compiled modules, of which git knows nothing
        if place.exists():  # a shell may stand in it
            shutil.copytree(made, place, dirs_exist_ok=True)
        else:
            made.rename(place)
    code, tests = ("".join(path.read_text("utf-8") for path in place.glob(f"{at}/**/*.py")) for at in (name, "tests"))
    size = f"{len(code.splitlines()):,} lines of Python in {name}/ and {tests.count('def test_')} tests"
    absent = "" if Path(place, data).exists() or re.match("digits$|[a-z]{2,}:", data) else ", which does not exist yet"
    said = f"Project: {title} in {target}, {size}\nParts: {', '.join(sorted(chosen))}\n"
    said += f"Data: {data} in README.md and configs/{name}.yaml{absent}\n"
    said += f"{commit(place, f'{name}, made from {TEMPLATE}')}\nNext:\n  cd {shlex.quote(str(target))}\n"
    return f"{said}  pip install -r requirements.txt\n  python scripts/train.py --config configs/{name}.yaml"


def main() -> None:
    """Read the command line and make the project; a mistake ends in one sentence."""
    known = "; ".join(f"{part}: {entry['about']}" for part, entry in TABLE["parts"].items())
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", type=Path, help="folder, empty or not there yet; . replaces the template's files")
    parser.add_argument("--name", help="title of the project (default: the folder's name)")
    parser.add_argument("--description", default="An image classifier, trained by transfer learning with Keras.")
    parser.add_argument("--data", help="a folder with one subfolder per class (default: photos, in the project)")
    parser.add_argument("--with", dest="parts", default="", help=f"parts beside core, with commas, or all. {known}")
    options = parser.parse_args()
    title, description = options.name or options.target.resolve().name, " ".join(options.description.split())
    try:
        print(new_project(options.target, title, description, options.data, options.parts))
    except UserError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error.filename or 'The output'} cannot be written: {error.strerror}.\n")


if __name__ == "__main__":
    main()
