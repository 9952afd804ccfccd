"""scripts/new_project.py: a copy that is whole, renamed and its user's own."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest

from tlkeras.errors import UserError
from tlkeras.run import new_project as module
from tlkeras.run.new_project import new_project
from tlkeras.run.project_notebooks import in_notebook, in_source, without_sentences
from tlkeras.run.project_parts import FILES, FOLDERS, STAYS

ROOT = Path(__file__).parents[2]
SHORTEST, LONGEST = "ab", "sixteen_letters_"


@pytest.fixture(autouse=True)
def somebody(monkeypatch, tmp_path) -> Path:
    """A user whom git knows by these variables alone; the file of their settings."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = Somebody\nemail = somebody@example.org\n")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return settings


@pytest.fixture
def template(tmp_path) -> Path:
    """A template to which a test may add."""
    place = tmp_path / "template"
    for folder in (*FOLDERS, "tlkeras"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*FILES, "README.md"):
        (place / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, place / file)
    return place


def files_of(project: Path) -> set[str]:
    files = (path.relative_to(project) for path in project.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.parts[0] != ".git"}


def git(project: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout


def authors(project: Path) -> list[dict[str, str]] | None:
    return tomllib.loads((project / "pyproject.toml").read_text())["project"].get("authors")


def test_what_is_said_and_made(call, tmp_path):
    answer = call("new_project.py", "my flowers", "--name", "flowers", "--description", 'Roses, "red" \\ blue')
    assert answer.code == 0 and answer.err == ""
    project = tmp_path / "my flowers"
    assert answer.out.splitlines() == [
        f"Project: flowers, {len(files_of(project))} files in my flowers",
        "Scripts: cache, evaluate, predict, summary, train",
        "Repository: git, with its first commit",
        "Next:",
        "cd 'my flowers'",
        "pip install -r requirements.txt && python scripts/train.py",
        "pip install -r requirements-dev.txt && pytest -n 2 --dist loadfile",
    ]
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert (metadata["name"], metadata["description"]) == ("flowers", 'Roses, "red" \\ blue')
    assert metadata["authors"] == [{"name": "Somebody", "email": "somebody@example.org"}]
    assert (project / "README.md").read_text().startswith('# flowers\n\nRoses, "red" \\ blue\n\nMade from the template')
    assert (project / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert os.access(project / ".ci" / "run", os.X_OK) == os.access(ROOT / ".ci" / "run", os.X_OK)
    assert git(project, "log", "--format=%an: %s") == "Somebody: flowers, made from the template tlkeras\n"
    assert git(project, "status", "--short", "--ignored") == ""
    assert {path.name for path in tmp_path.iterdir()} == {"my flowers", "gitconfig"}


@pytest.mark.parametrize("scripts", ["none", "all"])
def test_the_old_name_is_nowhere(tmp_path, scripts):
    new_project(ROOT, tmp_path / "new", "bird_songs", scripts=scripts, notebooks=scripts)
    found = []
    for path in files_of(tmp_path / "new"):
        content = (tmp_path / "new" / path).read_bytes()
        if "bundled" not in path:
            found += [(path, line) for line in content.splitlines() if b"tlkeras" in line.lower()]
        assert "tlkeras" not in path.lower()
    assert found == [("README.md", b"Made from the template tlkeras (Apache-2.0).")]
    places = (tmp_path / "new" / "bird_songs" / "places.py").read_text()
    assert "BIRD_SONGS_CACHE" in places and '".cache") / "bird_songs"' in places


@pytest.mark.parametrize("name", [SHORTEST, LONGEST])
def test_names_of_any_length_leave_the_code_formatted(tmp_path, name):
    """A line of the template that fails here has to leave more room for the name."""
    new_project(ROOT, tmp_path / name, scripts="all", notebooks="all")
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], cwd=tmp_path / name, capture_output=True)
        assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Flowers", "lower-case letters"), ("2flowers", "lower-case letters"), ("my-flowers", "lower-case letters"),
        ("../flowers", "lower-case letters"), ("f", "2 to 16"), ("f" * 17, "2 to 16"), ("", "2 to 16"),
        ("lambda", "a word of Python"), ("random", "a module of Python's own"), ("keras", "a package that the project"),
        ("tf_keras", "a package that the project"), ("sklearn", "a package that is installed"),
        ("tests", "a folder or script"), ("data", "a folder or script"), ("train", "a folder or script"),
        ("build", "a folder or script"), ("tlkeras", "a folder or script"),
        ("photos", "a folder of data in"), ("reviews", "a folder of data in"), ("new_pictures", "a folder of data in"),
    ],
)  # fmt: skip
def test_names_that_would_not_work(call, tmp_path, name, said):
    answer = call("new_project.py", tmp_path / "new", "--name", name)
    assert answer.code == 2 and answer.err.startswith(f'new_project.py: The name was "{name}"') and said in answer.err
    assert answer.err.count("\n") == 1 and not (tmp_path / "new").exists()


