"""Text encoders of KerasHub as rows like those of the backbone table. Nothing here loads TensorFlow until it downloads.

An encoder is a preset, a folder of configuration, vocabulary and weights (https://keras.io/keras_hub/presets/), or a
size that is made from random weights. A preset may be a stranger's: it is read as plain numbers and files, and only the
classes of KerasHub that are listed here are ever made from it.
"""

import dataclasses
import hashlib
import importlib.util
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkeras.backbones import Backbone, Stage
from tlkeras.errors import UserError
from tlkeras.runtime import load_tensorflow
from tlkeras.backbones.weight_files import open_hdf5

PREFIX = "kerashub:"
INSTALL = "pip install keras-hub tensorflow-text"
MAX_JSON_BYTES = 1_000_000
WEIGHTS = "model.weights.h5"
# Layers, width and heads of small BERTs (Turc et al. 2019, arXiv:1908.08962).
SIZES = {"bert_tiny": (2, 128, 2), "bert_mini": (4, 256, 4), "bert_small": (4, 512, 8), "bert_medium": (8, 512, 8)}
VOCABULARY = 8000  # words and pieces of words that they learn at most
POSITIONS = 512  # their longest text, in tokens
# By the name of the encoder's class: the tokenizer's class, and the name of its first layer.
ENCODERS = {
    "BertBackbone": ("BertTokenizer", "token_embedding"),
    "DistilBertBackbone": ("DistilBertTokenizer", "token_and_position_embedding"),
    "RobertaBackbone": ("RobertaTokenizer", "embeddings"),
}
NESTED = "encoder"  # name of the nested model, by which it is found again
LAYER = "transformer_layer_"


@dataclass(frozen=True)
class Preset:
    """What a preset's configuration says.

    Attributes:
        folder: where it is.
        encoder: class of `keras_hub.models`.
        numbers: arguments of that class.
        tokenizer: class of `keras_hub.tokenizers`.
        settings: arguments of that class.
    """

    folder: Path
    encoder: str
    numbers: dict[str, int | float]
    tokenizer: str
    settings: dict[str, Any]


