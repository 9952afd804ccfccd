"""Run the notebooks' sources, and write what comes out: `python notebooks/execute.py [NAME …]`, all without names.

The minutes that they took go into the table of README.md.

A source `NAME.py` is in Jupytext's percent format; `NAME.ipynb` beside it has the same cells and their outputs.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources(names: list[str]) -> list[Path]:
    """The sources of these names, or all of them; a message and exit code 2 for a name that there is not."""
    known = {path.stem: path for path in sorted(FOLDER.glob("[0-9]*.py"))}
    for name in names:
        if Path(name).stem not in known:
            print(f"There is no notebook {name}; there are {', '.join(known)}.", file=sys.stderr)
            sys.exit(2)
    return [known[Path(name).stem] for name in names] or list(known.values())


def read_source(path: Path) -> nbformat.NotebookNode:
    """The notebook of a source, without outputs; equal sources give equal notebooks."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02}"
    return notebook


def run(notebook: nbformat.NotebookNode, cell_seconds: float = 900) -> float:
    """Run all cells in a fresh kernel, in an empty folder with an empty cache, and put their outputs in.

    Args:
        notebook: from `read_source`.
        cell_seconds: how long one cell may take.

    Returns:
        Seconds, the start of the kernel included.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(FOLDER.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        mine = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "KERAS_HOME": "keras"}
        mine["TLKERAS_CACHE"] = "cache"
        mine["TF_CPP_MIN_LOG_LEVEL"] = "3"  # else TensorFlow may write about its graphs into a cell
        # Offline, whatever the machine: else the outputs would depend on what can be downloaded.
        mine |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        client = NotebookClient(
            notebook,
            timeout=cell_seconds,
            kernel_name="python3",
            skip_cells_with_tag="skip-execution",  # the one that installs
            resources={"metadata": {"path": folder}},
            record_timing=False,
            extra_arguments=["--IPKernelApp.log_level=40"],  # else it tells the terminal how it talks to this program
        )
        client.execute(env=os.environ | mine)
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel has put its version into it
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    return time.perf_counter() - start


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs in which text that was printed without a break is one output, however fast it came."""
    kept = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream" and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def write_minutes(name: str, minutes: str) -> None:
    """Put the minutes of a notebook into its row of README.md."""
    readme = FOLDER / "README.md"
    text = readme.read_text(encoding="utf-8")
    row = rf"(^\| \[{re.escape(name)}\].*\| )[\d.]+( \|$)"
    readme.write_text(re.sub(row, rf"\g<1>{minutes}\g<2>", text, flags=re.MULTILINE), encoding="utf-8")


def main() -> None:
    for path in sources(sys.argv[1:]):
        notebook = read_source(path)
        seconds = run(notebook)
        nbformat.write(notebook, path.with_suffix(".ipynb"))
        minutes = f"{seconds / 60:.1f}"
        write_minutes(path.stem, minutes)
        print(f"{path.stem}: {minutes} minutes")


if __name__ == "__main__":
    main()