def test_the_name_is_the_folders_where_none_is_given(call, tmp_path):
    assert call("new_project.py", "new-flowers").err.startswith('new_project.py: The name was "new-flowers"; it must')
    assert call("new_project.py", "flowers").code == 0
    assert (tmp_path / "flowers" / "flowers" / "__init__.py").exists()


def test_a_place_in_use_is_refused(call, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    assert "The folder full is not empty" in call("new_project.py", "full", "--name", "flowers").err
    assert "full/letter.txt is a file" in call("new_project.py", "full/letter.txt", "--name", "flowers").err
    inside = call("new_project.py", ROOT / "flowers")
    assert inside.code == 2 and "lies inside the template" in inside.err and not (ROOT / "flowers").exists()
    assert files_of(tmp_path) == {"full/letter.txt", "gitconfig"}


@pytest.mark.parametrize("target", ["letter.txt/new", "letter.txt/new/flowers", "/proc/flowers", "x" * 300])
def test_a_place_that_cannot_be_made_is_said_in_a_sentence(call, tmp_path, target):
    (tmp_path / "letter.txt").write_text("mine")
    answer = call("new_project.py", target, "--name", "flowers")
    assert answer.code == 2 and answer.err.startswith(f"new_project.py: The folder {target} cannot be made: ")
    assert answer.err.count("\n") == 1 and files_of(tmp_path) == {"letter.txt", "gitconfig"}


def test_an_empty_folder_is_filled_and_stays_the_same_one(call, tmp_path, monkeypatch):
    (tmp_path / "flowers").mkdir()
    monkeypatch.chdir(tmp_path / "flowers")
    assert call("new_project.py", ".").code == 0
    assert (Path.cwd() / "flowers" / "__init__.py").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"flowers", "gitconfig"}


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(module, "make_readme", fail)
    with pytest.raises(OSError, match="full"):
        new_project(ROOT, tmp_path / "flowers")
    assert [path.name for path in tmp_path.iterdir()] == ["gitconfig"]


def test_nobody_commits_under_a_guessed_name(tmp_path, somebody, monkeypatch):
    somebody.write_text("")
    monkeypatch.setenv("EMAIL", "guessed@example.org")  # with which git would take the name of the machine's user
    said = new_project(ROOT, tmp_path / "flowers")
    assert authors(tmp_path / "flowers") is None
    assert "Repository: no first commit (" in said
    by_hand = said.partition("make it in the folder: ")[2].splitlines()[0]
    somebody.write_text("[user]\nname = Me\nemail = me@example.org\n")
    subprocess.run(by_hand, shell=True, cwd=tmp_path / "flowers", check=True, capture_output=True)
    assert git(tmp_path / "flowers", "log", "--format=%an: %s") == "Me: flowers, made from the template tlkeras\n"


@pytest.mark.parametrize("email", ["", "email = nobody", "email = two words@example.org"])
def test_an_author_without_an_address_has_a_name(tmp_path, somebody, email):
    """A package with an address that is none could not be built."""
    somebody.write_text(f'[user]\nname = "Zoë \\"Z\\" O\\\\N"\n{email}\n')
    new_project(ROOT, tmp_path / "flowers")
    assert authors(tmp_path / "flowers") == [{"name": 'Zoë "Z" O\\N'}]


