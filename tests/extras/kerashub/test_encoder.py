"""KerasHub encoders: the same vectors as KerasHub's own, in both phases, in a file, and split for the cache."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

import keras
import keras_hub
import tensorflow as tf

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.extras.kerashub import find_spec
from tlkeras.extras.kerashub.encoder import build_inputs_and_features
from tlkeras.extras.kerashub.spec import SIZES, read_preset
from tlkeras.features.split_model import boundary_tensors
from tlkeras.modalities.text import TextModality
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import count_params, first_trainable_index, set_trainable
from tlkeras.models.introspect import get_backbone, get_spec
from tlkeras.run.artifacts import save_model
from tlkeras.run.load_run import load_model
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import train_two_phases

WORDS = ["good", "bad", "film", "a", "the", "plot", "was", "##s", "."]
TEXTS = np.array(["A good film.", "The plot was bad.", "a film", "Good good good plots", "bad films."] * 6, object)


def bert(folder: Path) -> None:
    tokenizer = keras_hub.tokenizers.BertTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS], lowercase=True
    )
    save(folder, keras_hub.models.BertBackbone, tokenizer)


def distilbert(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    save(folder, keras_hub.models.DistilBertBackbone, keras_hub.tokenizers.DistilBertTokenizer(words, lowercase=True))


def roberta(folder: Path) -> None:
    characters = [*"abdfgilmoprstw.AGT", "Ġ"]
    merges = ["o o", "Ġ f", "b a", "ba d"]
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *characters, *("".join(pair.split()) for pair in merges)]
    vocabulary = {word: index for index, word in enumerate([*words, *"ehnu"])}
    save(folder, keras_hub.models.RobertaBackbone, keras_hub.tokenizers.RobertaTokenizer(vocabulary, merges))


def save(folder: Path, kind, tokenizer) -> None:
    """Save a preset of two layers, 16 wide, as KerasHub writes them, with its dropout."""
    keras.utils.set_random_seed(3)
    encoder = kind(
        vocabulary_size=tokenizer.vocabulary_size(), num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        dropout=0.5, max_sequence_length=12,
    )  # fmt: skip
    for weight in encoder.weights:  # so that the words matter, as they do after pretraining
        if len(weight.shape) > 1:
            weight.assign(10 * weight)
    encoder.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """Return `preset(bert)`, the folder of a tiny preset; do not write into it."""
    made = {}

    def make(kind=bert) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("presets") / kind.__name__
            kind(made[kind])
        return made[kind]

    return make


@pytest.fixture
def own_preset(preset, tmp_path) -> Path:
    """Return a preset to write into."""
    return Path(shutil.copytree(preset(), tmp_path / "preset"))


def data() -> tuple[SplitData, SplitData]:
    targets = np.eye(2, dtype="float32")[[int("bad" in text) for text in TEXTS]]
    parts = slice(0, 20), slice(20, 30)
    train, validation = (SplitData(TEXTS, np.arange(30)[part], targets[part], TextModality) for part in parts)
    return train, validation


def model_of(folder: Path, **options) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_classifier(f"kerashub:{folder}", 2, **options)


@pytest.mark.parametrize("kind", [bert, distilbert, pytest.param(roberta, marks=pytest.mark.slow)])
def test_vectors_are_those_of_kerashub(kind, preset):
    folder = preset(kind)
    model = model_of(folder, sequence_length=8)
    ours = keras.Model(model.input, model.get_layer("pool").output).predict(tf.constant(TEXTS), verbose=0)
    prepare = keras_hub.models.TextClassifierPreprocessor.from_preset(str(folder), sequence_length=8)
    theirs = keras_hub.models.Backbone.from_preset(str(folder))(prepare(tf.constant(TEXTS.astype(str))))
    vectors = theirs["pooled_output"] if isinstance(theirs, dict) else theirs[:, 0, :]
    np.testing.assert_allclose(ours, vectors, atol=1e-6)
    assert len(np.unique(ours.round(4), axis=0)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [bert, distilbert])
def test_same_weights_as_without_the_cache(kind, preset):
    options = {"frozen_epochs": 2, "finetune_epochs": 2, "batch_size": 8, "optimizer": "sgd", "linear_probe": "never"}
    options["finetune_learning_rate"] = 0.05
    results = []
    for views in (0, 1):
        model = model_of(preset(kind), dropout=0.3, hidden_units=[8])
        before = {weight.path: weight.numpy() for weight in get_backbone(model).weights}
        result = train_two_phases(model, *data(), TrainingOptions(views=views, **options))
        results.append(([weight.numpy() for weight in model.weights], result))
        moved = {weight.path for weight in get_backbone(model).weights if (weight.numpy() != before[weight.path]).any()}
        assert result.kept == "frozen" or moved
        assert all("transformer_layer_1" in path or "pooled_dense" in path for path in moved)
    for one, other in zip(results[0][0], results[1][0], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(results[0][1].history, results[1][1].history, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 3])
def test_resumed_training_gives_the_same_weights(preset, tmp_path, monkeypatch, last):
    options = TrainingOptions(
        frozen_epochs=2, finetune_epochs=2, batch_size=8, finetune_learning_rate=0.05, linear_probe="never"
    )
    model, other, stopped = (model_of(preset(), dropout=0.3) for _ in range(3))
    result = train_two_phases(model, *data(), options)
    write = Checkpoints.write

    def stop(self, epoch, *arguments):
        write(self, epoch, *arguments)
        if epoch == last:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        train_two_phases(stopped, *data(), options, Checkpoints(tmp_path))
    monkeypatch.undo()
    again = train_two_phases(other, *data(), options, Checkpoints(tmp_path))
    assert again.history == result.history
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two)


# [part: fine-tuning]
@pytest.mark.parametrize(
    ("options", "moved"),
    [({"lora_rank": 2}, "kernel"), ({"l2_sp": 0.1}, "embeddings"), ({"gradual_unfreezing": True}, "embeddings")],
)
def test_an_encoder_can_be_fine_tuned_in_other_ways(preset, options, moved):
    model = model_of(preset())
    before = {weight.path: np.array(weight) for weight in get_backbone(model).weights}
    result = train_two_phases(
        model, *data(), frozen_epochs=1, finetune_epochs=4, batch_size=8, finetune_learning_rate=0.01, unfreeze="all",
        linear_probe="never", **options,
    )  # fmt: skip
    assert result.kept == "finetune"
    after = {weight.path: np.array(weight) for weight in get_backbone(model).weights}
    assert after.keys() == before.keys()
    changed = {path for path in after if not np.array_equal(after[path], before[path])}
    assert any(path.endswith(moved) for path in changed)
    assert "lora_rank" not in options or all(path.endswith("kernel") for path in changed)


# [/part]
def test_nothing_is_random_in_training(preset):
    model = model_of(preset())
    vectors = keras.Model(model.input, model.get_layer("pool").output)
    set_trainable(model, "all")
    np.testing.assert_array_equal(*(vectors(tf.constant(TEXTS[:4]), training=True) for _ in range(2)))


def test_the_padding_mask_crosses_the_split(preset):
    model = model_of(preset())
    tensors = boundary_tensors(get_backbone(model), first_trainable_index(model, "transformer_layer_1"))
    assert sorted(len(tensor.shape) for tensor in tensors) == [2, 3]


def test_stages_are_embeddings_and_layers(preset):
    model = model_of(preset())
    spec, backbone = get_spec(model), get_backbone(model)
    assert [stage.name for stage in spec.stages] == ["embeddings", "transformer_layer_0", "transformer_layer_1"]
    assert spec.finetune_from == "transformer_layer_1"
    head = set_trainable(model, "none").trainable
    assert head == 2 * 16 + 2
    trainable = [set_trainable(model, stage.name).trainable - head for stage in spec.stages]
    assert trainable[0] == count_params(backbone.weights) > trainable[1] > trainable[2] > 0
    assert first_trainable_index(model, "embeddings") == 0


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains(preset, precision):
    model = model_of(preset(), precision=precision)
    result = train_two_phases(model, *data(), TrainingOptions(frozen_epochs=1, finetune_epochs=1, batch_size=8))
    assert np.isfinite([row["val_loss"] for row in result.history]).all()
    assert model.output.dtype == "float32"


def test_longer_padding_changes_nothing(preset):
    texts = tf.constant(TEXTS[:5])
    short, long = (model_of(preset(), sequence_length=length) for length in (8, 12))
    vectors = [
        keras.Model(model.input, model.get_layer("pool").output).predict(texts, verbose=0) for model in (short, long)
    ]
    np.testing.assert_allclose(*vectors, atol=1e-6)


def length_of(spec) -> int:
    """Build an encoder, and return the number of tokens that it takes."""
    inputs, features = build_inputs_and_features(
        spec, weights="preset", image_size=None, precision="float32", resize="crop"
    )
    return keras.Model(inputs, features).get_layer("tokens").length


def test_the_length_is_what_the_texts_need_and_no_more_than_the_encoder_takes(preset):
    spec = find_spec(str(preset()))
    assert length_of(spec.configure(texts=["a film"] * 99 + ["good " * 50])) == 4
    assert length_of(spec.adapt_to(lambda: ["good " * 50])) == 12
    for build in (length_of, lambda longer: longer.check("preset", None)):
        with pytest.raises(UserError, match=r"--sequence-length was 13; .* takes 12 tokens at most"):
            build(spec.configure(sequence_length=13))


def test_options_of_an_encoder(preset):
    spec = find_spec(str(preset())).configure(sequence_length=8)
    assert spec.configure().adapt_to(lambda: ["a film"]).sequence_length == 8
    with pytest.raises(UserError, match="--sequence-length was 2; it must be a whole number from 4 to 8192"):
        spec.configure(sequence_length=2)
    with pytest.raises(UserError, match=r"pixel_range was 0\.\.1, but kerashub:.* has no such option"):
        spec.configure(pixel_range="0..1")
    with pytest.raises(UserError, match=r"--image-size was 64, but kerashub:.* takes text"):
        spec.check("preset", 64)


OTHER_PROCESS = """
import sys, numpy as np, keras, tensorflow as tf
import tlkeras.extras.kerashub.tokens
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], model.predict(tf.constant(["A good film.", "The plot was bad."]), verbose=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [bert, roberta])
def test_saved_model_holds_its_tokenizer(kind, preset, tmp_path):
    folder = shutil.copytree(preset(kind), tmp_path / "gone")
    model = model_of(folder)
    model.get_layer("output").kernel.assign(np.random.default_rng(0).normal(size=(16, 2)))
    shutil.rmtree(folder)
    save_model(model, tmp_path / "model.keras", TEXTS)
    outputs = tmp_path / "outputs.npy"
    subprocess.run([sys.executable, "-c", OTHER_PROCESS, tmp_path / "model.keras", outputs], check=True, timeout=120)
    expected = model.predict(tf.constant(["A good film.", "The plot was bad."]), verbose=0)
    assert np.ptp(expected[:, 0]) > 1e-3
    np.testing.assert_allclose(np.load(outputs), expected, atol=1e-6)


