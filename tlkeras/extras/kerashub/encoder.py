"""A text encoder of KerasHub as a nested backbone: numbers of tokens in, one vector for each text out."""

import logging
from collections.abc import Sequence

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from tlkeras.backbones import Backbone
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import (
    NESTED,
    POSITIONS,
    SIZES,
    VOCABULARY,
    WEIGHTS,
    check_encoder_weights,
    read_preset,
)
from tlkeras.extras.kerashub.tokens import TextTokens

log = logging.getLogger("tlkeras")

MOST_TOKENS = 128  # of a text, where nothing else is asked for


def add_encoder(
    spec: Backbone, weights: str, tokens: int | None, texts: Sequence[str] | None, precision: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The lower part of a model for texts: tokenizer and encoder.

    Args:
        row: of the encoder.
        weights: see `build_encoder`, as the others.
        tokens: length of the texts.
        texts: training texts.
        precision: dtype policy of its layers.

    Returns:
        Texts `(B,)` and their vectors `(B, C)`.
    """
    inputs = keras.Input((), dtype="string", name="text")
    tokenizer, encoder = build_encoder(spec, weights, tokens, texts, precision)
    return inputs, encoder(tokenizer(inputs))


def build_encoder(
    spec: Backbone, weights: str, tokens: int | None, texts: Sequence[str] | None, precision: str = "float32"
) -> tuple[TextTokens, keras.Model]:
    """Build a tokenizer and a frozen encoder, with nothing random in it.

    Args:
        row: of `tlkeras.extras.kerashub.presets`, already read.
        weights: "none" for random ones; anything else stands for the preset's own.
        tokens: length of the texts; None for what 95 % of `texts` need, 128 at most.
        texts: training texts, for their length and, where there is no preset, for a vocabulary.
        precision: dtype policy of its layers.

    Returns:
        A layer from strings `(B,)` to tokens `(B, T)`, and a functional model from those to vectors `(B, C)`.

    Raises:
        UserError: it has no such weights, cannot be used, does not take so many tokens, or lacks texts.
    """
    check_encoder_weights(spec, weights)
    if spec.module:
        encoder, tokenizer = from_preset(spec, weights, precision)
    elif texts is None:
        raise UserError(f"{spec.name} learns its words from training texts: train it, or give build_classifier texts.")
    else:
        encoder, tokenizer = from_nothing(spec, texts, precision)
    if tokens and tokens > encoder.max_sequence_length:
        raise UserError(f"--sequence-length was {tokens}; {spec.name} takes {encoder.max_sequence_length} tokens at most.")
    length = tokens or usual_length(tokenizer, texts, min(MOST_TOKENS, encoder.max_sequence_length))
    description = "random weights" if weights == "none" else "weights of the preset"
    log.info("Backbone: %s at %d tokens, %s.", spec.name, length, description)
    return TextTokens(tokenizer, length, spec.name, name="tokens"), nested(encoder, length, tokenizer.pad_token_id)


def from_preset(spec: Backbone, weights: str, precision: str) -> tuple[keras.Model, keras.layers.Layer]:
    """The encoder and the tokenizer of a preset, made from plain values without dropout.

    Raises:
        UserError: its parts do not fit together.
    """
    preset = read_preset(spec.module)
    try:
        numbers = preset.numbers | {"dropout": 0.0}
        encoder = getattr(keras_hub.models, preset.encoder)(**numbers, dtype=precision)
        tokenizer = getattr(keras_hub.tokenizers, preset.tokenizer)(vocabulary=None, **preset.settings)
        tokenizer.load_assets(str(preset.folder / "assets" / "tokenizer"))
        if weights != "none":
            encoder.load_weights(preset.folder / WEIGHTS)
    except Exception as error:  # of many kinds where files are damaged
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{preset.folder} cannot be used as a preset: {reason}. Get it again.") from error
    if tokenizer.vocabulary_size() > encoder.vocabulary_size:
        raise UserError(
            f"{preset.folder} has {tokenizer.vocabulary_size():,} tokens, and its encoder {encoder.vocabulary_size:,}; "
            "they are not of one preset. Get it again."
        )
    return encoder, tokenizer


def from_nothing(spec: Backbone, texts: Sequence[str], precision: str) -> tuple[keras.Model, keras.layers.Layer]:
    """BERT (Devlin et al. 2019, arXiv:1810.04805) from random weights, and a vocabulary of pieces of words.

    The vocabulary is WordPiece's (Schuster and Nakajima 2012), in lower case.
    """
    lines = tf.data.Dataset.from_tensor_slices(np.asarray(texts, object).astype(str))
    words = keras_hub.tokenizers.compute_word_piece_vocabulary(lines, VOCABULARY, lowercase=True)
    tokenizer = keras_hub.tokenizers.BertTokenizer(words, lowercase=True)
    layers, width, heads = SIZES[spec.preset]
    encoder = keras_hub.models.BertBackbone(
        vocabulary_size=len(words), num_layers=layers, num_heads=heads, hidden_dim=width, intermediate_dim=4 * width,
        dropout=0.0, max_sequence_length=POSITIONS, dtype=precision,
    )  # fmt: skip
    return encoder, tokenizer


def usual_length(tokenizer: keras.layers.Layer, texts: Sequence[str] | None, most: int) -> int:
    """Tokens that 95 % of the texts need, start and end among them; `most` where that is more, or there are none."""
    if texts is None:
        return most
    counts = tf.function(lambda part: tokenizer(part).row_lengths())(tf.constant(list(texts)))
    return int(min(most, np.ceil(np.percentile(counts, 95)) + 2))


def nested(encoder: keras.Model, length: int, padding: int) -> keras.Model:
    """The layers of an encoder side by side in one functional model, so that it can be cut between them.

    The vector of a text is what KerasHub's own classifiers take: the first token's, in BERT through its dense layer.

    Args:
        encoder: of KerasHub.
        length: tokens of a text.
        padding: the token that stands for none.

    Returns:
        A frozen model from tokens `(B, length)` to vectors `(B, C)`.
    """
    tokens = keras.Input((length,), dtype="int32", name="token_ids")
    mask = ops.cast(ops.not_equal(tokens, padding), "int32")
    bert = isinstance(encoder, keras_hub.models.BertBackbone)
    if bert:
        words = encoder.token_embedding(tokens)
        segments = encoder.segment_embedding(ops.zeros_like(tokens))
        x = encoder.embeddings_add((words, encoder.position_embedding(words), segments))
    else:
        x = encoder.embeddings(tokens)
    x = encoder.embeddings_layer_norm(x)
    for layer in encoder.transformer_layers:
        x = layer(x, padding_mask=mask)
    x = x[:, 0, :]
    backbone = keras.Model(tokens, encoder.pooled_dense(x) if bert else x, name=NESTED)
    backbone.trainable = False
    return backbone
