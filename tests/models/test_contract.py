"""One contract that every backbone of the table keeps, at its smallest size and with random weights."""

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from types import ModuleType

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras import build_inception_v3, build_mobilenet_v2, build_resnet50, build_vgg16
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.evaluation.explain import class_maps
from tlkeras.features.engines import unwrap_single
from tlkeras.features.split_model import split_model
from tlkeras.io.hashing import array_digest
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import first_trainable_index, set_trainable
from tlkeras.models.introspect import get_backbone
from tlkeras.models.keras_private import flatten_layers, nested_io
from tlkeras.training.two_phase import train_two_phases

pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")

BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "VGG16": build_vgg16,
    "ResNet50": build_resnet50,
    "MobileNetV2": build_mobilenet_v2,
    "InceptionV3": build_inception_v3,
}


def smallest(names: Iterable[str]) -> str:
    return min(names, key=lambda name: BACKBONES[name].num_params)


def architecture(name: str) -> ModuleType:
    """Return the module of Keras that builds a backbone: all sizes of an architecture have the same one."""
    return inspect.getmodule(getattr(keras.applications, BACKBONES[name].constructor))


# The others are slow tests.
FAST = {"MobileNetV2", smallest(name for name, spec in BACKBONES.items() if spec.preprocess_mode == "inside")}
# Both phases are run with these, as backbones of an architecture differ in the number and width of layers alone.
TRAINED = {*BUILDERS, *(smallest(group) for _, group in groupby(BACKBONES, architecture))}
SPECS = [
    pytest.param(spec, id=name, marks=[] if name in FAST else pytest.mark.slow) for name, spec in BACKBONES.items()
]
CLASSES = 3
TARGETS = np.eye(CLASSES, dtype="float32")[[0, 1, 2, 0]]
OPTIONS = TrainingOptions(
    frozen_epochs=1, finetune_epochs=1, batch_size=4, optimizer="adam", warmup=0.0, flip="none", min_crop_area=1.0,
    color_jitter=0.0, views=0,
)  # fmt: skip
# Opens models in safe mode where tlkeras cannot be imported. A line is: a model, images, where outputs go.
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
    """Run without tracing: a step of a graph costs seconds to trace, and each backbone takes two."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def plain_keras() -> Iterator[subprocess.Popen]:
    """Return a process in which tlkeras cannot be imported; it is started once because TensorFlow loads slowly."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", PLAIN_KERAS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.stdin.close()
    assert process.wait() == 0


@pytest.fixture(scope="module", params=SPECS)
def spec(request) -> BackboneSpec:
    return request.param


