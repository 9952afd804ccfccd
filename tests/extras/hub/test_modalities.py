"""Modules that take text or audio: of every published kind, made here, inside a model that is trained."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.features.engines import make_engine
from tlkeras.features.split_model import split_model
from tlkeras.modalities.audio import AudioModality
from tlkeras.modalities.text import TextModality
from tlkeras.models.builders import build_hub_classifier
from tlkeras.models.freezing import set_trainable
from tlkeras.models.introspect import get_backbone, get_spec, model_modality
from tlkeras.run.load_run import load_model
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import train_two_phases

WORDS = [f"word{number}" for number in range(30)]
TEXT = ("by_hand", "hashing", "keras2", "keras3", "sequence")
AUDIO = ("batch", "fixed", "waveform", "yamnet")
SAMPLES = 600


def save(folder: Path, function: Callable, spec: tf.TensorSpec, **attributes) -> None:
    module = tf.train.Checkpoint(**attributes)
    module.__call__ = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder))


def by_hand(folder: Path) -> None:
    """Save a vocabulary in a table, a flag for training, lists of weights and a loss."""
    numbers = tf.lookup.KeyValueTensorInitializer(tf.constant(WORDS), tf.range(1, 31, dtype=tf.int64))
    module = tf.train.Checkpoint(table=tf.lookup.StaticHashTable(numbers, 0), vectors=vectors(31))

    def features(texts, training=False):
        words = tf.strings.split(texts)
        noise = tf.cast(training, "float32") * 1000.0
        return (
            tf.reduce_mean(words.with_values(tf.gather(module.vectors, module.table.lookup(words.values))), 1) + noise
        )

    module.__call__ = tf.function(features)
    for training in (True, False):
        module.__call__.get_concrete_function(tf.TensorSpec((None,), tf.string), training=training)
    module.variables = module.trainable_variables = [module.vectors]
    module.regularization_losses = [tf.function(lambda: 0.1 * tf.reduce_sum(module.vectors**2), input_signature=[])]
    tf.saved_model.save(module, str(folder))


def vectors(count: int) -> tf.Variable:
    return tf.Variable(np.random.default_rng(0).normal(size=(count, 8)).astype("float32"))


def hashing(folder: Path) -> None:
    """Look up words by their hashes, as many modules do; plain, with nothing but a function."""
    table = vectors(97)

    def features(texts):
        words = tf.strings.split(texts)
        return tf.reduce_mean(words.with_values(tf.gather(table, tf.strings.to_hash_bucket_fast(words.values, 97))), 1)

    save(folder, features, tf.TensorSpec((None,), tf.string), vectors=table)


def sequence(folder: Path) -> None:
    """Return a vector for each of the first five characters: `(B, 5, C)`."""
    table = vectors(97)

    def features(texts):
        letters = tf.strings.substr(texts[:, None], [[0, 1, 2, 3, 4]], [[1] * 5])
        return tf.gather(table, tf.strings.to_hash_bucket_fast(letters, 97))

    save(folder, features, tf.TensorSpec((None,), tf.string), vectors=table)


def keras2(folder: Path) -> None:
    """Save a model of a column of texts `(B, 1)`, with a vocabulary and a penalty."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential(
        [
            layers.Input((1,), dtype="string"),
            layers.TextVectorization(vocabulary=WORDS, output_sequence_length=8),
            layers.Embedding(32, 8, embeddings_regularizer=tf_keras.regularizers.L2(0.1)),
            layers.GlobalAveragePooling1D(),
        ]
    )
    model.compile()
    model.save(folder, save_format="tf")


def keras3(folder: Path) -> None:
    """Export a model with a vocabulary."""
    from keras import layers

    keras.utils.set_random_seed(0)
    words = layers.TextVectorization(vocabulary=WORDS, output_sequence_length=8)
    model = keras.Sequential([keras.Input((), dtype="string"), words, layers.Embedding(32, 8)])
    model.export(folder, verbose=False)


def spectrum(audio: tf.Tensor, kernel: tf.Variable) -> tf.Tensor:
    """Return features `(…, frames, 8)` of audio `(…, samples)`."""
    return tf.math.log(tf.abs(tf.signal.stft(audio, 128, 64)) + 1e-3) @ kernel


