"""tools/new_project.py: a project that is its owner's, with the parts that were asked for and nothing of others."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "new_project.py"
spec = importlib.util.spec_from_file_location("new_project", SCRIPT)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
PARTS = list(tool.TABLE["parts"])
CHOICES = ["", *PARTS, "all"]
HOME = re.compile(r"my_flowers(\.\w+)+(:\w+)?")  # a module, or something in it
MAX_LINES = 9616


@dataclass(frozen=True)
class Answer:
    """What the script printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def git_user(tmp_path_factory) -> Iterator[Path]:
    """The git settings of a user, which are not those of this machine."""
    settings = tmp_path_factory.mktemp("git") / "gitconfig"
    settings.write_text("[user]\nname = Somebody\nemail = somebody@example.org\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield settings


def new_project(*arguments: object, cwd: Path, script: Path = SCRIPT) -> Answer:
    command = [sys.executable, "-S", str(script), *map(str, arguments)]  # without any installed package
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Callable[..., Path]:
    """`project("hub,text")` is a project with these parts, made once; do not write into it."""
    made: dict[tuple[str, str], Path] = {}

    def make(parts: str = "", name: str = "My Flowers") -> Path:
        if (parts, name) not in made:
            folder = tmp_path_factory.mktemp("projects") / "made"
            answer = new_project(folder, "--name", name, "--with", parts, cwd=folder.parent)
            assert answer.code == 0, answer.err
            made[parts, name] = folder
        return made[parts, name]

    return make


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def files_of(folder: Path) -> set[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.parts[0] != ".git"}


def own_texts(folder: Path) -> dict[str, str]:
    """The text of each file that is not taken over byte for byte."""
    names = {name for name in files_of(folder) if not tool.UNCHANGED & set(Path(name).parts)}
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}


def imported(source: str) -> Iterator[str]:
    """The full name of all that a file imports, and of what its strings name as something of the package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and HOME.fullmatch(str(node.value)):
            yield node.value.replace(":", ".")


def defined(source: str) -> set[str]:
    """The names that a module has: what it defines, assigns or imports, wherever."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def there(wanted: str, modules: dict[str, str]) -> bool:
    """Whether a full name is of another package, of a module, or of something that a module has."""
    words = wanted.split(".")
    if words[0] != "my_flowers":
        return True
    home = max((name for name in modules if f"{wanted}.".startswith(f"{name}.")), key=len)
    rest = words[home.count(".") + 1 :]
    lazy = f'"{rest[0]}"' in modules[home] if rest and home == "my_flowers" else False
    return not rest or rest[0] in defined(modules[home]) or lazy


# --- names


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("My Flowers", "my_flowers"),
        ("flowers", "flowers"),
        ("Zoës  Blüten-2", "zoes_bluten_2"),
        ("_x!", "x"),
        ("花", ""),
    ],
)
def test_a_title_becomes_a_package_name(title, name):
    assert tool.slug(title) == name


LETTERS = "a name has 2 to 16 characters, a-z, 0-9 and _, and begins with a letter"


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("2 flowers", LETTERS), ("f", LETTERS), ("f" * 17, LETTERS), ("花", LETTERS), ("123", LETTERS),
        ("lambda", "a keyword or a module of Python"), ("Random", "a keyword or a module of Python"),
        ("keras", "a package that the project needs"), ("Scikit Learn", "a package that the project needs"),
        ("sklearn", "a package that the project needs"), ("build", "a package that the project needs"),
        ("tlkeras", "a folder or script of the project"), ("Tests", "a folder or script of the project"),
        ("train", "a folder or script of the project"), ("configs", "a folder or script of the project"),
    ],
)  # fmt: skip
def test_names_that_would_not_work(tmp_path, title, reason):
    answer = new_project("new", "--name", title, cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "") and answer.err.count("\n") == 1
    assert (
        f'new_project.py: The package would be called "{tool.slug(title)}", but ' in answer.err
        and f"{reason}. Give" in answer.err
    )
    assert not any(tmp_path.iterdir())


# --- the folder


