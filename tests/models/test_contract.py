"""One contract that every row of the backbone table keeps, at its smallest size and with random weights."""

import hashlib
import inspect
import subprocess
import sys
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.features.engines import unwrap_single
from tlkeras.features.split_model import cut
from tlkeras.models.batch_norm import backbone_input, calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import first_trainable_index, set_trainable
from tlkeras.models.introspect import get_backbone
from tlkeras.training.two_phase import train_two_phases

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")

NAMED = {"VGG16", "ResNet50", "MobileNetV2", "InceptionV3"}
# With the named backbones, the least row of each kind of pixel scaling is tested always; the others are slow.
LEAST = {min((spec for spec in BACKBONES.values() if spec.preprocess_mode == mode), key=lambda spec: spec.num_params).name
         for pixels in ("caffe", "tf", "torch", "inside")}  # fmt: skip
ROWS = [
    pytest.param(spec, id=name, marks=[] if name in NAMED | LEAST else pytest.mark.slow)
    for name, spec in BACKBONES.items()
]
CLASSES = 3
OPTIONS = TrainingOptions(
    frozen_epochs=1, finetune_epochs=1, batch_size=4, optimizer="adam", warmup=0.0, flip="none", min_crop_area=1.0, color_jitter=0.0,
    views=0,
)  # fmt: skip
# Opens models in safe mode where tlkeras cannot be imported. In turn: a model, images, where outputs go.
PLAIN_KERAS = """
import sys

class Block:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "tlkeras":
            raise ModuleNotFoundError("tlkeras is not installed here")

sys.meta_path.insert(0, Block())
try:
    import tlkeras
    sys.exit("tlkeras could be imported")
except ModuleNotFoundError:
    pass
import keras, numpy
for line in sys.stdin:
    model, images, outputs = line.rstrip("\\n").split("\\t")
    loaded = keras.models.load_model(model, safe_mode=True)
    numpy.save(outputs, loaded(numpy.load(images), training=False))
    keras.backend.clear_session()
    print("done", flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def eagerly() -> Iterator[None]:
    """Without tracing: a step of a graph costs seconds to trace, and each row takes two."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def plain_keras() -> Iterator[subprocess.Popen]:
    """Another process, in which tlkeras cannot be imported; started once because TensorFlow loads slowly."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", PLAIN_KERAS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.stdin.close()
    assert process.wait() == 0


@pytest.fixture(scope="module", params=ROWS)
def spec(request) -> BackboneSpec:
    return request.param


@pytest.fixture(scope="module")
def images(spec) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (4, spec.min_size, spec.min_size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(spec, images) -> Iterator[keras.Model]:
    """The row's model, with a head that makes something of its features."""
    keras.utils.set_random_seed(0)
    model = build_classifier(spec, CLASSES, weights="none", image_size=spec.min_size)
    calibrate_batch_norm(model, images)
    give_head_weights(model, images)
    yield model
    del model
    keras.backend.clear_session()


def give_head_weights(model: keras.Model, images: np.ndarray) -> None:
    """Make the head tell images apart, whatever the scale of the features: logits of mean 0 and deviation about 1."""
    to_features = keras.Model(model.input, model.get_layer("dropout").input)
    features = outputs(to_features, images)
    kernel = np.random.default_rng(1).normal(size=(features.shape[1], CLASSES))
    kernel /= (features @ kernel).std(axis=0)
    model.get_layer("output").set_weights([kernel, -features.mean(axis=0) @ kernel])


def outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def fingerprints(model: keras.Model) -> list[bytes]:
    return [hashlib.sha256(np.array(weight.value)).digest() for weight in model.weights]


def test_images_of_any_size_give_probabilities(spec, model):
    side = spec.min_size
    for height, width in ((side + 9, side + 30), (side // 2, side)):
        images = np.random.default_rng(2).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        probabilities = outputs(model, images)
        assert probabilities.shape == (2, CLASSES)
        assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        assert probabilities.min() >= 0


def test_the_backbone_gets_what_preprocess_input_makes(spec, model, images):
    backbone = get_backbone(model)
    scaled = keras.Model(model.input, backbone_input(model, backbone))(images)
    module = inspect.getmodule(getattr(keras.applications, spec.constructor))
    expected = module.preprocess_input(images.astype("float32"))
    assert backbone.input_shape == (None, spec.min_size, spec.min_size, 3)
    assert scaled.dtype == "float32"
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_every_stage_can_be_unfrozen(spec, model):
    layers = get_backbone(model).layers
    names = [layer.name for layer in layers]
    firsts = {stage.name: names.index(stage.first_layer) + stage.after for stage in spec.stages}
    firsts |= {5: len(layers) - 5, "50%": len(layers) - round(len(layers) / 2), "all": 0, "none": len(layers)}
    for unfreeze, first in firsts.items():
        learning = set_trainable(model, unfreeze)
        expected = [layer for layer in layers[first:] if not isinstance(layer, keras.layers.BatchNormalization)]
        assert [layer.name for layer in layers if layer.trainable] == [layer.name for layer in expected]
        weights = [weight for layer in expected for weight in layer.trainable_weights]
        head = model.get_layer("output").weights
        assert {id(weight) for weight in model.trainable_weights} == {id(weight) for weight in weights + head}
        assert learning.trainable == sum(np.prod(weight.shape, dtype=int) for weight in weights + head)


def test_the_parts_of_a_cut_give_the_whole_again(spec, model, images):
    first = first_trainable_index(get_backbone(model), spec.finetune_from)
    parts, whole = cut(model, first), outputs(model, images)
    pooled, *at_cut = parts.below(images.astype("float32"), training=False)
    np.testing.assert_allclose(parts.head(pooled, training=False), whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(parts.upper(unwrap_single(at_cut), training=False), whole, rtol=0, atol=1e-5)


def test_one_step_of_each_phase_moves_what_learns_and_nothing_else(spec, model, images, monkeypatch):
    seen = [fingerprints(model)]

    def score(logs, task):
        """Each epoch counts as better than the one before, so that none is taken back."""
        seen.append(fingerprints(model))
        return (len(seen),)

    monkeypatch.setattr("tlkeras.training.callbacks.score", score)
    data = SplitData(images, np.arange(4), np.eye(CLASSES, dtype="float32")[[0, 1, 2, 0]])
    result = train_two_phases(model, data, data, OPTIONS)
    assert (result.kept, result.epoch, len(result.history)) == ("finetune", 2, 2)
    assert fingerprints(model) == seen[2]
    for unfreeze, before, after in (("none", *seen[:2]), (spec.finetune_from, *seen[1:])):
        set_trainable(model, unfreeze)
        moved = [weight.path for weight, one, two in zip(model.weights, before, after, strict=True) if one != two]
        assert moved == [weight.path for weight in model.weights if weight.trainable]


def test_the_saved_model_opens_in_plain_keras(model, images, plain_keras, tmp_path):
    give_head_weights(model, images)
    before = outputs(model, images)
    assert np.ptp(before, axis=0).min() > 0.1
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    files = [tmp_path / name for name in ("model.keras", "images.npy", "outputs.npy")]
    plain_keras.stdin.write("\t".join(map(str, files)) + "\n")
    plain_keras.stdin.flush()
    assert plain_keras.stdout.readline() == "done\n"
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), before, rtol=0, atol=1e-6)
    files[0].unlink()
