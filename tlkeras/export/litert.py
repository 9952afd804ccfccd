"""LiteRT, for phones and small computers: built-in operators only, in one file with its labels."""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.export.artifact import ArtifactInfo, Session, load_artifact
from tlkeras.export.formats import FORMATS
from tlkeras.export.refusal import check_frozen, refusal
from tlkeras.runtime import quiet_stderr

if TYPE_CHECKING:
    from tlkeras.export.inference import InferenceModel

MISSING = r"'tf\.(\w+)' op is neither"


def convert(model: "InferenceModel", folder: Path, info: ArtifactInfo, variant: str, sample: np.ndarray | None) -> None:
    """Write a model; refuse one that needs other than built-in operators.

    "float16" stores weights in half the bytes, "dynamic" in a quarter and computes the range of activations while it
    runs; "int8" takes it from a sample of decoded examples. The resize is float32 in all of them: its weights depend
    on the size of each image, and no sample tells their range. So is the scaling of pixels behind it.
    """
    import tensorflow as tf

    from tlkeras.export.inference import freeze
    from tlkeras.export.litert_metadata import with_metadata
    from tlkeras.export.saved_model import save_frozen

    function = freeze(model, model.raw)
    check_frozen(function, FORMATS["litert"].title)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")  # that TensorFlow calibrates with an interpreter that is deprecated
        save_frozen(tf.Module(), Path(temporary), {"serving_default": function})
        try:
            content = make_converter(temporary, "float32" if variant == "int8" else variant).convert()
            if variant == "int8":
                content = quantize(temporary, graph_nodes(content), model.raw.name, sample)
        except Exception as error:  # the converter raises nearly anything
            raise refusal(FORMATS["litert"].title, error, MISSING) from None
    (folder / FORMATS["litert"].model).write_bytes(with_metadata(content, info))


def make_converter(saved_model: str, variant: str) -> Any:
    """Return a converter that leaves no operator to TensorFlow."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if variant != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if variant == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter


def quantize(saved_model: str, nodes: list[tuple[str, str]], name: str, sample: np.ndarray | None) -> bytes:
    """Return the model in 8 bits, weights per channel, but for its beginning and its end."""
    import tensorflow as tf

    def representative() -> Iterator[dict[str, np.ndarray]]:
        for one in sample if sample is not None else ():
            yield {name: one[None]}

    converter = make_converter(saved_model, "int8")
    converter.target_spec.supported_ops.append(tf.lite.OpsSet.TFLITE_BUILTINS_INT8)
    converter.representative_dataset = representative
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=nodes_in_float(nodes))
    # The only way to leave a part in float; nothing is debugged.
    return tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=representative, debug_options=options
    ).get_nondebug_quantized_model()


def nodes_in_float(nodes: list[tuple[str, str]]) -> list[str]:
    """Return the outputs of the nodes before the first convolution, resize and scaling of pixels, and of the last node.

    What scaling loses goes through all layers: in 8 bits, ResNet50 decided otherwise for an eighth of the digits. And
    probabilities would end at 0.996, below the thresholds of some runs; numbers would have 256 values.
    """
    from tlkeras.export.inference import RESIZE

    first = next((number for number, (kind, _) in enumerate(nodes) if kind == "CONV_2D"), 0)
    before = [output for number, (_, output) in enumerate(nodes) if number < first or output.startswith(RESIZE)]
    return [*before, nodes[-1][1]]


def graph_nodes(content: bytes) -> list[tuple[str, str]]:
    """Return the operators of a model in their order, each with the name of its first output."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    nodes = []
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        code = model.OperatorCodes(operator.OpcodeIndex())
        custom = (code.CustomCode() or b"").decode()
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # the latter in older files
        output = graph.Tensors(operator.Outputs(0)).Name().decode() if operator.OutputsLength() else ""
        nodes.append((custom or names[builtin], output))
    return nodes


def operators(folder: Path) -> list[str]:
    """Return the names of the operators of the graph."""
    return sorted({name for name, _ in graph_nodes((folder / FORMATS["litert"].model).read_bytes())})


def open_session(folder: Path) -> Session:
    """Return what runs the model with LiteRT, without TensorFlow, on all cores."""
    from ai_edge_litert.interpreter import Interpreter

    from tlkeras.data.loading import available_cores

    outputs = list(load_artifact(folder).outputs)
    with quiet_stderr():
        interpreter = Interpreter(str(folder / FORMATS["litert"].model), num_threads=available_cores())
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    (name,) = runner.get_input_details()

    def run(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        found = runner(**{name: inputs})
        values = [found[output] for output in outputs]
        return values[0], values[1] if len(values) > 1 else None

    return run