def test_what_is_said_and_made(tmp_path):
    (tmp_path / "photos").mkdir()
    answer = new_project("My Flowers", "--description", 'Roses, "red"  \\ blue', "--data", "photos", cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    first, *rest = answer.out.splitlines()
    assert re.fullmatch(
        r"Project: My Flowers in My Flowers, [\d,]+ lines of Python in my_flowers/ and \d+ tests", first
    )
    assert rest == [
        "Parts: core",
        "Data: ../photos in README.md and configs/my_flowers.yaml",
        "Git keeps all of it in a commit.",
        "Next:",
        "  cd 'My Flowers'",
        "  pip install -r requirements.txt",
        "  python scripts/train.py --config configs/my_flowers.yaml",
    ]
    made = tmp_path / "My Flowers"
    metadata = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert (metadata["name"], metadata["description"]) == ("my_flowers", 'Roses, "red" \\ blue')
    readme = (made / "README.md").read_text()
    assert readme.startswith('# My Flowers\n\nRoses, "red" \\ blue\n')
    assert '`data: "../photos"`' in readme
    assert yaml.safe_load((made / "configs" / "my_flowers.yaml").read_text())["data"] == "../photos"
    assert git(made, "log", "--format=%an: %s") == "Somebody: my_flowers, made from tlkeras\n"
    assert git(made, "status", "--short", "--ignored") == ""
    assert {path.name for path in tmp_path.iterdir()} == {"My Flowers", "photos"}


@pytest.mark.parametrize(
    ("given", "written", "exist"),
    [
        ([], "photos", False),  # in the project, though there are others where the command was given
        (["--data", "photos"], "../photos", True),
        (["--data", "{}/photos/."], "../photos", True),
        (["--data", "{}/../far"], "{}/../far", True),
        (["--data", "new/photos"], "new/photos", False),
        (["--data", 'on the server/a: "b"'], 'on the server/a: "b"', False),
        (["--data", "tfds:beans"], "tfds:beans", True),
        (["--data", "digits"], "digits", True),
    ],
)
def test_where_the_data_are(tmp_path, given, written, exist):
    place = tmp_path / "here"
    for folder in (place / "photos", tmp_path / "far"):
        folder.mkdir(parents=True)
    answer = new_project("new", "--name", "flowers", *[word.replace("{}", str(place)) for word in given], cwd=place)
    written = str(Path(written.replace("{}", str(place))).resolve()) if "{}" in written else written
    said = f"\nData: {written} in README.md and configs/flowers.yaml"
    assert f"{said}\n" in answer.out if exist else f"{said}, which does not exist yet\n" in answer.out
    assert yaml.safe_load((place / "new" / "configs" / "flowers.yaml").read_text())["data"] == written
    line = re.search("`data: (.*?)`", (place / "new" / "README.md").read_text())[1]
    assert yaml.safe_load(line) == written


def test_help_names_the_default_of_the_data(tmp_path):
    assert "(default: photos, in the project)" in " ".join(new_project("--help", cwd=tmp_path).out.split())


def test_an_empty_folder_is_filled_and_stays_the_same_one(tmp_path):
    place = tmp_path / "flowers"
    place.mkdir()
    before = place.stat().st_ino
    assert new_project(".", cwd=place).code == 0
    assert (place / "flowers" / "__init__.py").exists() and place.stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["flowers"]


@pytest.mark.parametrize("target", ["full", "full/letter.txt", "full/letter.txt/new", "x" * 300, ROOT / "flowers"])
def test_a_place_that_cannot_be_used_is_said_in_a_sentence(tmp_path, target):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    answer = new_project(target, "--name", "flowers", cwd=tmp_path)
    assert answer.code == 2 and answer.err.startswith("new_project.py: ") and answer.err.count("\n") == 1
    assert files_of(tmp_path) == {"full/letter.txt"} and not (ROOT / "flowers").exists()


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "without_blocks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tool.new_project(tmp_path / "flowers", "flowers", "", "photos", "")
    assert not any(tmp_path.iterdir())


def test_nobody_commits_under_a_guessed_name(tmp_path, monkeypatch):
    (tmp_path / "settings").write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    monkeypatch.setenv("EMAIL", "guessed@example.org")  # with which git would take the name of the machine's user
    answer = new_project("flowers", cwd=tmp_path)
    assert answer.code == 0 and "There is no commit (" in answer.out
    by_hand = re.search("Make it in the folder: (.*)", answer.out)[1]
    (tmp_path / "settings").write_text("[user]\nname = Me\nemail = me@example.org\n")
    subprocess.run(by_hand, shell=True, cwd=tmp_path / "flowers", check=True, capture_output=True)
    assert git(tmp_path / "flowers", "log", "--format=%an: %s") == "Me: flowers, made from tlkeras\n"


def test_without_git_there_are_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = new_project("flowers", cwd=tmp_path)
    assert answer.code == 0 and "There is no commit (git is not installed)" in answer.out
    monkeypatch.undo()
    assert new_project("with-git", "--name", "flowers", cwd=tmp_path).code == 0
    assert files_of(tmp_path / "flowers") == files_of(tmp_path / "with-git")


# --- in place of the template, as after "Use this template" on a code host


@pytest.fixture
def clone(tmp_path) -> Path:
    """The template as a repository of somebody's own, called my-flowers."""
    place = tmp_path / "my-flowers"
    listed = [name for name in git(ROOT, "ls-files", "-z", "-co", "--exclude-standard").split("\0") if name]
    for name in listed:
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "Initial commit")
    return place