def batch(folder: Path, samples: int | None = None) -> None:
    """Save a module from a batch of clips to one vector each."""
    kernel = vectors(65)
    save(folder, lambda clips: tf.reduce_mean(spectrum(clips, kernel), 1), tf.TensorSpec((None, samples)), k=kernel)


def waveform(folder: Path) -> None:
    """Save a module from one clip to a vector for each of its frames."""
    kernel = vectors(65)
    save(folder, lambda clip: spectrum(clip, kernel), tf.TensorSpec((None,)), k=kernel)


def yamnet(folder: Path) -> None:
    """Save a module from one clip to a sequence of scores, features and a spectrogram."""
    kernel = vectors(65)

    def features(clip):
        frames = spectrum(clip, kernel)
        return tf.nn.softmax(frames), frames, frames * 2.0

    save(folder, features, tf.TensorSpec((None,)), k=kernel)


MAKERS = {maker.__name__: maker for maker in (by_hand, hashing, sequence, keras2, keras3, batch, waveform, yamnet)}
MAKERS["fixed"] = lambda folder: batch(folder, SAMPLES)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Callable[[str], Path]:
    """Return `made("by_hand")`, the folder of a module; do not write into it."""
    folders = {}

    def make(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp("modalities") / kind
            MAKERS[kind](folders[kind])
        return folders[kind]

    return make


def examples(kind: str, count: int = 24, seed: int = 0) -> SplitData:
    """Return two classes of texts of other words, or of audio of other pitch."""
    rng, classes = np.random.default_rng(seed), np.arange(count) % 2
    if kind in TEXT:
        starts = 15 * classes
        inputs = np.array([" ".join(WORDS[k] for k in rng.integers(low, low + 15, 6)) for low in starts], object)
    else:
        times = np.arange(SAMPLES) / 1000
        pitches = rng.uniform(50, 100, count) * (1 + 3 * classes)
        inputs = np.sin(2 * np.pi * pitches[:, None] * times).astype("float32")
    modality = TextModality if kind in TEXT else AudioModality
    return SplitData(inputs, np.arange(count), np.eye(2, dtype="float32")[classes], modality)


def weights(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in get_backbone(model).weights]


@pytest.mark.parametrize("kind", [*TEXT, *AUDIO])
def test_the_spec_says_what_a_module_takes(made, kind):
    spec = get_backbone_spec(f"hub:{made(kind)}").resolve()
    assert spec.modality == ("text" if kind in TEXT else "audio") and spec.num_params > 0
    assert spec.max_size == (SAMPLES if kind == "fixed" else None)


@pytest.mark.parametrize("kind", [*TEXT, *AUDIO])
def test_the_features_are_those_of_the_module(made, kind):
    model, data = build_hub_classifier(str(made(kind)), 2), examples(kind, 6)
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    loaded, inputs = tf.saved_model.load(str(made(kind))), tf.constant(data.inputs)
    if kind == "keras2":
        expected = loaded(inputs[:, None], training=False)
    elif kind == "keras3":
        expected = loaded.serve(inputs)
    elif kind in ("waveform", "yamnet"):
        outputs = [loaded(clip) for clip in inputs]
        expected = tf.stack([output[1] if kind == "yamnet" else output for output in outputs])
    else:
        expected = loaded(inputs)
    expected = expected.numpy().mean(1) if len(expected.shape) == 3 else expected
    np.testing.assert_allclose(pooled.predict_on_batch(data.inputs), expected, rtol=1e-5, atol=1e-5)
    assert model_modality(model) is data.modality


@pytest.mark.parametrize("kind", [*TEXT, *AUDIO])
def test_an_engine_gives_the_same_features(made, kind):
    """Compute them in a frozen graph or, where a vocabulary prevents that, in a plain one."""
    below, data = split_model(build_hub_classifier(str(made(kind)), 2), 0).below, examples(kind, 6)
    [features] = make_engine(below, "tensorflow")([data.inputs])
    np.testing.assert_allclose(features, below.predict_on_batch(data.inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["by_hand", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("keras2", "batch", "waveform"))]
)
def test_two_phases(made, kind):
    """Phase 1 leaves the module unchanged, phase 2 trains its trainable weights, and the classes are told apart."""
    options = TrainingOptions(frozen_epochs=2, finetune_epochs=0, batch_size=8, head_learning_rate=0.05, mixup=0.5)
    keras.utils.set_random_seed(0)
    model, data = build_hub_classifier(str(made(kind)), 2, dropout=0.0), examples(kind)
    before = weights(model)
    train_two_phases(model, data, examples(kind, seed=1), options)
    assert all(map(np.array_equal, before, weights(model)))
    options = TrainingOptions(
        frozen_epochs=2,
        finetune_epochs=8,
        batch_size=8,
        head_learning_rate=0.05,
        finetune_learning_rate=0.02,
        linear_probe="never",
    )
    result = train_two_phases(model, data, examples(kind, seed=1), options)
    phases = [row["phase"] for row in result.history]
    assert phases == (["frozen"] * 2 + ["finetune"] * 8)[: len(phases)] and "finetune" in phases
    assert max(row["val_accuracy"] for row in result.history) > 0.9


@pytest.mark.parametrize("kind", ["by_hand", "keras2"])
def test_losses_of_the_module_count_while_it_is_trainable(made, kind):
    model, data = build_hub_classifier(str(made(kind)), 2, dropout=0.0), examples(kind)
    expected = 0.1 * (weights(model)[0] ** 2).sum()

    def loss(unfreeze: str) -> float:
        model.compile("sgd", "categorical_crossentropy")
        set_trainable(model, unfreeze)
        return model.evaluate(tf.constant(data.inputs), data.targets, verbose=0)

    assert expected > 0.01 and loss("all") - loss("none") == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("kind", "views"), [("batch", 4), ("waveform", 4), ("waveform", 0)])
