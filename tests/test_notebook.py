"""Tables, images and bars: HTML in a notebook, text elsewhere."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tlkeras import progress as module
from tlkeras.errors import UserError
from tlkeras.notebook import Table, image_grid
from tlkeras.progress import in_notebook, passing, progress

ROWS = [{"name": "a<b", "count": 1200, "recall": 0.25}, {"name": "long name", "count": 7, "recall": np.float32(1)}]


def test_a_table_is_aligned_text_and_html():
    assert str(Table(ROWS)).splitlines() == [
        "name       count  recall",
        "a<b        1,200   0.250",
        "long name      7   1.000",
    ]
    cells = re.findall(r"<t[hd] style=\"text-align: (\w+)\">(.*?)</t", Table(ROWS)._repr_html_())
    assert cells[:6] == [
        ("left", "name"), ("right", "count"), ("right", "recall"), ("left", "a&lt;b"), ("right", "1,200"),
        ("right", "0.250"),
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "columns", "shape"), [(3, 8, (1, 3)), (5, 2, (3, 2))])
def test_images_have_their_titles(tmp_path, count, columns, shape):
    figure = image_grid(list(np.zeros((count, 8, 9, 3), np.uint8)), list("abcde")[:count], columns)
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert [panel.get_title() for panel in figure.axes if panel.images] == list("abcde")[:count]
    figure.savefig(tmp_path / "grid.png")


@pytest.fixture
def looks(monkeypatch) -> list[dict[str, str]]:
    """What a notebook was given to show, one after the other."""
    ipython = pytest.importorskip("IPython.display")
    shown = []
    handle = SimpleNamespace(update=lambda look, raw: shown.append(look))
    monkeypatch.setattr(ipython, "display", lambda look, raw, display_id: shown.append(look) or handle)
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    return shown


def test_only_a_kernel_is_a_notebook(monkeypatch):
    for shell, expected in ((None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=None), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert in_notebook() == expected
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_a_bar_and_its_table_are_redrawn_in_their_position(monkeypatch, looks, capfd):
    monkeypatch.setattr(module, "DELAY", 0)
    with progress(4, "Phase <1>", "batches") as bar:
        bar.set_postfix_str("epoch 1 of 2", refresh=False)
        for _ in range(100):
            bar.update(0)
        bar.update(2)
        bar.add_row(ROWS[0])
        assert len(looks) <= 3, "it flickers"
        assert looks[-1]["text/plain"].startswith("Phase <1>: 2/4 [")
        assert looks[-1]["text/plain"].endswith("epoch 1 of 2]\n" + str(Table(ROWS[:1])))
        assert 'Phase &lt;1&gt; <progress value="0.500"' in looks[-1]["text/html"]
        bar.update(2)
    assert 'value="1.000"' in looks[-1]["text/html"] and "<table>" in looks[-1]["text/html"], "it stays"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("delay", [0, 60])
def test_what_takes_long_has_a_bar_in_a_notebook(monkeypatch, looks, delay):
    monkeypatch.setattr(module, "DELAY", delay)
    with progress(400, "Reading images", "images") as bar:
        for _ in range(400):
            bar.update()
    assert len(looks) == (2 if delay == 0 else 0), "it flickers"


@pytest.mark.parametrize(("delay", "terminal"), [(0, True), (60, True), (0, False)])
def test_what_takes_long_has_a_passing_line_on_a_terminal(monkeypatch, capsys, delay, terminal):
    monkeypatch.setattr(module, "DELAY", delay)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress(2000, "Reading images", "images") as bar:
        bar.update(1000)
        bar.refresh() if delay == 0 else None
    said = capsys.readouterr().err
    assert ("Reading images:  50%" in said and "1000/2000" in said) == (delay == 0 and terminal)
    assert not said.splitlines()[-1:] or said.splitlines()[-1].strip() == "", "it goes"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_not_counted_passes_too(monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with pytest.raises(ValueError), passing("Evaluating"):
        raise ValueError
    assert capsys.readouterr() == ("", "\r\033[KEvaluating …\r\033[K" if terminal else "")


@pytest.mark.parametrize("in_kernel", [False, True])
def test_a_training_shows_one_bar_and_no_lines_in_a_notebook(monkeypatch, capfd, in_kernel):
    """The lines go where the bar is, and come back where it is not."""
    import keras
    import tensorflow as tf

    from tlkeras.training.phase import Phase, PhaseInputs, fit

    ipython, shown = pytest.importorskip("IPython.display"), []
    handle = SimpleNamespace(update=lambda look, raw: shown.append(look["text/plain"]))
    monkeypatch.setattr(ipython, "display", lambda look, **_: shown.append(look["text/plain"]) or handle)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=None) if in_kernel else None)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensors((np.zeros((4, 4)), np.zeros((4, 1)))).repeat(4)
    inputs = PhaseInputs(model, lambda **_: data, None, examples=8, batch_size=4, unit="img/s")
    fit(Phase("finetune", "all", 0.1, 0, 3), inputs, 1, [])
    lines = capfd.readouterr().out
    if in_kernel:
        bar, head, *rows = shown[-1].splitlines()
        assert lines == "" and bar.startswith("Phase 2: 4/4 [")
        assert head.split() == ["epoch", "loss", "speed"] and [row.split()[0] for row in rows] == ["2", "3"]
    else:
        assert lines.startswith("Epoch 2/3 loss") and lines.count("\n") == 2 and shown == []


def test_a_mistake_in_a_notebook_is_a_sentence_without_a_traceback(capsys):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    shell.run_cell(f"import {UserError.__module__} as errors\nraise errors.UserError('There is no folder photos.')")
    assert capsys.readouterr().out.strip() == "UserError: There is no folder photos."