def test_a_repository_made_from_the_template_becomes_the_project(clone, project):
    (clone / "saved_models" / "mine").mkdir()
    (clone / "saved_models" / "mine" / "model.keras").write_text("a run")
    (clone / "tlkeras" / "__pycache__").mkdir()
    answer = new_project(".", cwd=clone, script=clone / "tools" / "new_project.py")
    assert answer.code == 0, answer.err
    assert git(clone, "log", "--format=%s").splitlines() == ["my_flowers, made from tlkeras", "Initial commit"]
    assert git(clone, "status", "--short") == ""
    assert files_of(clone) == files_of(project()) | {"saved_models/mine/model.keras"}
    assert (clone / "README.md").read_text().startswith("# my-flowers\n") and not (clone / "tlkeras").exists()


def test_what_git_does_not_have_is_not_replaced(clone):
    (clone / "README.md").write_text("my own words")
    before = files_of(clone)
    answer = new_project(".", cwd=clone, script=clone / "tools" / "new_project.py")
    assert answer.code == 2 and "Commit them first" in answer.err
    assert files_of(clone) == before and (clone / "README.md").read_text() == "my own words"


# --- parts and marked blocks


def test_parts_bring_what_they_need():
    parts = {"a": {}, "b": {"needs": ["c"]}, "c": {"needs": ["d", "b"]}, "d": {}}
    assert tool.choose_parts("", parts) == {"core"}
    assert tool.choose_parts("b, a", parts) == tool.choose_parts("all", parts) == {"core", *parts}
    with pytest.raises(tool.UserError, match=r'no part "e"\. Give --with all, or some of a,b,c,d\.'):
        tool.choose_parts("a,e", parts)


BLOCKS = """first
    # [part: hub]
    hub
    # [part: text, audio]
    both
    # [/part]
# [/part]
<!-- [part: template] -->
template
<!-- [/part] -->
last, which [part: hub] does not mark
"""


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [("core", ""), ("hub", "hub"), ("text", ""), ("hub text", "hub both"), ("hub audio", "hub both")],
)
def test_blocks_stay_where_a_part_was_chosen(chosen, kept):
    text = tool.without_blocks(BLOCKS, set(chosen.split()), {"hub", "text", "audio", "template"}, Path("x"))
    assert text.splitlines()[0] == "first" and text.splitlines()[-1] == BLOCKS.splitlines()[-1]
    assert [line.strip() for line in text.splitlines()[1:-1]] == kept.split()


@pytest.mark.parametrize("text", ["# [part: hub]\n", "x\n# [/part]\n", "# [/part]\n# [/part]\n", "# [part: nothing]\n"])
def test_marks_that_are_wrong_are_named(text):
    with pytest.raises(tool.UserError, match=r"some/file\.py"):
        tool.without_blocks(text, {"core"}, {"hub"}, Path("some/file.py"))


def test_it_is_said_of_every_file_whether_it_comes_along():
    if not (ROOT / ".git").exists():
        pytest.skip("only git knows what belongs to the repository")
    listed = [path for path in git(ROOT, "ls-files").splitlines() if (ROOT / path).exists()]
    claims = [path for paths in tool.TABLE["files"].values() for path in paths]
    claimed = [path for path in listed if any(path == claim or path.startswith(f"{claim}/") for claim in claims)]
    assert sorted(set(listed) - set(claimed)) == []
    assert [claim for claim in claims if not (ROOT / claim).exists()] == []
    parts = {part for parts in tool.TABLE["files"] for part in re.split("[+,]", parts)}
    assert parts <= {*PARTS, "core", "template"}


# --- what comes along


@pytest.mark.parametrize("choice", CHOICES)
def test_every_import_finds_a_file_that_came_along(project, choice):
    folder = project(choice)
    texts = {name: text for name, text in own_texts(folder).items() if name.endswith(".py")}
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text for name, text in texts.items()
    }
    missing = {
        f"{name}: {wanted}" for name, text in texts.items() for wanted in imported(text) if not there(wanted, modules)
    } - {"my_flowers/backbones/registry.py: my_flowers.extras"}  # which is looked for first
    assert not missing, "\n".join(sorted(missing))


