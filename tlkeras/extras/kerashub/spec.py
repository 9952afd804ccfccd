"""A text encoder of KerasHub as a backbone spec. Nothing here loads TensorFlow until a preset is downloaded."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.config.fields import check_values
from tlkeras.config.train import ModelOptions
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import (
    INPUT,
    LAYER,
    MAX_POSITIONS,
    PREFIX,
    SIZES,
    VOCABULARY_SIZE,
    WEIGHTS_FILE,
    Preset,
    check_installed,
    digest_preset,
    download_preset,
    read_preset,
)


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
        own = encoder_spec(self.name, int(preset.numbers["num_layers"]))
        return dataclasses.replace(
            self,
            stages=own.stages,
            finetune_from=own.finetune_from,
            num_params=(preset.folder / WEIGHTS_FILE).stat().st_size // 4,
            folder=preset.folder,
            digest=digest_preset(preset.folder),
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
