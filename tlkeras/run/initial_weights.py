"""The weight file that a training starts from, as it was then: its name, its hash, and its model card."""

import re
from dataclasses import dataclass
from pathlib import Path

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.weights import find_weights
from tlkeras.io.hashing import file_hash


@dataclass(frozen=True)
class InitialWeights:
    """What is known of a weight file before anything is trained.

    Attributes:
        name: of the file, without its folder.
        digest: its SHA-256.
        card: text of its model card; empty where there is none.
    """

    name: str
    digest: str
    card: str


def initial_weights(spec: BackboneSpec, weights: str) -> InitialWeights | None:
    """Read what is needed later, when the file may have changed or be gone; None where there is no file.

    Raises:
        UserError: there is no such file.
    """
    file = None if weights in spec.named_weights else find_weights(spec, weights)
    if file is None:
        return None
    card = card_path(file, spec)
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return InitialWeights(file.name, file_hash(file), text)


def card_path(weights: Path, spec: BackboneSpec) -> Path:
    """Return the path of a weight file's model card: beside it as `NAME.md`; of a run's model `BACKBONE.md`."""
    if weights.name == "model.keras":
        return weights.with_name(f"{spec.name}.md")
    return weights.with_name(re.sub(r"(\.weights)?\.h5$|\.keras$", "", weights.name) + ".md")