@pytest.fixture(scope="module")
def images(spec) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (4, spec.min_size, spec.min_size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def built(spec) -> Iterator[keras.Model]:
    """Return the model as it is built, by the named builder where there is one."""
    keras.utils.set_random_seed(0)
    options = {"weights": "none", "image_size": spec.min_size, "dropout": 0.3}
    named = BUILDERS.get(spec.name)
    model = named(CLASSES, **options) if named else build_classifier(spec, CLASSES, **options)
    yield model
    del model
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def model(built, images) -> keras.Model:
    """Return the model with a head whose outputs depend on its features."""
    calibrate_batch_norm(built, images)
    set_head_weights(built, images)
    return built


def set_head_weights(model: keras.Model, images: np.ndarray) -> None:
    """Make the head tell images apart, whatever the scale of the features: logits of mean 0 and deviation about 1."""
    features = outputs(keras.Model(model.input, model.get_layer("dropout").input), images)
    kernel = np.random.default_rng(1).normal(size=(features.shape[1], CLASSES))
    kernel /= (features @ kernel).std(axis=0)
    model.get_layer("output").set_weights([kernel, -features.mean(axis=0) @ kernel])


def outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


def hashes(weights: list[keras.Variable]) -> list[str]:
    return [array_digest([weight]) for weight in weights]


def test_the_model_is_what_its_spec_says(spec, built):
    backbone = get_backbone(built)
    assert (backbone.name, backbone.count_params()) == (spec.name, spec.num_params)
    assert backbone.output_shape[-1] == spec.num_features
    assert built.output_shape == (None, CLASSES)
    assert built.get_layer("dropout").rate == 0.3
    assert not backbone.trainable_weights


def test_nothing_inside_the_backbone_is_random(spec, built):
    """Dropout and stochastic depth are off."""
    rates = [x.rate for x in get_backbone(built).layers if isinstance(x, keras.layers.Dropout)]
    assert set(rates) == ({0.0} if spec.name.startswith("EfficientNet") else set())
    assert len(rates) == 9 or spec.name != "EfficientNetB0"


def test_images_of_any_size_give_probabilities(spec, model):
    size = spec.min_size
    for height, width in ((size + 9, size + 30), (size // 2, size)):
        images = np.random.default_rng(2).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        probabilities = outputs(model, images)
        assert probabilities.shape == (2, CLASSES)
        assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        assert probabilities.min() >= 0


def test_the_backbone_is_given_what_preprocess_input_makes(spec, model, images):
    backbone = get_backbone(model)
    scaled = keras.Model(model.input, nested_io(model, backbone)[0])(images)
    expected = architecture(spec.name).preprocess_input(images.astype("float32"))
    assert backbone.input_shape == (None, spec.min_size, spec.min_size, 3)
    assert scaled.dtype == "float32"
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_every_stage_can_be_unfrozen(spec, model):
    layers = get_backbone(model).layers
    names = [layer.name for layer in layers]
    firsts = {stage.name: names.index(stage.first_layer) + stage.after for stage in spec.stages}
    firsts |= {5: len(layers) - 5, "50%": len(layers) - round(len(layers) / 2), "all": 0, "none": len(layers)}
    head = model.get_layer("output").weights
    for unfreeze, first in firsts.items():
        count = set_trainable(model, unfreeze)
        expected = [layer for layer in layers[first:] if not isinstance(layer, keras.layers.BatchNormalization)]
        assert [layer.name for layer in layers if layer.trainable] == [layer.name for layer in expected]
        weights = [weight for layer in expected for weight in layer.trainable_weights]
        assert {id(weight) for weight in model.trainable_weights} == {id(weight) for weight in weights + head}
        assert count.trainable == sum(np.prod(weight.shape, dtype=int) for weight in weights + head)


def test_the_parts_of_a_split_model_give_its_outputs(spec, model, images):
    parts, whole = split_model(model, first_trainable_index(model, spec.finetune_from)), outputs(model, images)
    pooled, *at_split = parts.below(images.astype("float32"), training=False)
    np.testing.assert_allclose(parts.head(pooled, training=False), whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(parts.upper(unwrap_single(at_split), training=False), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_each_image_has_a_map(spec, model, images, method):
    """Where nothing speaks for a class, all speaks against it: with the head's signs turned there is a map."""
    set_head_weights(model, images)
    head = model.get_layer("output")
    maps = [class_maps(model, images, [0, 1, 2, 0], method)]
    head.set_weights([-weight for weight in head.get_weights()])
    maps.append(class_maps(model, images, [0, 1, 2, 0], method))
    assert maps[0].shape == images.shape[:3] and np.isfinite(maps).all() and np.min(maps) >= 0
    highest = np.max(maps, axis=(0, 2, 3))
    # Grad-CAM++ takes features for those of a ReLU; ConvNeXt ends in LayerNormalization, where both may be negative.
    signed = method == "grad-cam++" and spec.name.startswith("ConvNeXt")
    assert np.isin(highest, [0, 1]).all() and (highest.any() if signed else highest.all())


def test_training_moves_what_is_trainable_and_nothing_else(spec, model, images, monkeypatch):
    if spec.name in TRAINED:
        check_both_phases(spec, model, images, monkeypatch)
    else:
        check_gradients(spec, model, images)


def check_gradients(spec: BackboneSpec, model: keras.Model, images: np.ndarray) -> None:
    """Each trainable weight has a gradient, and BatchNormalization keeps its statistics in training mode."""
    set_trainable(model, spec.finetune_from)
    weights = model.trainable_weights
    batch_norms = [x for x in flatten_layers(model) if isinstance(x, keras.layers.BatchNormalization)]
    before = [hashes(layer.weights) for layer in batch_norms]
    with tf.GradientTape() as tape:
        loss = keras.losses.categorical_crossentropy(TARGETS, model(images, training=True))
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    reached = [x is not None and np.any(x) for x in gradients]
    assert all(reached), [weight.path for weight, one in zip(weights, reached, strict=True) if not one]
    assert [hashes(layer.weights) for layer in batch_norms] == before


def check_both_phases(spec: BackboneSpec, model: keras.Model, images: np.ndarray, monkeypatch) -> None:
    """One step of each phase moves all that is trainable then, and nothing else."""
    seen = [hashes(model.weights)]

    def score(logs, task):
        """Score each epoch above the one before, so that all are kept."""
        seen.append(hashes(model.weights))
        return (len(seen),)

    monkeypatch.setattr("tlkeras.training.callbacks.score", score)
    data = SplitData(images, np.arange(4), TARGETS)
    result = train_two_phases(model, data, data, OPTIONS, unfreeze=spec.finetune_from)
    assert (result.kept, result.epoch, len(result.history)) == ("finetune", 2, 2)
    assert hashes(model.weights) == seen[2]
    for unfreeze, before, after in (("none", *seen[:2]), (spec.finetune_from, *seen[1:])):
        set_trainable(model, unfreeze)
        moved = [weight.path for weight, one, two in zip(model.weights, before, after, strict=True) if one != two]
        assert moved == [weight.path for weight in model.weights if weight.trainable]


def test_the_saved_model_opens_in_plain_keras(model, images, plain_keras, tmp_path):
    set_head_weights(model, images)
    before = outputs(model, images)
    assert np.ptp(before, axis=0).max() > 0.1  # else equal outputs would say nothing
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    files = [tmp_path / name for name in ("model.keras", "images.npy", "outputs.npy")]
    plain_keras.stdin.write("\t".join(map(str, files)) + "\n")
    plain_keras.stdin.flush()
    assert plain_keras.stdout.readline() == "done\n"
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), before, rtol=0, atol=1e-6)
    files[0].unlink()
