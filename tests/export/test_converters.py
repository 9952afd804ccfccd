"""What a format cannot hold is refused in a sentence."""

import logging

import keras
import pytest

from tlkeras.errors import UserError
from tlkeras.export.artifact import ArtifactInfo
from tlkeras.export.formats import FORMATS, load_module
from tlkeras.export.inference import InferenceModel


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
