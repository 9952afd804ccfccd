"""The grammar of `--unfreeze`, parsed before TensorFlow loads."""

from dataclasses import dataclass

from tlkeras.backbones.registry import find_stage
from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.errors import UserError


@dataclass(frozen=True)
class Unfreeze:
    """What is trainable in the backbone; exactly one of the three is not None.

    Attributes:
        stage: this stage and all above it.
        layers: so many layers, counted from the top.
        fraction: such a fraction of the layers, from the top.
    """

    stage: Stage | None = None
    layers: int | None = None
    fraction: float | None = None


def parse_unfreeze(spec: BackboneSpec, text: str | int | float) -> Unfreeze:
    """Parse a stage's name, a number of layers (`30`), a fraction (`0.3`, "30%"), "all" or "none".

    Raises:
        UserError: for anything else, with the stages that the backbone has.
    """
    word = str(text).strip()
    if word.lower() in ("all", "none"):
        return Unfreeze(fraction=1.0 if word.lower() == "all" else 0.0)
    try:
        number = float(word.removesuffix("%"))
    except ValueError:
        return Unfreeze(stage=find_stage(spec, word))
    if len(spec.stages) == 1:
        raise UserError(f"--unfreeze was {text}; {spec.name} is one piece, so give {spec.stages[0].name}, all or none.")
    if word.endswith("%"):
        number /= 100
    if word.endswith("%") or 0 < number < 1:
        if not 0 <= number <= 1:
            raise UserError(f"--unfreeze was {text}; a fraction must be from 0% to 100%.")
        return Unfreeze(fraction=number)
    if number < 0 or not number.is_integer():
        raise UserError(f"--unfreeze was {text}; a number of layers must be a whole number from 0.")
    return Unfreeze(layers=int(number))