def test_a_model_of_an_earlier_version_opens(preset, tmp_path, rename_in_config):
    model = model_of(preset())
    model.save(tmp_path / "model.keras")
    old = ".".join(["tlkeras", "hub", "tokens"])
    rename_in_config(tmp_path / "model.keras", ("tlkeras.extras.kerashub.tokens", old))
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(TEXTS), model.predict_on_batch(TEXTS))


def test_a_loaded_model_is_frozen_like_a_new_one(preset, tmp_path):
    model = model_of(preset())
    save_model(model, tmp_path / "model.keras", TEXTS)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for stage in ("none", "transformer_layer_1", "all", "none"):
        assert set_trainable(loaded, stage) == set_trainable(model, stage)


@pytest.mark.slow
def test_a_vocabulary_and_an_encoder_from_scratch(monkeypatch):
    monkeypatch.setitem(SIZES, "bert_tiny", (2, 16, 2))
    train, validation = data()
    keras.utils.set_random_seed(0)
    model = build_classifier("kerashub:bert_tiny", 2, weights="none", texts=list(TEXTS[:20]))
    vocabulary = model.get_layer("tokens").tokenizer.get_vocabulary()
    assert {"[CLS]", "good"} <= set(vocabulary)
    options = TrainingOptions(
        frozen_epochs=1, finetune_epochs=25, finetune_learning_rate=5e-3, unfreeze="all", batch_size=10
    )
    result = train_two_phases(model, train, validation, options)
    assert result.kept == "finetune" and result.history[-1]["val_accuracy"] == 1.0


