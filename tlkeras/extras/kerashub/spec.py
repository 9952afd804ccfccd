"""A text encoder of KerasHub as a backbone spec, and the preset that it comes from, without loading TensorFlow.

A preset is a folder of configuration, vocabulary and weights (https://keras.io/keras_hub/presets/). It may be
untrusted: it is read as plain numbers and files, and only the classes of KerasHub listed here are ever made from it.
TensorFlow is loaded for downloads only.
"""

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.backbones.weight_files import open_hdf5
from tlkeras.config.fields import check_values
from tlkeras.config.train import ModelOptions
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
ENCODERS = ("BertBackbone", "DistilBertBackbone", "RobertaBackbone")
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


@dataclass(frozen=True)
class EncoderSpec(BackboneSpec):
    """A text encoder of KerasHub; training texts give the sequence length and, without a preset, the vocabulary."""

    preset: str = ""  # a folder, a name of KerasHub, or one of `SIZES`
    folder: Path | None = None  # None for a size, and for a name until it is resolved
    sequence_length: int | None = None  # in tokens; None for what the training texts need
    texts: Sequence[str] | None = field(default=None, repr=False, compare=False)

    provider: ClassVar[str] = "kerashub"
    own_options: ClassVar[tuple[str, ...]] = ("sequence_length",)
    builder: ClassVar[str] = "tlkeras.extras.kerashub.encoder:build_inputs_and_features"
    named_weights: ClassVar[tuple[str, ...]] = ("preset", "none")
    can_build_untrained: ClassVar[bool] = False  # without texts there is no vocabulary
    can_build_elsewhere: ClassVar[bool] = False

    def configure(self, sequence_length: int | None = None, texts: Sequence[str] | None = None, **options: Any) -> Self:
        """Return the spec with a sequence length, or with training texts; what is None stays as it is."""
        super().configure(**options)
        check_values(ModelOptions(sequence_length=sequence_length))
        return dataclasses.replace(
            self,
            sequence_length=self.sequence_length if sequence_length is None else sequence_length,
            texts=self.texts if texts is None else texts,
        )

    def adapt_to(self, inputs: Callable[[], Sequence[str]]) -> Self:
        """Return the spec with the training texts."""
        return self.configure(texts=inputs())

    def resolve_weights(self, weights: str) -> str:
        """Return "preset" or "none" (random); "imagenet", the default, stands for the first."""
        if weights not in ("imagenet", "preset", "none"):
            raise UserError(f"--weights was {weights}; {self.name} has its own (preset), or random ones (none).")
        if self.preset in SIZES and not self.folder and weights != "none":
            raise UserError(
                f"{self.name} is a size, not a preset: it has no pretrained weights. Give --weights none to train it "
                f"from scratch, or a preset such as {PREFIX}bert_tiny_en_uncased."
            )
        return "none" if weights == "none" else "preset"

    def check(self, weights: str, image_size: int | None) -> None:
        """Refuse weights that the encoder does not have, and more tokens than it takes, if that is known yet."""
        self.resolve_weights(weights)
        if image_size is not None:
            raise UserError(f"--image-size was {image_size}, but {self.name} takes text; leave it out.")
        if self.sequence_length and self.stages:
            numbers = read_preset(self.folder).numbers if self.folder else {}
            self.check_length(int(numbers.get("max_sequence_length", MAX_POSITIONS)))

    def check_length(self, max_length: int) -> None:
        """Refuse more tokens than the encoder takes."""
        if self.sequence_length and self.sequence_length > max_length:
            raise UserError(
                f"--sequence-length was {self.sequence_length}; {self.name} takes {max_length} tokens at most."
            )

    def check_weights(self, weights: str, image_size: int) -> None:
        """Do nothing: the weights are part of the preset, which is resolved."""

    def resolve(self) -> Self:
        """Return the spec with folder and stages of a preset that was given by name; download it if necessary."""
        return self if self.stages else self.with_preset(read_preset(download_preset(self.preset)))

    def with_preset(self, preset: Preset) -> Self:
        """Return the spec with what a preset's folder tells."""
        files = [preset.folder / "config.json", preset.folder / "tokenizer.json"]
        own = encoder_spec(self.name, int(preset.numbers["num_layers"]))
        return dataclasses.replace(
            self,
            stages=own.stages,
            finetune_from=own.finetune_from,
            num_params=(preset.folder / WEIGHTS_FILE).stat().st_size // 4,
            folder=preset.folder,
            digest=tree_hash(preset.folder, [*files, *sorted((preset.folder / "assets").rglob("*"))]),  # not weights
        )


def find_spec(preset: str) -> EncoderSpec:
    """Return the spec of an encoder as far as it is known without TensorFlow; without stages for a preset's name."""
    name = f"{PREFIX}{preset}"
    if not preset.strip():
        raise UserError(f'The backbone was "{name}" without a preset: add {", ".join(SIZES)}, or the name of a preset.')
    check_installed()
    folder = Path(preset).expanduser()
    if folder.is_dir():
        return encoder_spec(name).with_preset(read_preset(folder))
    if preset in SIZES:
        layers, width, _ = SIZES[preset]
        num_params = 12 * layers * width**2 + (VOCABULARY_SIZE + MAX_POSITIONS) * width
        return dataclasses.replace(encoder_spec(name, layers), num_params=num_params)
    if "/" in preset:
        raise UserError(
            f'The backbone was "{name}", but there is no such folder: give one that save_to_preset of KerasHub wrote, '
            f"a preset's name, or, with --weights none, one of {', '.join(SIZES)}."
        )
    return encoder_spec(name)


def encoder_spec(name: str, num_layers: int | None = None) -> EncoderSpec:
    """Return a spec with the stages of an encoder: embeddings, and each transformer layer; none if unknown."""
    stages: tuple[Stage, ...] = ()
    if num_layers is not None:
        stages = Stage("embeddings", INPUT), *(Stage(f"{LAYER}{k}", f"{LAYER}{k}") for k in range(num_layers))
    return EncoderSpec(
        name=name, constructor="", preprocess_mode="", default_size=0, min_size=0, num_features=0, num_params=0,
        stages=stages, finetune_from=stages[-1].name if stages else "", weights_url="", weights_hash=None,
        modality="text", preset=name.removeprefix(PREFIX),
    )  # fmt: skip


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

    known = {name: info for encoder in ENCODERS for name, info in getattr(keras_hub.models, encoder).presets.items()}
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
    if encoder not in ENCODERS:
        raise UserError(f"{folder} holds a {encoder}, which is not supported; give a preset of {', '.join(ENCODERS)}.")
    tokenizer, given = encoder.replace("Backbone", "Tokenizer"), tokenizer_config.get("class_name")
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
