"""The formats that a model can be exported to, their variants, and what each needs; without TensorFlow."""

from dataclasses import dataclass
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from tlkeras.errors import UserError


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from the trained model on validation examples; one example is always allowed."""

    max_difference: float = 1.0  # of a probability; of regression relative to the range of the values
    mean_difference: float = 1.0
    agreement: float = 0.999  # fraction of examples that both decide alike
    lost_accuracy: float = 0.0  # fraction of examples by which fewer are right


@dataclass(frozen=True)
class Format:
    """One row of the table."""

    title: str
    module: str  # with convert, open_session and operators
    model: str  # file, in the artifact's folder, that tells a complete one
    variants: dict[str, Tolerance]  # the first one is the default
    extra: str | None  # of pyproject.toml; None where the core brings all that is needed
    runtime: tuple[str, ...]  # packages that predict
    converter: tuple[str, ...] = ()  # packages that convert, beside these


EXACT = Tolerance(max_difference=1e-4)
FORMATS = {
    "saved-model": Format(
        "TensorFlow SavedModel", "tlkeras.export.saved_model", "1/saved_model.pb",
        {"float32": EXACT}, None, ("tensorflow",),
    ),
    "litert": Format(
        "LiteRT", "tlkeras.export.litert", "model.tflite",
        {
            "float32": EXACT,
            "float16": Tolerance(mean_difference=0.01, agreement=0.99, lost_accuracy=0.01),
            "dynamic": Tolerance(mean_difference=0.03, agreement=0.98, lost_accuracy=0.01),
            "int8": Tolerance(mean_difference=0.05, agreement=0.97, lost_accuracy=0.01),
        },
        "export-litert", ("ai_edge_litert",), ("tensorflow",),
    ),
    "onnx": Format(
        "ONNX", "tlkeras.export.onnx", "model.onnx",
        {"float32": EXACT}, "export-onnx", ("onnxruntime",), ("tensorflow", "onnx", "tf2onnx"),
    ),
    "openvino": Format(
        "OpenVINO", "tlkeras.export.openvino", "model.xml",
        {
            "float32": EXACT,
            "float16": Tolerance(mean_difference=0.01, agreement=0.99, lost_accuracy=0.01),
            "int8": Tolerance(mean_difference=0.05, agreement=0.97, lost_accuracy=0.01),
        },
        "export-openvino", ("openvino",), ("tensorflow", "nncf"),
    ),
}  # fmt: skip


def find_format(name: str, variant: str | None) -> tuple[Format, str]:
    """Return a format and its variant, the default one when None; refuse what there is not, or is not installed."""
    if name not in FORMATS:
        raise UserError(f"There is no format {name}. Known formats: {', '.join(FORMATS)}.")
    found = FORMATS[name]
    if variant is not None and variant not in found.variants:
        raise UserError(f"The format {name} has no variant {variant}. It has {', '.join(found.variants)}.")
    check_installed(name, (*found.runtime, *found.converter))
    return found, variant or next(iter(found.variants))


def check_installed(name: str, packages: tuple[str, ...]) -> None:
    """Refuse a format of which a package is missing, in a sentence, before anything is loaded."""
    missing = [package for package in packages if not find_spec(package)]
    if missing:
        extra = FORMATS[name].extra
        what = f"pip install 'tlkeras[{extra}]'" if extra else "pip install tlkeras"
        raise UserError(f"The format {name} needs {' and '.join(missing)}, which is not installed. Run: {what}")


def load_module(name: str) -> Any:
    """Return the module of a format."""
    return resolve_name(FORMATS[name].module)
