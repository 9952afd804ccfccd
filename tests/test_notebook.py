"""Tables, pictures and bars: HTML in a notebook, text elsewhere."""

import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tlkeras import display
from tlkeras.notebook import Progress, Table, image_grid
from tlkeras.errors import UserError

ROWS = [{"name": "a<b", "count": 1200, "share": 0.25}, {"name": "long name", "count": 7, "share": np.float32(1)}]


def test_a_table_is_aligned_text_and_html():
    assert str(Table(ROWS)).splitlines() == [
        "name       count  share",
        "a<b        1,200  0.250",
        "long name      7  1.000",
    ]
    cells = re.findall(r"<t[hd] style=\"text-align: (\w+)\">(.*?)</t", Table(ROWS)._repr_html_())
    assert cells[:6] == [
        ("left", "name"), ("right", "count"), ("right", "share"), ("left", "a&lt;b"), ("right", "1,200"),
        ("right", "0.250"),
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "columns", "shape"), [(3, 8, (1, 3)), (5, 2, (3, 2))])
def test_pictures_stand_under_their_titles(noise, tmp_path, count, columns, shape):
    figure = image_grid(noise(count, 8), list("abcde")[:count], columns)
    assert figure.axes[0].get_gridspec().get_geometry() == shape
    assert [panel.get_title() for panel in figure.axes if panel.images] == list("abcde")[:count]
    figure.savefig(tmp_path / "grid.png")


def test_a_bar_is_redrawn_in_its_place(monkeypatch):
    display = pytest.importorskip("IPython.display")
    looks = []

    class Handle:
        def update(self, look, raw):
            looks.append(look)

    monkeypatch.setattr(display, "display", lambda look, **_: looks.append(look) or Handle())
    bar = Progress("Phase 1")
    bar.row(ROWS[0])
    bar.show(0.5, "epoch 1 of 2", at_once=True)
    bar.show(0.6, "epoch 2 of 2")
    assert len(looks) == 2, "it flickers"
    assert looks[1]["text/plain"].startswith("Phase 1: epoch 1 of 2\nname") and 'value="0.500"' in looks[1]["text/html"]


@pytest.mark.parametrize("notebook", [False, True])
def test_a_training_shows_one_bar_and_no_lines_in_a_notebook(monkeypatch, capfd, coloured, notebook):
    """Keras' lines go where the bar is, and come back where it is not."""
    import keras

    from tlkeras.training import callbacks

    shown = []

    class Bar:
        def __init__(self, title):
            shown.append(title)

        def row(self, row):
            shown.append(list(row))

        def show(self, share, text, at_once=False):
            shown.append((round(share, 2), text))

    monkeypatch.setattr(callbacks, "Progress", Bar)
    shell = SimpleNamespace(kernel=None) if notebook else SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipykernel", sys)  # it alone says nothing
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    watching = [callbacks.Throughput(8, 4, 3), callbacks.NotebookProgress("Phase 2", 1, 3)]
    model.fit(np.zeros((8, 4)), np.zeros((8, 1)), batch_size=4, initial_epoch=1, epochs=3, callbacks=watching,
              verbose=callbacks.fit_verbosity())  # fmt: skip
    lines = capfd.readouterr().out
    if notebook:
        assert lines == "" and shown[0] == "Phase 2" and [entry for entry in shown if isinstance(entry, list)] == [
            ["epoch", "loss", "speed"]] * 2  # fmt: skip
        assert shown[1][0] == 0.25 and shown[-1] == (1.0, "epoch 3 of 3")
    else:
        assert "Epoch 3/3" in lines and shown == []


@pytest.mark.parametrize("seconds", [0, 60])
def test_what_takes_long_says_how_far_it_is(monkeypatch, capsys, seconds):
    monkeypatch.setattr(display, "QUIET_SECONDS", seconds)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    counter = display.Counter("Reading", 2000)
    counter.step(1000)
    counter.close()
    assert ("\rReading: 1,000 of 2,000\r" in capsys.readouterr().err) == (seconds == 0)


def test_what_takes_long_has_a_bar_in_a_notebook(monkeypatch, capsys):
    looks = pytest.importorskip("IPython.display") and []
    monkeypatch.setattr(display, "QUIET_SECONDS", 0)
    monkeypatch.setattr(display, "in_notebook", lambda: True)
    monkeypatch.setattr(Progress, "__init__", lambda self, title: looks.append(title))
    monkeypatch.setattr(Progress, "show", lambda self, share, text, at_once=False: looks.append((share, text)))
    counter = display.Counter("Reading", 4)
    counter.step(1)
    counter.close()
    assert looks == ["Reading", (0.25, "1 of 4"), (1.0, "4 of 4")] and capsys.readouterr().err == ""


def test_a_mistake_in_a_notebook_is_a_sentence_without_a_traceback(capsys):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    shell.run_cell(f"import {UserError.__module__} as errors\nraise errors.UserError('There is no folder photos.')")
    assert capsys.readouterr().out.strip() == "UserError: There is no folder photos."
