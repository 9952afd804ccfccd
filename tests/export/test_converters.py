"""What a format cannot hold is refused in a sentence."""

import logging

import keras
import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.export import litert
from tlkeras.export.artifact import ArtifactInfo
from tlkeras.export.formats import FORMATS, load_module
from tlkeras.export.inference import InferenceModel
from tlkeras.models.builders import build_classifier


@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
@pytest.mark.parametrize(
    ("layer", "dtype", "reason"),
    [
        (keras.layers.StringLookup(vocabulary=["good", "bad"], output_mode="multi_hot"), "object", "a vocabulary"),
        (keras.layers.Lambda(lambda x: keras.ops.erfinv(x), output_shape=(3,)), "float32", "no operator for Erfinv"),
    ],
)
def test_what_needs_other_operators_is_refused(tmp_path, name, layer, dtype, reason):
    inputs = keras.Input((3,), dtype="string" if dtype == "object" else dtype, name="text")
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="output")(layer(inputs)))
    info = ArtifactInfo(name, "float32", "single_label", "0", "", {}, {"name": "inputs"}, {"probabilities": 2})
    inference = InferenceModel(model, (3,), dtype, list(info.outputs))
    before = logging.getLogger().level
    with pytest.raises(UserError, match=f"{FORMATS[name].title} cannot hold this model: .*{reason}.*--format saved-m"):
        load_module(name).convert(inference, tmp_path, info, "float32", None)
    assert not list(tmp_path.iterdir())
    assert logging.getLogger().level == before  # OpenVINO's converter leaves another behind


@pytest.mark.parametrize(("task", "last"), [("single_label", "SOFTMAX"), ("multi_label", "LOGISTIC")])
def test_in_eight_bits_a_sure_model_stays_sure(tiny, noise, tmp_path, task, last):
    model = build_classifier(tiny, 2, task=task, weights="none", image_size=16)
    output = model.get_layer("output")
    output.set_weights([np.zeros_like(output.get_weights()[0]), np.array([5.0, -5.0])])
    info = ArtifactInfo("litert", "int8", task, "0", "", {}, {"name": "images"}, {"probabilities": 2, "features": 8})
    info.save(tmp_path)
    inference = InferenceModel(model, (16, 16, 3), "uint8", list(info.outputs))
    litert.convert(inference, tmp_path, info, "int8", noise(20, 16, 16))
    nodes = litert.graph_nodes((tmp_path / "model.tflite").read_bytes())
    assert nodes[-1][0] == last and "QUANTIZE" in dict(nodes)
    probabilities, _ = litert.open_session(tmp_path)(noise(3, 40, 23))
    np.testing.assert_allclose(probabilities, model.predict_on_batch(noise(3, 40, 23)), atol=2e-3)


@pytest.mark.parametrize("name", list(FORMATS))
def test_swish_and_grouped_convolutions_are_converted(tmp_path, name):
    inputs = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, activation="swish")(inputs)
    x = keras.layers.Conv2D(4, 3, groups=4)(x)  # as in ConvNeXt
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="output")(x))
    outputs = {"probabilities": 2, "features": 4}
    info = ArtifactInfo(name, "float32", "single_label", "0", "", {}, {"name": "images"}, outputs, ["a", "b"])
    load_module(name).convert(InferenceModel(model, (8, 8, 3), "uint8", list(outputs)), tmp_path, info, "float32", None)
    info.save(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    found, _ = load_module(name).open_session(tmp_path)(images)
    assert found == pytest.approx(model.predict(images.astype("float32"), verbose=0), abs=1e-5)