def preset_of(name: str) -> str | None:
    """The preset or size in `kerashub:PRESET`; None where a backbone's name is something else."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def find_encoder(preset: str) -> Backbone:
    """The row of an encoder, as far as it can be told without TensorFlow; of a preset's name no stages yet.

    Args:
        preset: a folder, a name of KerasHub, or one of `SIZES`.

    Raises:
        UserError: KerasHub is not installed, or there is no such preset.
    """
    name = f"{PREFIX}{preset}"
    if not preset.strip():
        raise UserError(f'The backbone was "{name}", which lacks a preset: add {", ".join(SIZES)}, or a preset to it.')
    check_installed()
    folder = Path(preset).expanduser()
    if folder.is_dir():
        return spec_of_preset(read_preset(folder), name)
    if preset in SIZES:
        layers, width, _ = SIZES[preset]
        spec = encoder_spec(name, ENCODERS["BertBackbone"][1], layers)
        return dataclasses.replace(spec, parameters=12 * layers * width**2 + (VOCABULARY + POSITIONS) * width)
    if "/" in preset:
        raise UserError(
            f'The backbone was "{name}", but there is no such folder: give one that save_to_preset of KerasHub wrote, '
            f"a preset's name, or, with --weights none, one of {', '.join(SIZES)}."
        )
    return dataclasses.replace(encoder_spec(name, "", 0), stages=(), finetune_from="")


def check_encoder_weights(spec: Backbone, weights: str) -> None:
    """Refuse weights that an encoder does not have.

    Args:
        row: of the encoder.
        weights: "preset", or "imagenet" where nothing was said, for the preset's own; "none" for random ones.

    Raises:
        UserError: it has no such weights.
    """
    if weights not in ("imagenet", "preset", "none"):
        raise UserError(f"--weights was {weights}; {spec.name} has its own (preset), or random ones (none).")
    if spec.preset in SIZES and not spec.module and weights != "none":
        raise UserError(
            f"{spec.name} is a size and no preset: it has no weights to transfer. Give --weights none to train it from "
            f"nothing, or a preset such as {PREFIX}bert_tiny_en_uncased."
        )


def check_tokens(spec: Backbone, tokens: int | None) -> None:
    """Refuse texts that are longer than an encoder takes, where that is known without downloading it.

    Raises:
        UserError: with the most it takes.
    """
    most = read_preset(spec.module).numbers.get("max_sequence_length", POSITIONS) if spec.module else POSITIONS
    if tokens and spec.stages and tokens > most:
        raise UserError(f"--sequence-length was {tokens}; {spec.name} takes {most} tokens at most.")


def holds_tokenizer(path: Path) -> bool:
    """Whether a `.keras` file holds the layer of `tlkeras.extras.kerashub.tokens`, which Keras must then know."""
    try:
        with zipfile.ZipFile(path) as archive:
            return b'"TextTokens"' in archive.read("config.json")
    except Exception:  # of many kinds where an archive is damaged; who opens it will say so
        return False


def check_installed() -> None:
    """Refuse encoders where KerasHub is missing.

    Raises:
        UserError: with what to install.
    """
    missing = [name for name in ("keras_hub", "tensorflow_text") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"Encoders of KerasHub need {' and '.join(missing)}, which is not installed: {INSTALL}.")


def encoder_spec(name: str, first_layer: str, count: int) -> Backbone:
    """A row with the stages of an encoder: its embeddings, and each transformer layer.

    Args:
        name: of the row.
        first_layer: name of the layer that begins the embeddings.
        count: transformer layers.
    """
    stages = Stage("embeddings", first_layer), *(Stage(f"{LAYER}{k}", f"{LAYER}{k}") for k in range(count))
    return Backbone(
        name=name, constructor="", pixels="", default_size=0, min_size=0, features=0, parameters=0, stages=stages,
        finetune_from=stages[-1].name, weights_url="", weights_hash=None, form="texts",
        preset=name.removeprefix(PREFIX),
    )  # fmt: skip


def spec_of_preset(preset: Preset, name: str) -> Backbone:
    """The row of a preset whose folder is here."""
    spec = encoder_spec(name, ENCODERS[preset.encoder][1], preset.numbers["num_layers"])
    parameters = (preset.folder / WEIGHTS).stat().st_size // 4
    return dataclasses.replace(spec, module=preset.folder, digest=digest_preset(preset.folder), parameters=parameters)


def read_encoder(spec: Backbone) -> Backbone:
    """Download a preset that is known by its name, and fill in its stages; other rows come back as they are.

    Raises:
        UserError: there is no such preset, or it cannot be had.
    """
    if spec.stages:
        return spec
    load_tensorflow()
    import kagglehub
    import keras_hub

    known = {key: about for kind in ENCODERS for key, about in getattr(keras_hub.models, kind).presets.items()}
    if spec.preset not in known:
        raise UserError(
            f"KerasHub has no preset {spec.preset} of an encoder, and there is no such folder. It has, among others, "
            f"{', '.join(list(known)[:8])}."
        )
    handle = known[spec.preset]["kaggle_handle"].removeprefix("kaggle://")
    folder = Path(kagglehub.config.get_cache_folder(), "models", *handle.split("/"))
    try:
        folder = Path(kagglehub.model_download(handle))
    except Exception as error:  # of many kinds: the network, the archive, the disk
        if (folder / "config.json").is_file():  # put there by hand
            return spec_of_preset(read_preset(folder), spec.name)
        raise UserError(
            f"The preset {spec.preset} is not on this machine and cannot be downloaded ({type(error).__name__}). "
            f"Download {handle} of kaggle.com elsewhere and unpack it to {folder}, or give --backbone {PREFIX}FOLDER."
        ) from error
    return spec_of_preset(read_preset(folder), spec.name)


def read_preset(folder: Path) -> Preset:
    """Read the configuration of a preset, and nothing but plain values of it.

    Raises:
        UserError: it is not whole, or no encoder that is known here.
    """
    about, words = read_json(folder / "config.json"), read_json(folder / "tokenizer.json")
    encoder = str(about.get("class_name"))
    if encoder not in ENCODERS:
        raise UserError(
            f"{folder} holds a {encoder}, which is no encoder that can be used here; give a preset of one of "
            f"{', '.join(ENCODERS)}."
        )
    tokenizer = ENCODERS[encoder][0]
    if words.get("class_name") != tokenizer:
        raise UserError(f"{folder} has a {words.get('class_name')} and should have a {tokenizer}; get it again.")
    with open_hdf5(folder / WEIGHTS):
        pass
    if not (folder / "assets" / "tokenizer").is_dir():
        raise UserError(f"{folder} is not a whole preset: it has no vocabulary in assets/tokenizer. Get it again.")
    numbers = {key: value for key, value in plain(about).items() if type(value) in (int, float)}
    if type(numbers.get("num_layers")) is not int or not 1 <= numbers["num_layers"] <= 100:
        raise UserError(f"{folder} is not a whole preset: its config.json says nothing of 1 to 100 layers.")
    settings = {key: value for key, value in plain(words).items() if type(value) in (bool, str)}
    return Preset(folder, encoder, numbers, tokenizer, settings)


def plain(about: dict[str, Any]) -> dict[str, Any]:
    """The arguments in the configuration of a Keras object, less those that every layer has."""
    config = about.get("config")
    common = ("name", "trainable", "dtype", "vocabulary", "merges", "config_file")
    return {key: value for key, value in config.items() if key not in common} if isinstance(config, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a preset.

    Raises:
        UserError: it is missing, too large or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= MAX_JSON_BYTES else None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(
            f"{path.parent} is not a preset of KerasHub: {path.name} is missing or damaged. Give a folder that "
            "save_to_preset wrote."
        )
    return found


def digest_preset(folder: Path) -> str:
    """SHA-256 of a preset's configuration and vocabulary, not of its weights."""
    result = hashlib.sha256()
    files = [folder / "config.json", folder / "tokenizer.json", *sorted((folder / "assets").rglob("*"))]
    for path in files:
        if path.is_file():
            result.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return result.hexdigest()