def test_audio_that_is_shorter_than_a_frame(made, tmp_path, monkeypatch, kind, views):
    """It is refused, and nothing of it is cached for the next run."""
    monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path / "cache"))
    whole, model = examples(kind), build_hub_classifier(str(made(kind)), 2)
    data = SplitData(whole.inputs[:, :100], whole.rows, whole.targets, AudioModality)
    with pytest.raises(
        UserError, match=r"gives no finite features for audio clips of shape \(100,\)\. Give more --sec"
    ):
        train_two_phases(model, data, data, TrainingOptions(frozen_epochs=1, finetune_epochs=0, views=views))
    assert not list((tmp_path / "cache").rglob("*.npy")) and not list((tmp_path / "cache").rglob("info.json"))


@pytest.mark.slow
def test_training_on_text_is_resumed_bit_for_bit(made, tmp_path):
    """From the checkpoints as they are after the first epoch of each phase."""
    options = TrainingOptions(frozen_epochs=2, finetune_epochs=2, batch_size=8, linear_probe="never")

    def run(checkpoints: Checkpoints) -> tuple[list, list[np.ndarray]]:
        keras.utils.set_random_seed(0)
        model = build_hub_classifier(str(made("by_hand")), 2)
        result = train_two_phases(model, examples("by_hand"), examples("by_hand", seed=1), options, checkpoints)
        return result.history, model.get_weights()

    class EachEpochKept(Checkpoints):
        def write(self, number, *rest):
            super().write(number, *rest)
            shutil.copytree(tmp_path / "whole", tmp_path / str(number))

    whole = run(EachEpochKept(tmp_path / "whole"))
    for last in (1, 3):
        again = run(Checkpoints(tmp_path / str(last)))
        assert again[0] == whole[0] and all(map(np.array_equal, again[1], whole[1])), last


@pytest.mark.parametrize("kind", ["by_hand", "keras2", "batch", "waveform"])
def test_exported_with_equal_outputs(made, tmp_path, kind):
    model, data = build_hub_classifier(str(made(kind)), 2), examples(kind, 6)
    model.get_layer("output").kernel.assign(np.random.default_rng(0).normal(0, 0.01, (8, 2)))
    expected = model.predict_on_batch(data.inputs)
    assert not np.allclose(*expected[:2])
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(tf.constant(data.inputs)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("by_hand", []),
        # [part: template]
        ("batch", [("audio", "sound")]),
        # [/part]
    ],
)
def test_a_model_of_an_earlier_version_opens(made, tmp_path, rename_in_config, kind, names):
    model, data = build_hub_classifier(str(made(kind)), 2), examples(kind, 6)
    model.save(tmp_path / "model.keras")
    old = ".".join(["tlkeras", "hub", "layer"])
    rename_in_config(tmp_path / "model.keras", ("tlkeras.extras.hub.layer", old), *names)
    loaded = load_model(tmp_path / "model.keras")
    assert model_modality(loaded) is data.modality and get_spec(loaded).stages == get_spec(model).stages
    np.testing.assert_array_equal(loaded.predict_on_batch(data.inputs), model.predict_on_batch(data.inputs))