@pytest.mark.parametrize("choice", CHOICES)
def test_nothing_is_left_of_the_template(project, choice):
    folder = project(choice)
    for name, text in own_texts(folder).items():
        assert "tlkeras" not in f"{name}{text}".lower(), name
        assert "[part:" not in text and "[/part]" not in text, name
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    copied = folder / "my_flowers" / "backbones" / "bundled"
    for path in (ROOT / "tlkeras" / "backbones" / "bundled").iterdir():
        assert (copied / path.name).read_bytes() == path.read_bytes()


def test_the_image_core_mentions_no_other_part(project):
    words = re.compile(r"kerashub|(?<!git)(?<!s://)\bhub\b|tensorflow_hub|tfds|audio|openvino", re.IGNORECASE)
    found = [
        f"{name}: {line.strip()[:100]}"
        for name, text in own_texts(project()).items()
        for line in text.splitlines()
        if words.search(line.replace("github", "")) and not line.startswith("PARTS = ")  # which says what is left out
    ]
    assert not found, "\n".join(found)


def test_the_image_core_has_nothing_of_what_other_parts_need(project):
    files = files_of(project())
    assert [name for name in files if "extras" in name] == []
    assert "LONGEST" not in (project() / "tests" / "conftest.py").read_text()
    assert "notebooks" not in (project() / ".gitignore").read_text()
    pins = (project() / "constraints.txt").read_text()
    assert not re.search("^(huggingface_hub|openvino|ipython|kagglesdk|tensorflow-metadata)", pins, re.MULTILINE)


def test_the_image_core_is_small(project):
    lines = {name: text.count("\n") for name, text in own_texts(project()).items() if name.endswith(".py")}
    library = sum(count for name, count in lines.items() if name.startswith("my_flowers/"))
    assert library <= MAX_LINES, f"{library} lines"
    tests = "".join(text for name, text in own_texts(project()).items() if name.startswith("tests/"))
    assert 50 <= tests.count("def test_") <= 100


@pytest.mark.parametrize(
    ("choice", "name"), [(choice, "My Flowers") for choice in CHOICES] + [("all", "ab"), ("all", "x" * 16)]
)
def test_the_code_is_formatted_and_clean(project, choice, name):
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--output-format", "concise", "."]
        done = subprocess.run(command, cwd=project(choice, name), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_the_readme_names_nothing_that_is_not_there(project):
    readme = (project() / "README.md").read_text()
    named = re.findall(r"(?<!/)\b(?:scripts|tests|configs|my_flowers)/[\w./-]*|[\w-]+\.txt|Makefile", readme)
    assert len(named) > 10 and [path for path in named if not (project() / path).exists()] == []
    assert re.findall(r"\{\w+\}", readme) == []
    targets = re.findall(r"^([\w-]+):", (project() / "Makefile").read_text(), re.MULTILINE)
    assert {word for line in re.findall(r"^make (.*)$", readme, re.MULTILINE) for word in line.split()} <= set(targets)


def test_the_config_is_the_defaults(project):
    from tlkeras.config.train import TrainConfig

    options = yaml.safe_load((project() / "configs" / "my_flowers.yaml").read_text())
    assert (options.pop("data"), options.pop("run_dir")) == ("photos", "saved_models/my_flowers")
    defaults = vars(TrainConfig())
    assert options == {name: defaults[name] for name in options}


# --- it works


def draw(folder: Path) -> Path:
    """A folder of two class folders with noisy images of one color each."""
    rng = np.random.default_rng(0)
    for name, color in {"daisy": (230, 220, 90), "rose": (200, 50, 60)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.array(color) + rng.integers(-30, 30, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["", "all"])
def test_a_project_trains_and_its_tests_pass(project, choice, tmp_path):
    """In the environment that is there, in which only the project's own package goes by its name."""
    folder, images = project(choice), draw(tmp_path / "photos")
    shutil.copytree(folder, tmp_path / "copy")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "TLKERAS"))}
    kept |= {"PYTHONPATH": str(tmp_path / "copy"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*words: object) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path / "copy", env=kept, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done.stdout

    quick = ("--backbone", "MobileNetV2-0.35", "--weights", "bundled", "--image-size", 64, "--frozen-epochs", 2)
    config = ("--config", "configs/my_flowers.yaml", "--data", images)
    said = run("scripts/train.py", *config, *quick, "--finetune-epochs", 1)
    assert said.splitlines()[-3] == "Run: saved_models/my_flowers" and "Test:       accuracy" in said
    assert run("scripts/evaluate.py", "saved_models/my_flowers").startswith("Test: accuracy")
    assert "rose" in run("scripts/predict.py", "saved_models/my_flowers", images / "rose", "--json")
    print(run("-m", "pytest", "-p", "no:cacheprovider")[-1000:])
    assert git(tmp_path / "copy", "status", "--short") == ""
