"""OpenVINO, for processors of Intel and AMD: two files, with labels in the first."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
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

MISSING = r"(?:No conversion rule found for operations|Conversion is failed for): (.+)"
SECTION = "tlkeras"  # of the model's `rt_info`
# Processors that have bfloat16 use it unless told otherwise. The resize then counts pixels in 8 bits: probabilities of
# ants and bees were up to 0.53 apart.
PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}


def convert(model: "InferenceModel", folder: Path, info: ArtifactInfo, variant: str, sample: np.ndarray | None) -> None:
    """Write a model.

    "float16" stores weights in half the bytes; "int8" takes the range of activations from a sample of decoded examples.
    """
    with quiet_stderr(), same_log_level():
        import openvino

        from tlkeras.export.inference import freeze

        function = freeze(model, model.raw)
        check_frozen(function, FORMATS["openvino"].title)
        try:
            found = openvino.convert_model(function.get_concrete_function())
            if variant == "int8" and sample is not None:
                found = quantize(found, sample)
        except Exception as error:  # the converter raises nearly anything
            raise refusal(FORMATS["openvino"].title, error, MISSING) from None
        for name, value in asdict(info).items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.set_rt_info(text, [SECTION, name])
        openvino.save_model(found, folder / FORMATS["openvino"].model, compress_to_fp16=variant == "float16")


@contextlib.contextmanager
def same_log_level() -> Iterator[None]:
    """Undo what a conversion that fails leaves behind: a program that logs errors only."""
    root = logging.getLogger()
    level, filters = root.level, root.filters[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.filters = filters


def quantize(model: Any, sample: np.ndarray) -> Any:
    """Return a model in 8 bits, weights per channel, but for the resize.

    The mean error that rounding gives each channel is added to its bias.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # bars of progress
        import nncf

        from tlkeras.export.inference import RESIZE

        nncf.set_log_level("ERROR")
        return nncf.quantize(
            model,
            nncf.Dataset([one[None] for one in sample]),
            preset=nncf.QuantizationPreset.MIXED,  # activations have a zero point of their own where they are lopsided
            subset_size=len(sample),
            fast_bias_correction=False,  # layer after layer, on what the quantized layers before give
            ignored_scope=nncf.IgnoredScope(patterns=[f"{RESIZE}.*"], validate=False),
        )


def operators(folder: Path) -> list[str]:
    """Return the names of the operators of the graph."""
    import openvino

    model = openvino.Core().read_model(folder / FORMATS["openvino"].model)
    return sorted({operator.get_type_name() for operator in model.get_ops()})


def open_session(folder: Path) -> Session:
    """Return what runs the model with OpenVINO, without TensorFlow, on all cores."""
    import openvino

    outputs = list(load_artifact(folder).outputs)
    compiled = openvino.Core().compile_model(folder / FORMATS["openvino"].model, "CPU", PRECISION)

    def run(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        found = compiled(inputs)
        values = [found[output] for output in outputs]
        return values[0], values[1] if len(values) > 1 else None

    return run
