"""The card of a file of weights: what it learned from, how, and how good it is."""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

from tlkeras.backbones.registry import get_application_spec
from tlkeras.config.fields import flag_name
from tlkeras.config.pretrain import PretrainConfig
from tlkeras.data.prepare import PreparedData
from tlkeras.data.loading import available_cores
from tlkeras.data.tfds.name import parse_name
from tlkeras.run.initial_weights import InitialWeights, card_of
from tlkeras.run.fingerprint import MAY_CHANGE
from tlkeras.run.artifacts import versions
from tlkeras.backbones.weight_files import file_hash

CARD = """# {backbone}, pretrained at {size} px

Weights of `keras.applications` without its classifier: `{file}`, SHA-256 `{digest}`.
`--weights {file}` takes them, or `load_weights` of the plain Keras model.

| | |
|---|---|
| data | {data}: {train:,} pictures of {classes} classes to learn from |
| where from, terms | {about} |
| first weights | {first} |
| input | square RGB pictures, {scaling}; trained at {size} px, in {precision} |
{figures}
| time | {time} on {cores} CPU cores{accelerators}{part} |
| versions | {versions} |

No picture of validation or test chose an epoch: the last one was kept. Made by

```sh
{command}
```
"""

NO_FILE = {"none": "random", "imagenet": "of ImageNet, by keras.applications"}

# What a row of the table calls its scaling of pixels, in words.
SCALINGS = {
    "tf": "pixels scaled to -1 to 1",
    "unit": "pixels scaled to 0 to 1",
    "inside": "pixels from 0 to 255, scaled inside",
    "torch": "pixels from 0 to 1, less the mean of ImageNet and divided by its deviation",
    "caffe": "pixels from 0 to 255 less the mean of ImageNet, as BGR",
}


def write_model_card(
    weights: Path,
    config: PretrainConfig,
    data: PreparedData,
    figures: dict[str, dict[str, Any]],
    seconds: float,
    first: InitialWeights | None = None,
) -> None:
    """Write the card beside the weights, as `NAME.md`, and in it the cards of all weights before these.

    What those learned from, and its terms, holds for what was made of them.

    Args:
        weights: the file, named after the backbone.
        config: options of the training, its image size known.
        data: what it learned from.
        figures: of each split that was judged.
        seconds: of all epochs, those before a stop too.
        first: the file of weights that the training began with, if it was one.
    """
    import keras

    from tlkeras.evaluation.metrics import format_metrics

    accelerators = len(keras.distribution.list_devices("gpu"))
    what = "top-1" if data.task == "single_label" else "figures"
    rows = [f"| {what}, {name} | {format_metrics(values)} |" for name, values in figures.items()]
    spec = get_backbone_spec(config.backbone)
    text = CARD.format(
        backbone=config.backbone,
        size=data.image_size,
        file=weights.name,
        digest=file_hash(weights, "sha256"),
        data=data_name(config.data),
        train=len(data.splits["train"]),
        classes=len(data.classes),
        about=config.data_description or "not given",
        first=described(first) if first else NO_FILE[config.weights],
        scaling=SCALINGS[spec.pixels],
        precision=config.precision,
        figures="\n".join(rows),
        time=f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min",
        cores=available_cores(),
        accelerators=f" and {accelerators} GPU" if accelerators else "",
        part=", from the first weights on" if config.weights != "none" else "",
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        command=command(config),
    )
    before = "\n" + re.sub(r"^# ", "## First weights: ", first.card) if first and first.card else ""
    card_of(weights, spec).write_text(text + before, encoding="utf-8")


def described(first: InitialWeights) -> str:
    """A cell of the card's table."""
    told = "described below" if first.card else "of which there is no card"
    return f"`{first.name}`, SHA-256 `{first.digest}`, {told}"


def data_name(data: str) -> str:
    """The name of a data set or a file without the folders of this machine."""
    if not data.startswith("tfds:"):
        return Path(data).resolve().name
    place, colon, parts = data.removeprefix("tfds:").partition(":")
    folder = parse_name(place).folder
    return f"tfds:{'/'.join(folder.parts[-2:]) if folder else place}{colon}{parts}"


def command(config: PretrainConfig) -> str:
    """The command that repeats a training: every option that is not at its default."""
    words = ["python", "scripts/pretrain.py"]
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if value != entry.default and entry.name not in (*MAY_CHANGE, "task"):
            named = data_name(value) if entry.name in ("data", "weights") else str(value)
            words += [f"--{entry.name.replace('_', '-')}", named]
    return shlex.join(words)