LOAD = """
import keras, numpy as np, sys, tensorflow as tf, tlkeras.extras.hub.layer
for kind in sys.argv[1:]:
    model = keras.models.load_model(kind + ".keras")
    inputs = np.load("text.npy" if model.input.dtype == "string" else "audio.npy")
    np.save(kind + ".npy", model.predict_on_batch(tf.constant(inputs)))
"""


@pytest.mark.slow
def test_saved_and_loaded_in_another_process_where_the_module_is_gone(made, tmp_path):
    expected = {}
    for name, kind in (("text", "by_hand"), ("audio", "batch")):
        inputs = examples(kind, 6).inputs
        np.save(tmp_path / f"{name}.npy", inputs.astype(str) if name == "text" else inputs)
    for kind in (*TEXT, *AUDIO):
        folder = shutil.copytree(made(kind), tmp_path / "gone" / kind)
        model = build_hub_classifier(str(folder), 2, hidden_units=[4])
        model.get_layer("output").kernel.assign(np.random.default_rng(0).normal(size=(4, 2)))
        model.save(tmp_path / f"{kind}.keras")
        expected[kind] = model.predict_on_batch(examples(kind, 6).inputs)
    shutil.rmtree(tmp_path / "gone")
    subprocess.run([sys.executable, "-c", LOAD, *expected], cwd=tmp_path, check=True, capture_output=True)
    for kind in expected:
        np.testing.assert_allclose(np.load(tmp_path / f"{kind}.npy"), expected[kind], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (tf.TensorSpec((4,), tf.string), r"takes text of shape \(4,\)"),
        (tf.TensorSpec((None, 2), tf.string), r"takes text of shape \(None, 2\)"),
        (tf.TensorSpec((3, None)), r"takes audio of shape \(3, None\)"),
        (tf.TensorSpec((None, 5), tf.int32), r"takes int32 of shape \(None, 5\); a backbone takes square RGB images"),
    ],
)
def test_modules_that_take_something_else(tmp_path, spec, words):
    save(tmp_path / "odd", lambda inputs: tf.zeros((tf.shape(inputs)[0], 4)), spec)
    with pytest.raises(UserError, match=words):
        get_backbone_spec(f"hub:{tmp_path / 'odd'}").resolve()


@pytest.mark.parametrize(
    ("count", "spec"),
    [(2, tf.TensorSpec((None,), tf.string)), (3, tf.TensorSpec((None, 8, 8, 3))), (2, tf.TensorSpec((None,)))],
)
def test_a_sequence_of_outputs(tmp_path, count, spec):
    save(tmp_path / "odd", lambda inputs: (tf.zeros((1, 4)),) * count, spec)
    with pytest.raises(UserError, match=f"returns a sequence of {count} outputs"):
        build_hub_classifier(str(tmp_path / "odd"), 2)


@pytest.mark.parametrize("kind", ["hashing", "batch"])
def test_a_pixel_range_is_refused(made, kind):
    with pytest.raises(UserError, match=f"takes {'text' if kind == 'hashing' else 'audio'}; leave it out"):
        get_backbone_spec(f"hub:{made(kind)}").configure(pixel_range="0..1").resolve()


def test_an_image_size_is_refused(made):
    with pytest.raises(UserError, match=r"--image-size was 64, but hub:.* takes text; leave it out"):
        build_hub_classifier(str(made("hashing")), 2, image_size=64)


def test_other_inputs_than_the_model_takes_are_refused(made):
    options = TrainingOptions(frozen_epochs=1)
    audio = examples("fixed")
    with pytest.raises(UserError, match="The model takes texts, and audio clips were given"):
        train_two_phases(build_hub_classifier(str(made("by_hand")), 2), audio, audio, options)
    short = SplitData(audio.inputs[:, :100], audio.rows, audio.targets, AudioModality)
    with pytest.raises(UserError, match="The audio clips have 100 samples and the model takes 600"):
        train_two_phases(build_hub_classifier(str(made("fixed")), 2), short, short, options)
