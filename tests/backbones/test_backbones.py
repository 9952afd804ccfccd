"""The table of backbones, compared with the Keras that is installed."""

import inspect
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from keras.src.applications import imagenet_utils
from keras.src.utils import file_utils

from tlkeras.backbones import BACKBONES, Backbone, find_stage, get_backbone_spec
from tlkeras.errors import UserError

FAST = ["MobileNet-0.25", "MobileNetV2-0.35", "MobileNetV3Small-0.75", "VGG16", "EfficientNetB0"]
ROWS = [spec if name in FAST else pytest.param(spec, marks=pytest.mark.slow) for name, spec in BACKBONES.items()]
# What `preprocess_input` makes of the RGB pixel (10, 20, 30).
SCALED = {
    "tf": [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1],
    "caffe": [30 - 103.939, 20 - 116.779, 10 - 123.68],
    "torch": [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225],
    "inside": [10, 20, 30],
}


class Asked(Exception):
    """Keras asked this of a function that the test replaced."""


@pytest.fixture(autouse=True)
def clear_keras():
    yield
    keras.backend.clear_session(free_memory=False)  # collecting garbage takes half a second


def build(spec: Backbone, size: int, **arguments) -> keras.Model:
    constructor = getattr(keras.applications, spec.constructor)
    return constructor(include_top=False, input_shape=(size, size, 3), **spec.arguments, **arguments)


def test_importing_the_table_does_not_load_tensorflow():
    code = "import sys, tlkeras.backbones; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_rows_are_keyed_by_their_names_and_the_names_differ_when_spelled_freely():
    assert all(name == spec.name for name, spec in BACKBONES.items())
    assert [get_backbone_spec(name.upper().replace("-", "_")) for name in BACKBONES] == list(BACKBONES.values())


def test_rows_can_be_told_apart_by_their_parameters():
    assert len({spec.parameters for spec in BACKBONES.values()}) == len(BACKBONES)


@pytest.mark.parametrize(("written", "name"), [("mobilenet_v2", "MobileNetV2"), ("resnet-50", "ResNet50")])
def test_lookup_does_not_mind_spelling(written, name):
    assert get_backbone_spec(written).name == name


def test_unknown_backbone_names_close_ones_and_all():
    with pytest.raises(UserError, match=r'"resnet51".*Did you mean ResNet50.*Known are: VGG16, .*ConvNeXtXLarge\.'):
        get_backbone_spec("resnet51")


def test_stage_lookup():
    spec = get_backbone_spec("MobileNetV2")
    assert find_stage(spec, "Block13").layer == "block_13_expand"
    with pytest.raises(UserError, match=r'no stage of MobileNetV2 called "conv5".*block_16, Conv_1\.'):
        find_stage(spec, "conv5")


@pytest.mark.parametrize("row", BACKBONES.values(), ids=lambda spec: spec.name)
def test_stages_are_named_apart_and_never_by_automatic_layer_names(spec):
    names = [stage.name for stage in spec.stages]
    assert len(set(names)) == len(names)
    assert find_stage(spec, spec.finetune_from) in spec.stages[1:]
    automatic = ("conv2d", "batch_normalization", "activation", "add", "re_lu", "input_layer", "max_pooling2d")
    assert not [stage.layer for stage in spec.stages if stage.layer.startswith(automatic)]


@pytest.mark.parametrize("row", ROWS, ids=lambda spec: spec.name)
def test_row_is_true_of_the_model(spec):
    model = build(spec, spec.min_size, weights=None)
    assert model.count_params() == spec.parameters
    features = model(keras.ops.ones((1, spec.min_size, spec.min_size, 3)), training=False)
    assert features.shape[-1] == spec.features
    assert np.isfinite(features).all()
    with pytest.raises(ValueError, match="Input size must be at least"):
        build(spec, spec.min_size - 1, weights=None)
    starts = stage_starts(model, spec)
    assert starts == sorted(set(starts))
    most = 3 if spec.constructor == "NASNetMobile" else 1
    assert all(1 <= tensors_across(model, start) <= most for start in starts)


def stage_starts(model: keras.Model, spec: Backbone) -> list[int]:
    names = [layer.name for layer in model.layers]
    return [names.index(stage.layer) + stage.after for stage in spec.stages]


def tensors_across(model: keras.Model, start: int) -> int:
    """How many tensors go from below `model.layers[start]` to it or above it.

    Counted over operations because some additions (ConvNeXt) are no layers.
    """
    position = {id(operation): at for at, operation in enumerate(model.operations)}
    cut = position[id(model.layers[start])]
    across = {
        id(tensor)
        for operation in model.operations[cut:]
        for node in operation._inbound_nodes
        for tensor in node.input_tensors
        if position.get(id(tensor._keras_history.operation), cut) < cut
    }
    return len(across)


@pytest.mark.parametrize("row", BACKBONES.values(), ids=lambda spec: spec.name)
def test_scaling_and_sizes_are_those_of_keras(spec, monkeypatch):
    def obtain_input_shape(input_shape, default_size, min_size, **_):
        raise Asked(default_size, min_size)

    module = inspect.getmodule(getattr(keras.applications, spec.constructor))
    assert module.preprocess_input(np.array([[[10.0, 20.0, 30.0]]])).ravel() == pytest.approx(SCALED[spec.pixels])
    if spec.constructor.startswith("MobileNetV3"):
        return  # It checks sizes by itself; test_row_is_true_of_the_model covers the least one.
    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", obtain_input_shape)
    with pytest.raises(Asked) as asked:
        getattr(keras.applications, spec.constructor)(include_top=False, weights=None)
    assert asked.value.args == (spec.default_size, spec.min_size)


@pytest.mark.parametrize("row", ROWS, ids=lambda spec: spec.name)
def test_weight_file_is_the_one_keras_uses(spec, monkeypatch):
    def get_file(name, url, file_hash=None, **_):
        raise Asked(name, url, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    fresh_sizes = spec.weights_sizes if spec.name in FAST else spec.weights_sizes[:1]
    for size in (*fresh_sizes, max(spec.min_size, 100)):
        with pytest.raises(Asked) as asked, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns that sizes without a file of their own get that of 224.
            build(spec, size, weights="imagenet")
        assert asked.value.args == (*spec.weights_file(size), spec.weights_hash)


def test_a_hub_module_is_no_row_of_the_table():
    """What trains from random weights, such as pretraining, has no use for one."""
    with pytest.raises(UserError, match="hub:module is a hub module, which has no random weights"):
        get_backbone_spec("hub:module")
