"""From texts to token ids, as a layer that carries its vocabulary inside a saved model."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import keras_hub
import tensorflow as tf

from tlkeras.io.hashing import tree_hash


@keras.saving.register_keras_serializable(package="tlkeras")
class TextTokens(keras.layers.Layer):
    """Strings `(B,)` to int32 `(B, length)`: a start token, the tokens of a text, an end token, and padding.

    Long texts are truncated at their end. To open a model that holds this layer, first import this module, which needs
    KerasHub.
    """

    def __init__(
        self, tokenizer: keras.layers.Layer, length: int, source: str, digest: str | None = None, **kwargs: Any
    ) -> None:
        """Wrap a tokenizer of `keras_hub.tokenizers`, which came from `source`; the digest is its vocabulary's SHA-256.

        `length` counts the start and the end of a text too.
        """
        super().__init__(autocast=False, **(kwargs | {"dtype": "int32"}))
        self.tokenizer, self.length, self.source = tokenizer, length, source
        self.digest = digest
        if digest is None:
            with tempfile.TemporaryDirectory() as folder:
                tokenizer.save_assets(folder)
                self.digest = tree_hash(Path(folder), sorted(Path(folder).iterdir()))
        self.built = True

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextTokens":
        """Return a layer whose tokenizer still lacks its vocabulary, which is a file in the saved model."""
        return cls(keras.saving.deserialize_keras_object(config.pop("tokenizer")), **config)

    @tf.function  # without it KerasHub would tokenize in Python
    def call(self, texts: tf.Tensor) -> tf.Tensor:
        """Compute int32 tokens `(B, length)` of strings `(B,)`."""
        tokenizer = self.tokenizer
        packer = keras_hub.layers.StartEndPacker(
            self.length, tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id
        )
        return tf.ensure_shape(packer(tokenizer(texts)), (None, self.length))

    def compute_output_spec(self, texts: keras.KerasTensor) -> keras.KerasTensor:
        """Return int32 `(B, length)`; known without a vocabulary."""
        return keras.KerasTensor((texts.shape[0], self.length), "int32")

    def get_config(self) -> dict[str, Any]:
        """Return all but the vocabulary, of which there is a digest."""
        own = {name: getattr(self, name) for name in ("length", "source", "digest")}
        return super().get_config() | own | {"tokenizer": keras.saving.serialize_keras_object(self.tokenizer)}