def test_random_weights_of_a_preset_keep_its_vocabulary(preset):
    pretrained, random = (model_of(preset(), weights=weights) for weights in ("preset", "none"))
    assert pretrained.get_layer("tokens").digest == random.get_layer("tokens").digest
    one, other = (get_backbone(model).get_layer("token_embedding").get_weights()[0] for model in (pretrained, random))
    assert one.shape == other.shape and (one != other).any()


def test_another_vocabulary_is_another_tokenizer(preset, own_preset):
    file = own_preset / "assets" / "tokenizer" / "vocabulary.txt"
    file.write_text(file.read_text().replace("film", "book"))
    digests = {model_of(folder).get_layer("tokens").digest for folder in (preset(), own_preset)}
    assert len(digests) == 2


def set_json(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def untrusted(folder: Path) -> None:
    set_json(folder / "config.json", class_name="Popen", module="subprocess", registered_name="subprocess>Popen")


def other_tokenizer(folder: Path) -> None:
    set_json(folder / "tokenizer.json", class_name="RobertaTokenizer")


def no_layers(folder: Path) -> None:
    set_json(folder / "config.json", config={"num_layers": "two"})


def wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())["config"]
    set_json(folder / "config.json", config=config | {"hidden_dim": 32})


def more_words(folder: Path) -> None:
    file = folder / "assets" / "tokenizer" / "vocabulary.txt"
    file.write_text(file.read_text() + "more\nwords\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (untrusted, "holds a Popen, which is not supported; give a preset of BertBackbone"),
        (other_tokenizer, "has a RobertaTokenizer and should have a BertTokenizer"),
        (no_layers, "num_layers in its config.json must be a number from 1 to 100"),
        (wider, "cannot be used as a preset"),
        (more_words, "has 16 tokens, and its encoder 14"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is missing or damaged"),
        (lambda folder: (folder / "model.weights.h5").write_bytes(b"none"), "cannot be read as a weight file"),
        (lambda folder: shutil.rmtree(folder / "assets"), "no vocabulary"),
    ],
)
def test_a_damaged_or_untrusted_preset_is_refused(own_preset, change, words):
    change(own_preset)
    with pytest.raises(UserError, match=words):
        model_of(own_preset)


