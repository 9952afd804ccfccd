"""The grammar of `--unfreeze`, parsed before TensorFlow loads."""

from tlkeras.backbones.registry import find_stage
from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.errors import UserError


def parse_unfreeze(spec: BackboneSpec, text: str | int | float) -> Stage | int | float:
    """Return a stage, a number of layers (int) or a fraction of them (float), both counted from the top.

    That is what a stage's name, `30`, and `0.3`, "30%", "all" or "none" mean; anything else is refused.
    """
    word = str(text).strip()
    if word.lower() in ("all", "none"):
        return 1.0 if word.lower() == "all" else 0.0
    try:
        number = float(word.removesuffix("%"))
    except ValueError:
        return find_stage(spec, word)
    if len(spec.stages) == 1:
        raise UserError(f"--unfreeze was {text}; {spec.name} is one piece, so give {spec.stages[0].name}, all or none.")
    if word.endswith("%"):
        number /= 100
    if word.endswith("%") or 0 < number < 1:
        if not 0 <= number <= 1:
            raise UserError(f"--unfreeze was {text}; a fraction must be from 0% to 100%.")
        return number
    if number < 0 or not number.is_integer():
        raise UserError(f"--unfreeze was {text}; a number of layers must be a whole number from 0.")
    return int(number)
