"""The model card of a weight file: what it was trained on, how, and how good it is."""

import dataclasses
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkeras.backbones.registry import get_application_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.fields import flag_name
from tlkeras.config.pretrain import PretrainConfig
from tlkeras.data.loading import available_cores
from tlkeras.data.prepare import PreparedData
from tlkeras.data.sources import source_package
from tlkeras.io.hashing import file_hash
from tlkeras.run.artifacts import versions
from tlkeras.run.fingerprint import MAY_CHANGE
from tlkeras.run.job import initial_file

CARD = """# {backbone}, pretrained at {size} px

Weights of `keras.applications` without its classifier: `{file}`, SHA-256 `{digest}`.
`--weights {file}` takes them, or `load_weights` of the plain Keras model.

| | |
|---|---|
| data | {data}: {train:,} training images of {classes} classes |
| source, license | {description} |
| initial weights | {initial} |
| input | square RGB images, {scaling}; trained at {size} px, in {precision} |
{metrics}
| time | {time} on {cores} CPU cores{accelerators}{part} |
| versions | {versions} |

No image of validation or test chose an epoch: the last one was kept. Made by

```sh
{command}
```
"""

NO_FILE = {"none": "random", "imagenet": "ImageNet, by keras.applications"}

SCALINGS = {
    "tf": "pixels scaled to -1 to 1",
    "unit": "pixels scaled to 0 to 1",
    "inside": "pixels from 0 to 255, scaled inside",
    "torch": "pixels from 0 to 1, minus the mean of ImageNet and divided by its standard deviation",
    "caffe": "pixels from 0 to 255 minus the mean of ImageNet, as BGR",
}


@dataclass(frozen=True)
class InitialWeights:
    """What is known of a weight file before anything is trained."""

    name: str  # of the file, without its folder
    digest: str  # its SHA-256
    card: str  # text of its model card; empty where there is none


def initial_weights(spec: BackboneSpec, weights: str, digest: str | None) -> InitialWeights | None:
    """Read what is needed later, when the file may have changed or be gone; None where there is no file."""
    file = initial_file(spec, weights)
    if file is None or digest is None:
        return None
    card = card_path(file, spec)
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return InitialWeights(file.name, digest, text)


def card_path(weights: Path, spec: BackboneSpec) -> Path:
    """Return the path of a weight file's model card: beside it as `NAME.md`; of a run's model `BACKBONE.md`."""
    if weights.name == "model.keras":
        return weights.with_name(f"{spec.name}.md")
    return weights.with_name(re.sub(r"(\.weights)?\.h5$|\.keras$", "", weights.name) + ".md")


def write_model_card(
    weights: Path,
    config: PretrainConfig,
    data: PreparedData,
    metrics: dict[str, dict[str, Any]],
    seconds: float,
    initial: InitialWeights | None = None,
) -> None:
    """Write the card beside the weights, as `NAME.md`, and in it the cards of all weights before these.

    What those were trained on, and its license, holds for what was made of them. The config knows its image size; the
    seconds are of all epochs, those before a stop too.
    """
    import keras

    from tlkeras.evaluation.metrics import format_metrics

    accelerators = len(keras.distribution.list_devices("gpu"))
    what = "top-1" if data.task == "single_label" else "metrics"
    rows = [f"| {what}, {name} | {format_metrics(values)} |" for name, values in metrics.items()]
    spec = get_application_spec(config.backbone)
    start = NO_FILE.get(config.weights, "")
    if initial:
        described = "described below" if initial.card else "without a model card"
        start = f"`{initial.name}`, SHA-256 `{initial.digest}`, {described}"
    text = CARD.format(
        backbone=config.backbone,
        size=data.image_size,
        file=weights.name,
        digest=file_hash(weights),
        data=data_name(config.data),
        train=len(data.splits["train"]),
        classes=len(data.classes),
        description=config.data_description or "not given",
        initial=start,
        scaling=SCALINGS[spec.preprocess_mode],
        precision=config.precision,
        metrics="\n".join(rows),
        time=f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min",
        cores=available_cores(),
        accelerators=f" and {accelerators} GPU" if accelerators else "",
        part=", from the initial weights on" if config.weights != "none" else "",
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        command=command(config),
    )
    before = "\n" + re.sub(r"^# ", "## Initial weights: ", initial.card) if initial and initial.card else ""
    card_path(weights, spec).write_text(text + before, encoding="utf-8")


def data_name(data: str) -> str:
    """Return the name of a dataset or a file without the folders of this machine."""
    package = source_package(data)
    return package.public_name(data.partition(":")[2]) if package else Path(data).resolve().name


def command(config: PretrainConfig) -> str:
    """Return the command that repeats a training: every option that is not at its default."""
    words = ["python", "scripts/pretrain.py"]
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        is_one = entry.name == "devices" and value == 1  # which is what most machines have
        if value != entry.default and not is_one and entry.name not in (*MAY_CHANGE, "task"):
            named = data_name(value) if entry.name in ("data", "weights") else str(value)
            words += [flag_name(entry.name), named]
    return shlex.join(words)
