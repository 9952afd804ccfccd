"""What a model takes, read from the model itself."""

import keras

from tlkeras.config import ModalityName
from tlkeras.models.freezing import backbone_name


def form_of(model: keras.Model) -> ModalityName:
    """Whether a model from `build_classifier` takes pictures, texts or sounds."""
    if model.input.dtype == "string":
        return "texts"
    return "pictures" if len(model.input.shape) == 4 else "sounds"


def decoded_input(model: keras.Model) -> keras.KerasTensor:
    """The tensor that takes decoded examples: pictures `(B, S, S, 3)` behind the resizing; else the model's input."""
    return model.get_layer("resize").output if form_of(model) == "pictures" else model.input


def backbone_at(model: keras.Model) -> str:
    """The backbone's name for people and, for pictures, its size."""
    size = f" at {decoded_input(model).shape[1]} px" if form_of(model) == "pictures" else ""
    return f"{backbone_name(model)}{size}"
