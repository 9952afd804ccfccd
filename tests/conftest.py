"""What several test files share: a quiet TensorFlow, generated images, a backbone that trains in seconds."""

import contextlib
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.backbones.table import BACKBONES


def tiny_spec() -> BackboneSpec:
    return BackboneSpec(
        name="Tiny",
        constructor="Tiny",
        preprocess_mode="tf",
        default_size=16,
        min_size=8,
        num_features=8,
        num_params=6 * (27 + 1) + 6 * 4 + 6 * (54 + 1) + 6 * 4 + 8 * (54 + 1) + 8 * 4,
        stages=(Stage("stage1", "conv1"), Stage("stage2", "conv2"), Stage("stage3", "relu2", after=True)),
        finetune_from="stage3",
        weights_url="https://example.org/tiny.h5",
        weights_hash=None,
    )


# [part: template]
# Files with the longest of the slow tests. They start first, so that no worker is left with them at the end.
LONGEST = ("test_contract.py", "test_notebooks.py", "test_new_project.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


# [/part]
@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory) -> None:
    """Put the cached features of test runs, those of scripts too, into a folder of their own."""
    os.environ["TLKERAS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_backbone() -> Callable[[], contextlib.AbstractContextManager[str]]:
    """Return `tiny_backbone()`, a context in which the backbone of `tiny` is in the table."""

    @contextlib.contextmanager
    def in_table() -> Iterator[str]:
        import keras

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BACKBONES, "Tiny", tiny_spec())
            patch.setattr(keras.applications, "Tiny", build_tiny, raising=False)
            keras.utils.set_random_seed(0)
            yield "Tiny"
        keras.backend.clear_session(free_memory=False)  # collecting garbage takes half a second

    return in_table


@pytest.fixture
def tiny(tiny_backbone) -> Iterator[str]:
    """Return the name of a backbone of three stages, which is in the table for the time of one test."""
    with tiny_backbone() as name:
        yield name


def build_tiny(include_top: bool, weights: None, input_shape: tuple[int, int, int]):
    """Build three stages of convolution, BatchNormalization, ReLU; the arguments are those of Keras Applications."""
    from keras import Input, Model, layers

    inputs = x = Input(input_shape)
    for stage, filters in enumerate((6, 6, 8), start=1):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"conv{stage}")(x)
        x = layers.BatchNormalization(name=f"bn{stage}")(x)
        x = layers.ReLU(name=f"relu{stage}")(x)
    return Model(inputs, layers.Dropout(0.5, name="inner_dropout")(x), name="tiny")


# [part: hub]
@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator:
    """Start a server that sends one archive, which is to be set, whatever is asked; the cache is empty."""
    import http.server
    import threading
    from types import SimpleNamespace

    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(f"{self.command} {self.path}")
            found = served.archive is not None and "tf-hub-format=compressed" in self.path
            content = served.archive.read_bytes() if found else b""
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}/publisher/features/1"
    served = SimpleNamespace(url=url, archive=None, asked=[])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


# [/part]
@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return `noise(count, height, width)`: random uint8 `(count, height, width, 3)`, the same at each call."""

    def make(count: int, height: int, width: int | None = None) -> np.ndarray:
        return np.random.default_rng(7).integers(0, 256, (count, height, width or height, 3), dtype=np.uint8)

    return make


@pytest.fixture
def colored() -> Callable:
    """Return a function that makes images whose color is the label: red, green, blue in turn, with a little noise.

    `colored(count)` is a `SplitData` of 16 x 16 pixels with one-hot targets; `labels` gives other targets from the
    class indices.
    """
    from tlkeras.data.pipeline import SplitData

    def make(count: int, labels: Callable[[np.ndarray], np.ndarray] = lambda classes: np.eye(3)[classes], seed=0):
        classes = np.arange(count) % 3
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 40, (count, 16, 16, 3)) + 180 * np.eye(3, dtype=int)[classes][:, None, None, :]
        return SplitData(images.astype("uint8"), np.arange(count), labels(classes).astype("float32"))

    return make


@pytest.fixture
def stopping() -> Callable:
    """Return `stopping(folder, last)`, checkpoints that stop a training once those of epoch `last` are written."""
    from tlkeras.training.checkpoint import Checkpoints

    class Stopping(Checkpoints):
        def __init__(self, folder, last: int) -> None:
            super().__init__(folder)
            self._last = last

        def write(self, number, arrays, state) -> None:
            super().write(number, arrays, state)
            if number == self._last:
                raise KeyboardInterrupt

    return Stopping
