"""The file of weights that a training begins with, as it was then: its name, its digest, and what its card says."""

import re
from dataclasses import dataclass
from pathlib import Path

from tlkeras.backbones import Backbone
from tlkeras.backbones.weight_files import bundled_file, file_hash, weight_file


@dataclass(frozen=True)
class InitialWeights:
    """What is known of a file of weights before anything is trained.

    Attributes:
        name: of the file, without its folder.
        digest: its SHA-256.
        card: text of its card; empty where there is none.
    """

    name: str
    digest: str
    card: str


def initial_weights(backbone: Backbone, weights: str) -> InitialWeights | None:
    """Read what is to be known later, when the file may be another one, or gone.

    Args:
        backbone: the row of the table.
        weights: "imagenet", "bundled", "none" or a path.

    Returns:
        None for random weights, and for ImageNet's, which Keras checks.

    Raises:
        UserError: there is no such file.
    """
    if weights in ("imagenet", "none"):
        return None
    file = bundled_file(backbone) if weights == "bundled" else weight_file(weights)
    card = card_of(file, backbone)
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return InitialWeights(file.name, file_hash(file, "sha256"), text)


def card_of(weights: Path, backbone: Backbone) -> Path:
    """Where the card of a file of weights lies: beside it, as `NAME.md`; that of a run's model as `BACKBONE.md`."""
    if weights.name == "model.keras":
        return weights.with_name(f"{backbone.name}.md")
    return weights.with_name(re.sub(r"(\.weights)?\.h5$|\.keras$", "", weights.name) + ".md")
