"""The notebooks: outputs that come from running their sources, and numbers that a new run gives again."""

import ast
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

import tlkeras

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = ROOT / "notebooks" / "README.md"
MINUTES = 5  # of a machine that has other things to do; the table of README.md says 2 at most
# What differs between machines and between runs: times and speeds, known by their unit, and numbers of epochs.
VOLATILE = r"\d[\d.,]*(?= ?(?:s|ms|img/s)\b)|(?<=[Ee]poch )\d+"
TOLERANCE = 0.03  # of fractions, as processors round differently; a cell's tag such as "tolerance=0.1" allows more

spec = importlib.util.spec_from_file_location("execute", ROOT / "notebooks" / "execute.py")
execute = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execute)
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell: nbformat.NotebookNode) -> str:
    """Return the text of a cell's outputs, without images and progress bars, nor what Matplotlib logs of the
    machine's fonts; what is logged where is not compared."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(re.sub(r"(?m)^findfont: .*\n?", "", output.text))
        else:
            rich = output.data.get("text/html", "")
            if not rich.startswith('<div class="progress">'):
                texts.append(re.sub(r"<[^>]*>", " ", rich) or output.data["text/plain"])
    return "\n".join(texts)


def drift(cell: nbformat.NotebookNode, again: nbformat.NotebookNode) -> list[str]:
    """Say where the outputs of a cell differ from those of another run: words and counts at all, fractions by more
    than the tolerance; `12 of 15 images` counts as a fraction."""
    tags = [tag.removeprefix("tolerance=") for tag in cell.metadata.get("tags", []) if tag.startswith("tolerance=")]
    tolerance = float(tags[0]) if tags else TOLERANCE
    (words, numbers), (words_again, numbers_again) = pieces(text_of(cell)), pieces(text_of(again))
    if words != words_again:
        return [f"{before!r} became {now!r}" for before, now in zip(words, words_again, strict=False) if before != now][
            :3
        ] or ["more or less was said"]
    return [f"{before} became {now}" for before, now in zip(numbers, numbers_again, strict=True)
            if not close(before, now, tolerance)]  # fmt: skip


def pieces(text: str) -> tuple[list[str], list[str]]:
    """Return a text's words between the numbers, and its numbers, without those that are volatile."""
    text = re.sub(VOLATILE, "…", text)
    fractions = r"\b([\d,]+) of ([\d,]+) (images)\b"
    text = re.sub(fractions, lambda found: f"{number(found[1]) / number(found[2]):.4f} of {found[2]} {found[3]}", text)
    parts = re.split(r"((?<![\w.])-?\d[\d,]*(?:\.\d+)?%?)", text)
    return [" ".join(part.split()) for part in parts[::2]], parts[1::2]


def number(text: str) -> float:
    value = float(text.rstrip("%").replace(",", ""))
    return value / 100 if text.endswith("%") else value


def close(before: str, now: str, tolerance: float) -> bool:
    if not {".", "%"} & {*before, *now}:
        return before == now
    return abs(number(before) - number(now)) <= tolerance * max(1, abs(number(before)))


@each
def test_a_notebook_is_its_source_that_was_run(path):
    saved, source = read(path), execute.read_source(path.with_suffix(".py"))
    assert [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in saved.cells] == [
        (cell.id, cell.cell_type, cell.source, cell.metadata) for cell in source.cells
    ], "run notebooks/execute.py"
    assert saved.metadata == execute.METADATA
    counts = [cell.execution_count for cell in code_cells(saved)]
    assert counts == [None, *range(1, len(counts))], "all cells in their order, without the one that installs"


def test_each_has_a_row_with_its_minutes():
    rows = re.findall(
        r"^\| \[(\w+)\]\(\1\.ipynb\) \|.*\| ([\d.]+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [name for name, _ in rows] == [path.stem for path in NOTEBOOKS]
    assert all(0 < float(minutes) < MINUTES for _, minutes in rows)


def test_no_source_and_no_notebook_stands_alone():
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in execute.sources([])] != []


