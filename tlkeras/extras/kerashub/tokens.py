"""Texts to the numbers of their tokens, as a layer that carries its vocabulary inside a saved model."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import keras
import keras_hub
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tlkeras")
class TextTokens(keras.layers.Layer):
    """Strings `(B,)` to int32 `(B, length)`: a start, the tokens of a text, an end, and padding.

    What is too long is cut off at its end. To open a model that holds this layer, first import this module, which needs
    KerasHub.
    """

    def __init__(
        self, tokenizer: keras.layers.Layer, length: int, source: str, digest: str | None = None, **kwargs: Any
    ) -> None:
        """Take a tokenizer.

        Args:
            tokenizer: of `keras_hub.tokenizers`.
            length: tokens of each text, start and end among them.
            source: where the tokenizer came from, for messages.
            digest: SHA-256 of its vocabulary, which is computed where it is not given.
            kwargs: of `keras.layers.Layer`; the dtype is always int32.
        """
        super().__init__(autocast=False, **(kwargs | {"dtype": "int32"}))
        self.tokenizer, self.length, self.source = tokenizer, length, source
        self.digest = digest or digest_vocabulary(tokenizer)
        self.built = True

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextTokens":
        """A layer whose tokenizer still lacks its vocabulary, which is a file in the saved model."""
        return cls(keras.saving.deserialize_keras_object(config.pop("tokenizer")), **config)

    @tf.function  # outside of one KerasHub would tokenize in Python
    def call(self, texts: tf.Tensor) -> tf.Tensor:
        """Strings `(B,)` to int32 `(B, length)`."""
        words = self.tokenizer
        packer = keras_hub.layers.StartEndPacker(
            self.length, words.start_token_id, words.end_token_id, words.pad_token_id
        )
        return tf.ensure_shape(packer(words(texts)), (None, self.length))

    def compute_output_spec(self, texts: keras.KerasTensor) -> keras.KerasTensor:
        """Int32 `(B, length)`; told without a vocabulary."""
        return keras.KerasTensor((texts.shape[0], self.length), "int32")

    def get_config(self) -> dict[str, Any]:
        """All but the vocabulary, of which there is a digest."""
        return super().get_config() | {
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer), "length": self.length,
            "source": self.source, "digest": self.digest,
        }  # fmt: skip


def digest_vocabulary(tokenizer: keras.layers.Layer) -> str:
    """SHA-256 of the files of a tokenizer."""
    result = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for path in sorted(Path(folder).iterdir()):
            result.update(path.name.encode() + b"\0" + path.read_bytes())
    return result.hexdigest()
