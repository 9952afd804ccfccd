"""A text encoder of KerasHub as a nested backbone: token ids in, one vector for each text out."""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from tlkeras.config.fields import Resize
from tlkeras.errors import UserError, first_sentence
from tlkeras.extras.kerashub.spec import (
    INPUT,
    MAX_POSITIONS,
    MODEL_NAME,
    SIZES,
    VOCABULARY_SIZE,
    WEIGHTS_FILE,
    EncoderSpec,
    read_preset,
)
from tlkeras.extras.kerashub.tokens import TextTokens

log = logging.getLogger("tlkeras")

MAX_DEFAULT_LENGTH = 128  # tokens of a text, where nothing else is asked for


def build_inputs_and_features(
    spec: EncoderSpec, *, weights: str, image_size: int | None, precision: str, resize: Resize
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build the lower part of a text model, from texts `(B,)` to their vectors `(B, C)`; what is of images is not used.

    Without a sequence length texts have the length that 95% of the training texts need, 128 tokens at most.
    """
    if spec.folder:
        encoder, tokenizer = load_preset(spec.folder, weights, precision)
    elif spec.texts is None:
        raise UserError(
            f"{spec.name} takes its vocabulary from training texts: train it, or give build_classifier texts."
        )
    else:
        encoder, tokenizer = from_scratch(spec, spec.texts, precision)
    spec.check_length(encoder.max_sequence_length)
    length = spec.sequence_length or min(MAX_DEFAULT_LENGTH, encoder.max_sequence_length)
    if spec.texts is not None and not spec.sequence_length:
        counts = tf.function(lambda part: tokenizer(part).row_lengths())(tf.constant(list(spec.texts)))
        length = int(min(length, np.ceil(np.percentile(counts, 95)) + 2))  # with start and end
    description = "random weights" if weights == "none" else "weights of the preset"
    log.info("Backbone: %s at %d tokens, %s.", spec.name, length, description)
    inputs = keras.Input((), dtype="string", name="text")
    tokens = TextTokens(tokenizer, length, spec.name, name="tokens")(inputs)
    return inputs, nested_model(encoder, length, tokenizer.pad_token_id)(tokens)


def load_preset(folder: Path, weights: str, precision: str) -> tuple[keras.Model, keras.layers.Layer]:
    """Build the encoder and the tokenizer of a preset from plain values, without dropout."""
    preset = read_preset(folder)
    try:
        numbers = preset.numbers | {"dropout": 0.0}
        encoder = getattr(keras_hub.models, preset.encoder)(**numbers, dtype=precision)
        tokenizer = getattr(keras_hub.tokenizers, preset.tokenizer)(vocabulary=None, **preset.settings)
        tokenizer.load_assets(str(folder / "assets" / "tokenizer"))
        if weights != "none":
            encoder.load_weights(folder / WEIGHTS_FILE)
    except Exception as error:  # of many kinds where files are damaged
        raise UserError(f"{folder} cannot be used as a preset: {first_sentence(error)}. Get it again.") from error
    if tokenizer.vocabulary_size() > encoder.vocabulary_size:
        raise UserError(
            f"{folder} has {tokenizer.vocabulary_size():,} tokens, and its encoder {encoder.vocabulary_size:,}; "
            "they are not of one preset. Get it again."
        )
    return encoder, tokenizer


def from_scratch(spec: EncoderSpec, texts: Sequence[str], precision: str) -> tuple[keras.Model, keras.layers.Layer]:
    """Build BERT (Devlin et al. 2019, arXiv:1810.04805) with random weights, and a vocabulary of word pieces.

    The vocabulary is WordPiece (Schuster and Nakajima 2012), in lower case.
    """
    lines = tf.data.Dataset.from_tensor_slices(np.asarray(texts, object).astype(str))
    vocabulary = keras_hub.tokenizers.compute_word_piece_vocabulary(lines, VOCABULARY_SIZE, lowercase=True)
    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary, lowercase=True)
    layers, width, heads = SIZES[spec.preset]
    encoder = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary), num_layers=layers, num_heads=heads, hidden_dim=width,
        intermediate_dim=4 * width, dropout=0.0, max_sequence_length=MAX_POSITIONS, dtype=precision,
    )  # fmt: skip
    return encoder, tokenizer


def nested_model(encoder: keras.Model, length: int, padding: int) -> keras.Model:
    """Put the layers of an encoder side by side in one functional model, so that it can be split between them.

    The vector of a text is what KerasHub's own classifiers use: the first token's, in BERT through its dense layer.
    `padding` is the padding token; the model is frozen.
    """
    tokens = keras.Input((length,), dtype="int32", name=INPUT)
    mask = ops.cast(ops.not_equal(tokens, padding), "int32")
    is_bert = isinstance(encoder, keras_hub.models.BertBackbone)
    if is_bert:
        embedded = encoder.token_embedding(tokens)
        segments = encoder.segment_embedding(ops.zeros_like(tokens))
        x = encoder.embeddings_add((embedded, encoder.position_embedding(embedded), segments))
    else:
        x = encoder.embeddings(tokens)
    x = encoder.embeddings_layer_norm(x)
    for layer in encoder.transformer_layers:
        x = layer(x, padding_mask=mask)
    x = x[:, 0, :]
    backbone = keras.Model(tokens, encoder.pooled_dense(x) if is_bert else x, name=MODEL_NAME)
    backbone.trainable = False
    return backbone