@each
def test_outputs_are_what_a_reader_should_see(path):
    cells = code_cells(read(path))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) > 0, "no image"
    logs = r"(?<![\w.*])/(?:home|root|tmp|usr|content)\b|Traceback|(?i:warning)|oneDNN|<IPython|\x1b"
    assert not [cell.source for cell in cells if re.search(logs, text_of(cell))]
    shows = [isinstance(ast.parse(re.sub("(?m)^[%!].*", "", cell.source)).body[-1], ast.Expr) for cell in cells[1:]]
    assert not [cell.source for cell, value in zip(cells[1:], shows, strict=True) if value and not cell.outputs]
    assert cells[0].outputs == [], "the cell that installs was run"


@each
def test_it_opens_with_what_its_reader_will_be_able_to_do(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert "At the end of this page you will be able to" in " ".join(first.source.split())


# [part: template]
@each
def test_a_badge_opens_this_notebook_in_colab(path):
    first = read(path).cells[0].source
    assert "[![Open in Colab][badge]][colab]" in first and "[badge]: https://colab.research.google.com/assets/" in first
    repository = install_address().removeprefix("https://github.com/")
    page = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{path.name}"
    assert f"[colab]: {page}\n" in first


def install_address() -> str:
    """Return the address of the repository in pyproject.toml."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Homepage"]


@each
def test_the_first_cell_is_one_line_that_installs_what_is_missing(path):
    first = code_cells(read(path))[0]
    name = tlkeras.__name__
    assert first.source == f'!pip show -q {name} || pip install -q "{name}[tfds] @ git+{install_address()}"'
    assert first.metadata.tags == ["skip-execution"]


# [/part]
@each
def test_plots_have_labeled_axes(path):
    for cell in code_cells(read(path)):
        if "plt.show()" in cell.source:
            assert "xlabel" in cell.source and "ylabel" in cell.source


def test_the_photographs_are_cut_in_one_way():
    cut = [re.search(r"^REGIONS = .*?^    return load_sample_image[^\n]*", path.with_suffix(".py").read_text("utf-8"),
                     re.DOTALL | re.MULTILINE) for path in NOTEBOOKS]  # fmt: skip
    assert len({found[0] for found in cut if found}) <= 1


@each
def test_only_public_names_are_used(path):
    for node in ast.walk(ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            package = node.module.partition(".")[0]
            assert package != tlkeras.__name__, "notebooks say tlkeras.NAME"
        if isinstance(node, ast.Attribute):
            assert not re.match("_[^_]", node.attr), f"line {node.lineno}"
            if isinstance(node.value, ast.Name) and node.value.id == tlkeras.__name__:
                assert node.attr in tlkeras.__all__, f"line {node.lineno}"


PRINTED = "Test: accuracy 0.991 (266 of 269 images; 95% CI 0.968–0.996), 1,259 training, epoch 7, 6.5 s, 99 img/s, -0.5"


@pytest.mark.parametrize(
    ("before", "now", "drifted"),
    [
        ("", "", False), ("0.991", "0.975", False), ("0.991", "0.951", True), ("0.996", "1.000", False),
        ("266 of 269", "262 of 269", False), ("266 of 269", "250 of 269", True), ("of 269", "of 268", True),
        ("1,259", "1,260", True), ("6.5 s", "66 s", False), ("99 img/s", "9 img/s", False),
        ("epoch 7", "epoch 8", False), ("-0.5", "0.5", True),
        ("Test", "Validation", True), (", 6.5 s", "", True), ("training", "0.5 training", True),
    ],
)  # fmt: skip
def test_a_number_that_drifts_is_caught(before, now, drifted):
    assert bool(drift(printing(PRINTED), printing(PRINTED.replace(before, now, 1)))) == drifted


def test_a_tag_allows_more():
    assert drift(printing("0.5"), printing("0.6")) == ["0.5 became 0.6"]
    assert drift(printing("0.5", tags=["tolerance=0.12"]), printing("0.6")) == []


def printing(text: str, **metadata) -> nbformat.NotebookNode:
    output = nbformat.v4.new_output("stream", text=text)
    return nbformat.v4.new_code_cell(outputs=[output], metadata=metadata)


@pytest.mark.slow
@each
def test_a_new_run_says_the_same(path):
    again = execute.read_source(path.with_suffix(".py"))
    seconds = execute.run(again)
    print(f"{path.stem}: {seconds / 60:.1f} minutes")
    pairs = zip(code_cells(read(path)), code_cells(again), strict=True)
    drifted = {cell.id: found for cell, fresh in pairs if (found := drift(cell, fresh))}
    assert not drifted and seconds < 60 * MINUTES
