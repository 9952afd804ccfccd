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

from tlkeras.backbones.registry import find_stage, get_application_spec, get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError

FAST = ["MobileNet-0.25", "MobileNetV2-0.35", "MobileNetV3Small-0.75", "VGG16", "EfficientNetB0"]
SPECS = [spec if name in FAST else pytest.param(spec, marks=pytest.mark.slow) for name, spec in BACKBONES.items()]
# What `preprocess_input` makes of the RGB pixel (10, 20, 30).
SCALED = {
    "tf": [10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1],
    "caffe": [30 - 103.939, 20 - 116.779, 10 - 123.68],
    "torch": [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225],
    "inside": [10, 20, 30],
}


def name_of(spec: BackboneSpec) -> str:
    return spec.name


class Asked(Exception):
    """Keras asked this of a function that the test replaced."""


@pytest.fixture(autouse=True)
def clear_keras():
    yield
    keras.backend.clear_session(free_memory=False)  # collecting garbage takes half a second


def build(spec: BackboneSpec, size: int, **arguments) -> keras.Model:
    constructor = getattr(keras.applications, spec.constructor)
    return constructor(include_top=False, input_shape=(size, size, 3), **spec.constructor_args, **arguments)


def test_importing_the_table_does_not_load_tensorflow():
    code = "import sys, tlkeras.backbones.registry; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_names_are_unique_in_any_spelling():
    assert all(name == spec.name for name, spec in BACKBONES.items())
    assert [get_backbone_spec(name.upper().replace("-", "_")) for name in BACKBONES] == list(BACKBONES.values())


def test_parameter_counts_are_unique():
    assert len({spec.num_params for spec in BACKBONES.values()}) == len(BACKBONES)


@pytest.mark.parametrize(("written", "name"), [("mobilenet_v2", "MobileNetV2"), ("resnet-50", "ResNet50")])
def test_lookup_in_other_spellings(written, name):
    assert get_backbone_spec(written).name == name


def test_unknown_backbone_suggests_close_names():
    with pytest.raises(UserError, match=r'"resnet51"\. Did you mean ResNet50.*\? tlkeras summary lists all\.$'):
        get_backbone_spec("resnet51")


def test_stage_lookup():
    spec = get_backbone_spec("MobileNetV2")
    assert find_stage(spec, "Block13").first_layer == "block_13_expand"
    with pytest.raises(UserError, match=r'no stage of MobileNetV2 called "conv5".*block_16, Conv_1\.'):
        find_stage(spec, "conv5")


@pytest.mark.parametrize("spec", BACKBONES.values(), ids=name_of)
def test_stages_have_unique_names_and_no_automatic_layer_names(spec):
    names = [stage.name for stage in spec.stages]
    assert len(set(names)) == len(names)
    assert find_stage(spec, spec.finetune_from) in spec.stages[1:]
    automatic = ("conv2d", "batch_normalization", "activation", "add", "re_lu", "input_layer", "max_pooling2d")
    assert not [stage.first_layer for stage in spec.stages if stage.first_layer.startswith(automatic)]


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_spec_matches_the_model(spec):
    model = build(spec, spec.min_size, weights=None)
    assert model.count_params() == spec.num_params
    features = model(keras.ops.ones((1, spec.min_size, spec.min_size, 3)), training=False)
    assert features.shape[-1] == spec.num_features
    assert np.isfinite(features).all()
    with pytest.raises(ValueError, match="Input size must be at least"):
        build(spec, spec.min_size - 1, weights=None)
    starts = stage_starts(model, spec)
    assert starts == sorted(set(starts))
    max_tensors = 3 if spec.constructor == "NASNetMobile" else 1
    assert all(1 <= tensors_across(model, start) <= max_tensors for start in starts)


def stage_starts(model: keras.Model, spec: BackboneSpec) -> list[int]:
    names = [layer.name for layer in model.layers]
    return [names.index(stage.first_layer) + stage.after for stage in spec.stages]


def tensors_across(model: keras.Model, start: int) -> int:
    """Return how many tensors go from below `model.layers[start]` to it or above it.

    Counted over operations because some additions (ConvNeXt) are no layers.
    """
    index = {id(operation): number for number, operation in enumerate(model.operations)}
    boundary = index[id(model.layers[start])]
    across = {
        id(tensor)
        for operation in model.operations[boundary:]
        for node in operation._inbound_nodes
        for tensor in node.input_tensors
        if index.get(id(tensor._keras_history.operation), boundary) < boundary
    }
    return len(across)


@pytest.mark.parametrize("spec", BACKBONES.values(), ids=name_of)
def test_preprocessing_and_sizes_are_those_of_keras(spec, monkeypatch):
    def obtain_input_shape(input_shape, default_size, min_size, **_):
        raise Asked(default_size, min_size)

    module = inspect.getmodule(getattr(keras.applications, spec.constructor))
    assert module.preprocess_input(np.array([[[10.0, 20.0, 30.0]]])).ravel() == pytest.approx(
        SCALED[spec.preprocess_mode]
    )
    if spec.constructor.startswith("MobileNetV3"):
        return  # It checks sizes by itself; test_spec_matches_the_model covers the minimum.
    monkeypatch.setattr(imagenet_utils, "obtain_input_shape", obtain_input_shape)
    with pytest.raises(Asked) as asked:
        getattr(keras.applications, spec.constructor)(include_top=False, weights=None)
    assert asked.value.args == (spec.default_size, spec.min_size)


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
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


def test_table_only_lookup_refuses_other_providers():
    """Pretraining starts from random weights, which a hub module does not have."""
    with pytest.raises(UserError, match=r"hub:module cannot be used here\..*tlkeras summary prints"):
        get_application_spec("hub:module")


def test_unknown_provider():
    said = r"nonsense:…, but nothing in this project begins with nonsense:\. Give .*tlkeras summary lists, hub:… or ker"
    with pytest.raises(UserError, match=said):
        get_backbone_spec("nonsense:x")


def test_a_provider_that_the_project_was_made_without(monkeypatch):
    monkeypatch.setattr("tlkeras.backbones.registry.EXTRAS", "tlkeras.nowhere")
    said = r"without modules of TensorFlow Hub; .* --with hub .* Give a name that tlkeras summary lists\.$"
    with pytest.raises(UserError, match=said):
        get_backbone_spec("hub:module")


def test_a_spec_is_returned_as_it_is():
    spec = BACKBONES["VGG16"]
    assert get_backbone_spec(spec) is spec


def test_options_of_other_providers_are_refused():
    with pytest.raises(UserError, match=r"pixel_range was 0\.\.1, but VGG16 has no such option; leave it out"):
        BACKBONES["VGG16"].configure(pixel_range="0..1")