def test_paths_in_a_preset_are_not_read(own_preset, tmp_path):
    (tmp_path / "secret.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsecret\n")
    config = json.loads((own_preset / "tokenizer.json").read_text())
    config["config"]["vocabulary"] = str(tmp_path / "secret.txt")
    (own_preset / "tokenizer.json").write_text(json.dumps(config))
    assert "vocabulary" not in read_preset(own_preset).settings
    assert "secret" not in model_of(own_preset).get_layer("tokens").tokenizer.get_vocabulary()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("kerashub:bert_tiny", {}, "is a size, not a preset"),
        ("kerashub:bert_tiny", {"weights": "none"}, "takes its vocabulary from training texts"),
        ("kerashub:some/folder", {}, "there is no such folder"),
        ("kerashub:bert_tiny_en", {}, "KerasHub has no encoder preset bert_tiny_en"),
        ("kerashub:bert_tiny", {"weights": "bundled"}, "has its own"),
    ],
)
def test_mistakes_are_refused(name, options, words):
    with pytest.raises(UserError, match=words):
        build_classifier(name, 2, **options)


def test_a_preset_that_cannot_be_downloaded_is_named_with_its_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    spec = get_backbone_spec("kerashub:bert_tiny_en_uncased")
    with pytest.raises(UserError, match=f"cannot be downloaded.*{tmp_path}"):
        spec.resolve()


def test_a_preset_in_the_cache_needs_no_network(monkeypatch, tmp_path, preset):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError) as missing:
        find_spec("bert_tiny_en_uncased").resolve()
    folder = str(missing.value).split("unpack it to ")[1].split(",")[0]
    shutil.copytree(preset(), folder)
    spec = find_spec("bert_tiny_en_uncased").resolve()
    assert spec.name == "kerashub:bert_tiny_en_uncased" and len(spec.stages) == 3


@pytest.mark.parametrize("missing", ["keras_hub", "tensorflow_text"])
def test_without_kerashub_the_message_says_what_to_install(monkeypatch, missing):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    with pytest.raises(
        UserError, match=f"need {missing}, which is not installed: pip install keras-hub tensorflow-text"
    ):
        find_spec("bert_tiny")
