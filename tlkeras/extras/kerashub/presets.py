"""Presets of KerasHub: find, download and check them. Nothing here loads TensorFlow until it downloads.

A preset is a folder of configuration, vocabulary and weights (https://keras.io/keras_hub/presets/). It may be
untrusted: it is read as plain numbers and files, and only the classes of KerasHub listed here are ever made from it.
"""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkeras.backbones.weight_files import open_hdf5
from tlkeras.errors import UserError
from tlkeras.io.hashing import tree_hash
from tlkeras.runtime import load_tensorflow

PREFIX = "kerashub:"
INSTALL = "pip install keras-hub tensorflow-text"
MAX_JSON_BYTES = 1_000_000
MAX_LAYERS = 100
WEIGHTS_FILE = "model.weights.h5"
# Layers, width and heads of small BERTs (Turc et al. 2019, arXiv:1908.08962).
SIZES = {"bert_tiny": (2, 128, 2), "bert_mini": (4, 256, 4), "bert_small": (4, 512, 8), "bert_medium": (8, 512, 8)}
VOCABULARY_SIZE = 8000  # maximum number of words and word pieces in the vocabulary of a size
MAX_POSITIONS = 512  # maximum number of tokens of a text
TOKENIZERS = {  # by the name of the encoder's class
    "BertBackbone": "BertTokenizer",
    "DistilBertBackbone": "DistilBertTokenizer",
    "RobertaBackbone": "RobertaTokenizer",
}
MODEL_NAME = "encoder"  # of the nested model
INPUT, LAYER = "token_ids", "transformer_layer_"  # names of its input and, with a number, of its layers


@dataclass(frozen=True)
class Preset:
    """What a preset's configuration says."""

    folder: Path
    encoder: str  # class of `keras_hub.models`
    numbers: dict[str, int | float]  # its arguments
    tokenizer: str  # class of `keras_hub.tokenizers`
    settings: dict[str, Any]  # its arguments


def check_installed() -> None:
    """Refuse encoders where KerasHub is missing."""
    missing = [name for name in ("keras_hub", "tensorflow_text") if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(f"KerasHub encoders need {' and '.join(missing)}, which {verb} not installed: {INSTALL}.")


def download_preset(preset: str) -> Path:
    """Return the folder of a preset that is known by its name; download it if necessary, which loads TensorFlow."""
    load_tensorflow()
    import kagglehub
    import keras_hub

    known = {name: info for encoder in TOKENIZERS for name, info in getattr(keras_hub.models, encoder).presets.items()}
    if preset not in known:
        raise UserError(
            f"KerasHub has no encoder preset {preset}, and there is no such folder. Among others it has "
            f"{', '.join(list(known)[:8])}."
        )
    handle = known[preset]["kaggle_handle"].removeprefix("kaggle://")
    folder = Path(kagglehub.config.get_cache_folder(), "models", *handle.split("/"))
    try:
        return Path(kagglehub.model_download(handle))
    except Exception as error:  # of many kinds: the network, the archive, the disk
        if (folder / "config.json").is_file():  # put there by hand
            return folder
        raise UserError(
            f"The preset {preset} is not on this machine and cannot be downloaded ({type(error).__name__}). "
            f"Download {handle} of kaggle.com elsewhere and unpack it to {folder}, or give --backbone {PREFIX}FOLDER."
        ) from error


def read_preset(folder: Path) -> Preset:
    """Read the configuration of a preset, and nothing but plain values of it."""
    config, tokenizer_config = read_json(folder / "config.json"), read_json(folder / "tokenizer.json")
    encoder = str(config.get("class_name"))
    if encoder not in TOKENIZERS:
        raise UserError(
            f"{folder} holds a {encoder}, which is not supported; give a preset of {', '.join(TOKENIZERS)}."
        )
    tokenizer, given = TOKENIZERS[encoder], tokenizer_config.get("class_name")
    if given != tokenizer:
        raise UserError(f"{folder} has a {given} and should have a {tokenizer}; get it again.")
    with open_hdf5(folder / WEIGHTS_FILE):
        pass
    if not (folder / "assets" / "tokenizer").is_dir():
        raise UserError(f"{folder} is an incomplete preset: it has no vocabulary in assets/tokenizer. Get it again.")
    numbers = {key: value for key, value in constructor_args(config).items() if type(value) in (int, float)}
    if type(numbers.get("num_layers")) is not int or not 1 <= numbers["num_layers"] <= MAX_LAYERS:
        raise UserError(
            f"{folder} is not a valid preset: num_layers in its config.json must be a number from 1 to {MAX_LAYERS}."
        )
    settings = {key: value for key, value in constructor_args(tokenizer_config).items() if type(value) in (bool, str)}
    return Preset(folder, encoder, numbers, tokenizer, settings)


def constructor_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments in the configuration of a Keras object, without those that every layer has, and paths."""
    args = config.get("config")
    ignored = ("name", "trainable", "dtype", "vocabulary", "merges", "config_file")
    return {key: value for key, value in args.items() if key not in ignored} if isinstance(args, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a preset."""
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
    """Return the hash of a preset's configuration and vocabulary, not of its weights."""
    files = [folder / "config.json", folder / "tokenizer.json", *sorted((folder / "assets").rglob("*"))]
    return tree_hash(folder, files)