def test_without_git_there_are_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "as git is not installed" in new_project(ROOT, tmp_path / "flowers")
    assert authors(tmp_path / "flowers") is None
    assert (tmp_path / "flowers" / "README.md").exists() and not (tmp_path / "flowers" / ".git").exists()


def test_scripts_come_along_with_what_they_need(tmp_path):
    for name in ("pretrain", "transfer_gain"):
        new_project(ROOT, tmp_path / name, "flowers", scripts=name)
    new_project(ROOT, tmp_path / "none", "flowers")
    pretrain, gain, none = (files_of(tmp_path / name) for name in ("pretrain", "transfer_gain", "none"))
    assert pretrain - gain == {
        "scripts/pretrain.py", "flowers/run/pretrain.py", "flowers/run/card.py",
        "tests/scripts/test_pretrain_script.py",
    }  # fmt: skip
    assert gain - pretrain == {
        "scripts/learning_curve.py", "flowers/run/gain.py", "flowers/run/trial.py",
        "flowers/evaluation/gain.py",
        "tests/scripts/test_transfer_gain_script.py", "tests/evaluation/test_gain.py",
    }  # fmt: skip
    assert (pretrain & gain) - none == {
        "flowers/run/first_weights.py", "flowers/training/from_scratch.py", "tests/training/test_from_scratch.py",
    }  # fmt: skip
    tests = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/*.py")}
    usual = {path for path in tests if not re.search("new_project|pretrain|gain|scratch|fuzz|overlap|notebooks", path)}
    assert usual <= none, "a test of what every project has names a script that not every project has"
    with pytest.raises(UserError, match=r'no script "pretain"\. Did you mean pretrain\? Known scripts: all none cache'):
        new_project(ROOT, tmp_path / "other", "flowers", scripts="train,pretain")


@pytest.mark.parametrize("words", ["none,all", "all,01_quickstart", "01_quickstart, none"])
def test_all_and_none_stand_alone(call, tmp_path, words):
    for what in ("notebooks", "scripts"):
        answer = call("new_project.py", "flowers", f"--{what}", words)
        assert answer.code == 2 and f"--{what} was {words}; all and none stand alone." in answer.err
    assert not (tmp_path / "flowers").exists()


@pytest.mark.parametrize("scripts", ["none", "pretrain", "all"])
def test_the_readme_names_nothing_that_is_not_there(tmp_path, scripts):
    project = tmp_path / "flowers"
    new_project(ROOT, project, scripts=scripts, notebooks="all" if scripts == "all" else "none")
    readme = (project / "README.md").read_text()
    for path in re.findall(r"\b(?:scripts|tests|notebooks|benchmarks|flowers)/[\w./-]*", readme):
        assert (project / path.rstrip(".")).exists(), path
    titles = {re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^#+ (.*)$", readme, re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]*)\)", readme):
        assert link[1:] in titles if link.startswith("#") else link.startswith("http") or (project / link).exists()
    assert ("pretrain.py" in readme) == (scripts != "none") and ("learning_curve.py" in readme) == (scripts == "all")
    for section in ("Two commands", "Your own pictures", "What you get", "How it works", "Options", "Where to change"):
        assert f"\n## {section}" in readme
    said = " ".join(readme.split())
    for truth in (
        "with the same command and `--resume`", "in Keras' safe mode", "research and education; so is what these",
        "its own epoch is a little too good", "within 1e-6; all 49 backbones",
    ):  # fmt: skip
        assert truth in said
    for figure in ("SIGKILL", "plain Keras loop", "img/s", "mutated"):
        assert figure not in readme


def test_the_readme_has_what_a_chosen_script_measured(tmp_path):
    new_project(ROOT, tmp_path / "flowers", scripts="transfer_gain")
    readme = (tmp_path / "flowers" / "README.md").read_text()
    assert "python scripts/learning_curve.py --data photos" in readme and "pretrain.py" not in readme


def test_the_readme_promises_no_other_notebooks(tmp_path):
    new_project(ROOT, tmp_path / "flowers", notebooks="01_quickstart")
    about = (tmp_path / "flowers" / "README.md").read_text().partition("### Notebooks\n")[2].partition("\n## ")[0]
    assert "(notebooks/README.md)" in about and "`jupyter lab notebooks`" in about
    assert not re.search("quick ?start|feature|fine-tun|choice|your own", about)


def test_notebooks_are_chosen_by_name(template, tmp_path):
    cell = {"cell_type": "code", "source": ["import tlkeras"], "metadata": {}, "outputs": []}
    (template / "notebooks" / "99_mine.ipynb").write_text(json.dumps({"cells": [cell]}))
    (template / "notebooks" / "99_mine.py").write_text("import tlkeras\nfrom tlkeras.run.learning_curve import transfer_gain\n")
    with (template / "notebooks" / "README.md").open("a") as file:
        file.write("\n- [mine](99_mine.ipynb)\n")
    said = new_project(template, tmp_path / "one", "flowers", notebooks="99_mine")
    assert "\nNotebooks: 99_mine\n" in said
    one = {path for path in files_of(tmp_path / "one") if "notebooks" in path}
    assert one == {
        "notebooks/99_mine.ipynb", "notebooks/99_mine.py", "notebooks/README.md", "notebooks/execute.py",
        "tests/test_notebooks.py",
    }  # fmt: skip
    about = (tmp_path / "one" / "notebooks" / "README.md").read_text()
    assert "99_mine" in about and "01_quickstart" not in about
    assert "import flowers" in (tmp_path / "one" / "notebooks" / "99_mine.ipynb").read_text()
    assert (tmp_path / "one" / "flowers" / "run" / "gain.py").exists()
    new_project(template, tmp_path / "all", "flowers", notebooks="all")
    assert (tmp_path / "all" / "notebooks" / "01_quickstart.py").exists()
    new_project(template, tmp_path / "none", "flowers")
    assert not [path for path in files_of(tmp_path / "none") if "notebooks" in path]
    with pytest.raises(UserError, match='no notebook "third"'):
        new_project(template, tmp_path / "other", "flowers", notebooks="third")


PAGES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_texts_of_notebooks_name_no_page_that_was_left_out(tmp_path):
    new_project(ROOT, tmp_path / "flowers", notebooks=",".join(PAGES[:2]))
    folder = tmp_path / "flowers" / "notebooks"
    assert {path.stem for path in folder.glob("*.ipynb")} == set(PAGES[:2])
    for path in folder.glob("*"):
        assert not [page for page in PAGES[2:] if page in path.read_text()], path.name
    books = (folder / f"{PAGES[0]}.ipynb", ROOT / "notebooks" / f"{PAGES[0]}.ipynb")
    first = [json.loads(book.read_text())["cells"][0] for book in books]
    assert first[0] == first[1]


@pytest.mark.parametrize("page", PAGES)
def test_a_source_and_its_notebook_forget_the_same(tmp_path, page):
    spec = importlib.util.spec_from_file_location("execute", ROOT / "notebooks" / "execute.py")
    execute = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(execute)
    source, others = ROOT / "notebooks" / f"{page}.py", set(PAGES) - {page}
    (tmp_path / "page.py").write_text(in_source(source.read_text(), others))
    notebook = in_notebook(nbformat.writes(execute.read_source(source)), others)
    assert nbformat.writes(execute.read_source(tmp_path / "page.py")) + "\n" == notebook
    assert not [other for other in others if other in notebook] and notebook.count('"cell_type"') > 5


def test_sentences_and_entries_of_lists_go_one_by_one():
    text = "One. Two, in `02_b`. Three?\n\nNext: `03_c`.\n\n- first\n- `03_c`\n- third"
    assert without_sentences(text, {"02_b", "03_c"}) == "One. Three?\n\n- first\n- third"


def test_bytes_and_records_of_where_weights_come_from_stay_as_they_are(template, tmp_path):
    bundled = template / "tlkeras" / "backbones" / "bundled"
    bundled.mkdir(exist_ok=True)
    (bundled / "weights.h5").write_bytes(b"\x89HDF\0 tlkeras \xff")
    (bundled / "weights.md").write_text("trained with tlkeras 0.1.0")
    (template / "tests" / "picture.bin").write_bytes(b"tlkeras\0")
    new_project(template, tmp_path / "flowers")
    copied = tmp_path / "flowers" / "flowers" / "backbones" / "bundled"
    assert (copied / "weights.h5").read_bytes() == b"\x89HDF\0 tlkeras \xff"
    assert (copied / "weights.md").read_text() == "trained with tlkeras 0.1.0"
    assert (tmp_path / "flowers" / "tests" / "picture.bin").read_bytes() == b"tlkeras\0"


def test_runs_and_caches_of_the_template_stay_there(template, tmp_path):
    files = ("saved_models/mine/model.keras", "tlkeras/__pycache__/x.pyc", ".venv/x", "photos/1.jpg", "tests/.x/y")
    for file in (*files, "notebooks/saved_models/mine/model.keras"):
        (template / file).parent.mkdir(parents=True, exist_ok=True)
        (template / file).write_text("mine")
    new_project(template, tmp_path / "flowers", notebooks="all")
    assert not [
        path for path in files_of(tmp_path / "flowers") if (tmp_path / "flowers" / path).read_bytes() == b"mine"
    ]


@pytest.mark.parametrize(
    "notebooks", ["none", "all", pytest.param("01_quickstart,02_feature_extraction", marks=pytest.mark.slow)]
)
def test_what_stays_agrees_with_what_came_along(tmp_path, notebooks):
    """The tests of structure, map, docstrings and notebooks hold in a copy that lacks scripts, modules, benchmarks."""
    new_project(ROOT, tmp_path / "flowers", notebooks=notebooks)
    tests = ["tests/test_architecture.py", "tests/test_docstrings.py", "tests/test_map.py"]
    tests += ["tests/test_notebooks.py"] if notebooks != "none" else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *tests],
        cwd=tmp_path / "flowers",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "flowers")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_a_project_lives_without_its_template(tmp_path):
    """In an environment of its own: its two commands, its wheel, and tests of all that can be chosen.

    What models learn takes minutes to test and is the same in any project: these tests are found and imported, not run.
    """
    project = tmp_path / "mine" / "flowers"
    said = new_project(ROOT, project, description="Which flower is it?")
    new_project(ROOT, tmp_path / "all", "flowers", scripts="all", notebooks="all")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "TLKERAS"))}
    kept |= {
        "PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{kept['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(command: str, cwd: Path = project, **variables: str) -> str:
        done = subprocess.run(["bash", "-c", command], cwd=cwd, env=kept | variables, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done.stdout

    where = "python -c 'import flowers; print(flowers.__file__)'"
    first, second = said.splitlines()[-2:]
    trained = run(first)
    assert trained.splitlines()[-1].startswith("Run: saved_models/digits-")
    assert "Test:       accuracy 0.9" in trained and "weights of the repository (MobileNetV2-0.35" in trained
    assert run(where, tmp_path).strip() == str(project / "flowers" / "__init__.py")
    same = " ".join(f"--ignore=tests/{folder}" for folder in ("features", "models", "training"))
    print(run(second, PYTEST_ADDOPTS=same)[-1000:])  # its tests, from the folder that is installed as editable
    run("pytest --collect-only")
    assert git(project, "status", "--short") == ""
    run("pip uninstall --yes flowers && pip wheel --no-deps --wheel-dir ../wheels .")
    run("pip install --no-deps ../wheels/*")
    assert "site-packages" in run(where, tmp_path)
    (wheel,) = (tmp_path / "mine" / "wheels").iterdir()
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert in_wheel == set(git(project, "ls-files", "flowers").splitlines())
    place = trained.splitlines()[-1].removeprefix("Run: ")
    judged = run(f"python mine/flowers/scripts/evaluate.py mine/flowers/{place}", tmp_path)
    assert judged.startswith("Test: accuracy")
    run("pytest --collect-only -m 'slow or not slow'", tmp_path / "all", PYTHONPATH=str(tmp_path / "all"))


def test_it_is_decided_of_everything_whether_it_comes_along():
    if not (ROOT / ".git").exists():
        pytest.skip("only git knows what belongs to the repository")
    tracked = {path.split("/")[0] for path in git(ROOT, "ls-files").splitlines()}
    decided = {file.split("/")[0] for file in FILES} | {*FOLDERS, *STAYS, "README.md", "tlkeras"}
    assert tracked == decided
