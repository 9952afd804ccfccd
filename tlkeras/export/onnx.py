"""ONNX, for ONNX Runtime in any language: standard operators only, in one file with its labels."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.export.artifact import ArtifactInfo, Session, load_artifact
from tlkeras.export.formats import FORMATS
from tlkeras.export.refusal import check_frozen, refusal
from tlkeras.runtime import quiet_stderr

if TYPE_CHECKING:
    from tlkeras.export.inference import InferenceModel

OPSET = 18  # of 2022: the newest that tf2onnx knows, and that ONNX Runtime reads since 1.14
MISSING = r"No Op registered for (\w+)"
AXES = ("batch", "height", "width")


def convert(model: "InferenceModel", folder: Path, info: ArtifactInfo, variant: str, sample: np.ndarray | None) -> None:
    """Write a model; refuse one that needs other than ONNX's own operators."""
    import onnx

    with quiet_stderr():
        import tf2onnx

        from tlkeras.export.inference import freeze

        tf2onnx.logging.getLogger("tf2onnx").setLevel("CRITICAL")  # errors come as exceptions
        function = freeze(model, model.raw)
        check_frozen(function, FORMATS["onnx"].title)
        try:
            found, _ = tf2onnx.convert.from_function(function, input_signature=[model.raw], opset=OPSET)
            describe(found, info)
            onnx.checker.check_model(found)
        except Exception as error:  # the converter raises nearly anything, and leaves what it does not know as it is
            raise refusal(FORMATS["onnx"].title, error, MISSING) from None
    onnx.save(found, folder / FORMATS["onnx"].model)


def describe(model: Any, info: ArtifactInfo) -> None:
    """Name the axes of a model's input and outputs, and write into it what the artifact says of itself."""
    import onnx

    for value in (*model.graph.input, *model.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, AXES, strict=False):
            if not axis.HasField("dim_value"):
                axis.dim_param = name
    model.producer_name, model.producer_version = "tlkeras", info.tlkeras
    facts = {name: value for name, value in asdict(info).items() if value}
    texts = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
             for name, value in facts.items()}  # fmt: skip
    onnx.helper.set_model_props(model, texts)


def operators(folder: Path) -> list[str]:
    """Return the names of the operators of the graph."""
    import onnx

    graph = onnx.load(folder / FORMATS["onnx"].model, load_external_data=False).graph
    return sorted({node.op_type for node in graph.node})


def open_session(folder: Path) -> Session:
    """Return what runs the model with ONNX Runtime, without TensorFlow, on all cores."""
    import onnxruntime

    from tlkeras.data.loading import available_cores

    outputs = list(load_artifact(folder).outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    path = str(folder / FORMATS["onnx"].model)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()

    def run(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        values = session.run(outputs, {taken.name: inputs})
        return values[0], values[1] if len(values) > 1 else None

    return run
