"""What `--unfreeze` can say, understood before TensorFlow loads."""

from dataclasses import dataclass

from tlkeras.backbones import HUB, Backbone, Stage, find_stage
from tlkeras.errors import UserError


@dataclass(frozen=True)
class Unfreeze:
    """What learns in the backbone; exactly one of the three is not None.

    Attributes:
        stage: this stage and all above it.
        layers: so many layers, counted from the top.
        share: such a share of the layers, from the top.
    """

    stage: Stage | None = None
    layers: int | None = None
    share: float | None = None


def parse_unfreeze(spec: Backbone, text: str | int | float) -> Unfreeze:
    """Understand a stage's name, a number of layers (`30`), a share (`0.3`, "30%"), "all" or "none".

    Raises:
        UserError: for anything else, with the stages that the backbone has.
    """
    word = str(text).strip()
    if word.lower() in ("all", "none"):
        return Unfreeze(share=1.0 if word.lower() == "all" else 0.0)
    try:
        number = float(word.removesuffix("%"))
    except ValueError:
        return Unfreeze(stage=find_stage(spec, word))
    if spec.handle or spec is HUB:
        raise UserError(f"--unfreeze was {text}; a hub module is one piece, so give module (or all) or none.")
    if word.endswith("%"):
        number /= 100
    if word.endswith("%") or 0 < number < 1:
        if not 0 <= number <= 1:
            raise UserError(f"--unfreeze was {text}; a share must be from 0% to 100%.")
        return Unfreeze(share=number)
    if number < 0 or not number.is_integer():
        raise UserError(f"--unfreeze was {text}; a number of layers must be a whole number from 0.")
    return Unfreeze(layers=int(number))
