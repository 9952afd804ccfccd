"""Callbacks, loss, metrics, head, augmentation and backbone of one's own, with cached features and when resumed."""

import logging

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import first_trainable_index, set_trainable
from tlkeras.models.introspect import get_backbone
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import TrainingResult, train_two_phases

OPTIONS = {
    "batch_size": 10, "frozen_epochs": 2, "finetune_epochs": 2, "views": 2, "unfreeze": "50%", "linear_probe": "never",
}  # fmt: skip
WAYS = pytest.mark.parametrize("views", [2, 0], ids=["cached features", "whole network"])


def own_backbone(name: str = "mine", size: int | None = 16) -> keras.Model:
    """Return a small model with its own scaling, BatchNormalization and Dropout."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = x = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255, name="scale01")(x)
    for number in (1, 2):
        x = layers.Conv2D(8, 3, strides=2, name=f"conv_{number}")(x)
        x = layers.BatchNormalization(name=f"norm_{number}")(x)
        x = layers.ReLU(name=f"active_{number}")(x)
    return keras.Model(inputs, layers.Dropout(0.4)(x), name=name)


def train(colored, checkpoints=None, head=lambda: None, **given) -> tuple[keras.Model, TrainingResult]:
    keras.utils.set_random_seed(0)
    data = colored(30)
    model = build_classifier("Tiny", 3, weights="none", head=head())
    options = TrainingOptions(**OPTIONS | {name: given.pop(name) for name in list(given) if name in OPTIONS})
    return model, train_two_phases(model, data, colored(15, seed=1), options, checkpoints, **given)


class StopAfter(keras.callbacks.Callback):
    """Stop the program after an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if epoch == self._epoch:
            raise KeyboardInterrupt


def check_resumes(colored, folder, expected: tuple[keras.Model, TrainingResult], **given) -> None:
    """A training that is stopped in phase 2 ends bit by bit like one that is not."""
    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(folder / "c"), **given, callbacks=[StopAfter(3)])
    model, result = train(colored, Checkpoints(folder / "c"), **given)
    assert result.history == expected[1].history
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), expected[0].get_weights(), strict=True))


@WAYS
def test_callbacks_are_called_in_both_phases(tiny, colored, views, tmp_path, caplog):
    seen = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs))))
    train(colored, views=views, callbacks=[note])
    assert seen == [(epoch, ["accuracy", "loss", "val_accuracy", "val_loss"]) for epoch in range(4)]
    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(tmp_path), views=views, callbacks=[StopAfter(1)])
    caplog.set_level(logging.INFO, "tlkeras")
    train(colored, Checkpoints(tmp_path), views=views, callbacks=[note])
    assert "Resuming from epoch 1. Note: callbacks= start anew" in caplog.text
    with pytest.raises(UserError, match=r"callbacks holds 'EarlyStopping'; give objects of keras\.callbacks\.Callback"):
        train(colored, callbacks=["EarlyStopping"])


def test_a_phase_that_a_callback_ended_stays_ended(tiny, colored, tmp_path):
    def stop(epoch: int, logs) -> None:
        callback.model.stop_training = epoch == 0

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    _, expected = train(colored, callbacks=[callback])
    assert [row["epoch"] for row in expected.history] == [1, 3, 4]
    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(tmp_path), callbacks=[callback, StopAfter(2)])
    assert train(colored, Checkpoints(tmp_path), callbacks=[callback])[1].history == expected.history


@WAYS
def test_a_loss_of_ones_own(tiny, colored, views, tmp_path):
    def half_squared(true, predicted):
        return keras.ops.mean(keras.ops.square(true - predicted), axis=-1) / 2

    model, result = train(colored, views=views, loss=half_squared)
    data = colored(15, seed=1)
    value = ((model.predict_on_batch(data.inputs) - data.targets) ** 2).mean() / 2
    assert result.value == pytest.approx(value, rel=1e-4)
    check_resumes(colored, tmp_path, (model, result), views=views, loss=half_squared)


def test_a_loss_by_name_or_as_an_object(tiny, colored):
    assert train(colored, loss="categorical_focal_crossentropy")[1].history
    assert train(colored, loss=keras.losses.Poisson())[1].history


def test_only_a_loss_that_ends_at_zero_says_when_all_is_learned(tiny, colored, monkeypatch):
    monkeypatch.setattr("tlkeras.training.two_phase.LEARNED", 100.0)
    options = TrainingOptions(**OPTIONS | {"frozen_epochs": 1, "finetune_epochs": 4, "warmup": 0.5})

    def epochs(**given) -> list[int]:
        model = build_classifier("Tiny", 3, weights="none")
        history = train_two_phases(model, colored(30), colored(15, seed=1), options, **given).history
        return [row["epoch"] for row in history]

    assert epochs() == [1, 2, 3, 4]  # in the warmup, two of four epochs, hardly anything has happened yet
    assert epochs(loss=keras.losses.CategoricalCrossentropy()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "no_such_loss"}, r"loss=no_such_loss cannot be used: .*classes are one-hot"),
        ({"loss": "sparse_categorical_crossentropy"}, r"loss=sparse_categorical_crossentropy cannot be used: "),
        ({"metrics": ["no_such_metric"]}, r"metrics=no_such_metric cannot be used: "),
        ({"metrics": [keras.metrics.F1Score]}, r"metrics=f1_score gives an array of shape \(3,\)"),
        ({"metrics": [keras.metrics.AUC(name="phase")]}, r"metrics has phase, and there is one of this name"),
        ({"augment": "flip"}, r"augment was 'flip'; give a function of images, a Keras layer, or a list of layers"),
        ({"augment": lambda images: images / 255}, r"augment=<lambda> gave float64 \(2, 16, 16, 3\) for uint8 "),
        ({"augment": lambda images: images[:, :, 100]}, r"augment=<lambda> fails on uint8 images .*\(IndexError: "),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(tiny, colored, given, message):
    with pytest.raises(UserError, match=message):
        train(colored, **given)


def test_options_that_a_loss_leaves_without_effect_are_refused(tiny, colored):
    model, data = build_classifier("Tiny", 3, weights="none"), colored(30)
    with pytest.raises(UserError, match="leave them out with loss="):
        train_two_phases(model, data, data, TrainingOptions(class_weights="balanced"), loss="mse")


@WAYS
def test_metrics_of_ones_own_are_in_the_history(tiny, colored, views, tmp_path):
    def margin(true, predicted):
        return keras.ops.max(predicted, axis=-1) - keras.ops.min(predicted, axis=-1)

    given = {"views": views, "metrics": [keras.metrics.AUC(name="auc"), "top_k_categorical_accuracy", margin]}
    model, result = train(colored, **given)
    names = {"auc", "top_k_categorical_accuracy", "margin"}
    assert names | {f"val_{name}" for name in names} <= set(result.history[0])
    outputs = model.predict_on_batch(colored(15, seed=1).inputs)
    row = result.history[result.epoch - 1]
    assert row["val_margin"] == pytest.approx((outputs.max(axis=1) - outputs.min(axis=1)).mean(), rel=1e-3)
    check_resumes(colored, tmp_path, (model, result), **given)


HEADS = {
    "layer": lambda: keras.layers.Dense(6, "gelu"),
    "layers with states": lambda: keras.Sequential(
        [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(5)]
    ),
    "function": lambda: lambda x: keras.ops.concatenate([x, keras.ops.square(x)], axis=-1),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_of_ones_own(tiny, colored, kind, tmp_path):
    expected = train(colored, head=HEADS[kind])
    assert expected[0].get_layer("output").input.shape[-1] == {"layer": 6, "layers with states": 5}.get(kind, 16)
    assert expected[0].output_shape == (None, 3)
    expected[0].save(tmp_path / "model.keras")
    images = colored(15).inputs
    saved = keras.models.load_model(tmp_path / "model.keras").predict_on_batch(images)
    assert np.array_equal(saved, expected[0].predict_on_batch(images))
    check_resumes(colored, tmp_path, expected, head=HEADS[kind])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("dense", r"head was 'dense'; give a Keras layer or a function from features \(B, 8\) to \(B, F\)"),
        (keras.layers.Dense, r"head was <class .*give a Keras layer or a function"),
        (lambda x: x[:, None], r"head=<lambda> gave \(None, 1, 8\); give"),
        (lambda x: 1 / 0, r"head=<lambda> fails on features \(B, 8\): division by zero; give"),
        (lambda x: keras.layers.Dense(3, name="output")(x), r"does not fit into the model: "),
    ],
    ids=["text", "class", "rank", "error", "name"],
)
def test_a_head_that_does_not_fit_is_refused(tiny, head, message):
    with pytest.raises(UserError, match=message):
        build_classifier("Tiny", 3, weights="none", head=head)


def test_a_head_and_hidden_units_are_not_both_given(tiny):
    for other in ({"hidden_units": [8]}, {"dropout": 0.5}):
        with pytest.raises(UserError, match="head= takes the place of hidden_units and dropout"):
            build_classifier("Tiny", 3, weights="none", head=keras.layers.Dense(4), **other)


def darken(images: np.ndarray) -> np.ndarray:
    """Draw from NumPy, as a function of a user's own does."""
    return (images * np.random.uniform(0.5, 1.0, (len(images), 1, 1, 1))).astype("uint8")


AUGMENTATIONS = {
    "function": lambda: darken,
    "layer": lambda: keras.layers.RandomBrightness(0.3, value_range=(0, 255)),
    "layers": lambda: [keras.layers.RandomFlip(), keras.layers.RandomTranslation(0.1, 0.1)],
}


@pytest.mark.parametrize(("kind", "views"), [("function", 2), ("function", 0), ("layer", 2), ("layers", 0)])
def test_an_augmentation_of_ones_own(tiny, colored, kind, views, tmp_path, caplog):
    """Training images change, validation images do not; nothing is kept on disk; a resumed training sees the same."""
    caplog.set_level(logging.INFO, "tlkeras")
    expected = train(colored, views=views, augment=AUGMENTATIONS[kind]())
    assert "augment= takes the place of flips" in caplog.text and ", cached." not in caplog.text
    assert expected[1].history != train(colored, views=views)[1].history
    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(tmp_path), views=views, augment=AUGMENTATIONS[kind](), callbacks=[StopAfter(3)])
    _, result = train(colored, Checkpoints(tmp_path), views=views, augment=AUGMENTATIONS[kind]())
    assert result.history == expected[1].history


@pytest.mark.parametrize(("views", "size"), [(2, 16), (0, None)], ids=["cached features", "whole network"])
def test_a_backbone_of_ones_own(colored, views, size, tmp_path):
    """Phase 1 leaves all of it, phase 2 its lower part and its statistics; it is saved, loaded and resumed."""

    def run(checkpoints=None, **given) -> tuple[keras.Model, TrainingResult]:
        keras.utils.set_random_seed(0)
        model = build_classifier(own_backbone(size=size), 3, image_size=16)
        options = TrainingOptions(**OPTIONS | {"views": views, "unfreeze": "conv_2", "finetune_learning_rate": 0.01})
        return model, train_two_phases(model, colored(30), colored(15, seed=1), options, checkpoints, **given)

    before = {weight.path: np.array(weight) for weight in own_backbone().weights}
    model, result = run()
    assert result.kept == "finetune"
    for weight in get_backbone(model).weights:
        same = np.array_equal(before[weight.path], weight)
        assert same == (not weight.path.startswith("conv_2")), weight.path
    model.save(tmp_path / "model.keras")
    images = colored(15).inputs
    saved = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(saved.predict_on_batch(images), model.predict_on_batch(images))
    assert first_trainable_index(saved, "conv_2") == 5  # what is loaded can be trained again
    with pytest.raises(KeyboardInterrupt):
        run(Checkpoints(tmp_path / "c"), callbacks=[StopAfter(3)])
    assert run(Checkpoints(tmp_path / "c"))[1].history == result.history


def test_what_a_backbone_of_ones_own_is_unfrozen_by():
    layers = len(own_backbone().layers)
    for unfreeze, first in (("conv_2", 5), (3, layers - 3), ("50%", layers - round(layers / 2)), ("all", 0)):
        model = build_classifier(own_backbone(), 3)
        assert first_trainable_index(model, unfreeze) == first
        set_trainable(model, unfreeze)
        assert not any(layer.trainable for layer in get_backbone(model).layers[:first] if layer.weights)
    with pytest.raises(UserError, match=r'no layer of mine called "conv_9".* Known are: .*conv_1, norm_1'):
        set_trainable(build_classifier(own_backbone(), 3), "conv_9")


def test_a_sequential_model_with_the_name_of_another_backbone():
    layers = [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D()]
    model = build_classifier(keras.Sequential(layers, name="VGG16"), 3)
    assert get_backbone(model).name == "VGG16_own" and first_trainable_index(model, 1) == 2


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (lambda: 5, r"The backbone was 5\. Give a name, or a functional or Sequential Keras model"),
        (lambda: keras.Sequential([keras.layers.Dense(3)], name="m"), r"backbone m needs one input and one output"),
        (lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)], name="m"), r"goes from \(None, 8\) to "),
        (lambda: keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GaussianNoise(1.0, name="noise")], name="m"),
         r"holds the random layer noise; give that as augment="),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_a_backbone_is_refused(backbone, message):
    with pytest.raises(UserError, match=message):
        build_classifier(backbone(), 3)


def test_a_backbone_of_ones_own_has_its_own_weights_and_size():
    with pytest.raises(UserError, match=r"--weights was none, but the model given as backbone= has its own"):
        build_classifier(own_backbone(), 3, weights="none")
    with pytest.raises(UserError, match=r"--image-size was 32; mine takes 16 pixels, no more"):
        build_classifier(own_backbone(), 3, image_size=32)


class Spoil(keras.callbacks.Callback):
    """Put other weights in place at the end of `fit`, as `restore_best_weights` of EarlyStopping does."""

    def on_train_end(self, logs=None) -> None:
        for variable in self.model.trainable_weights:
            variable.assign(keras.ops.zeros_like(variable))


def test_what_is_restored_is_what_the_line_says_whatever_callbacks_do(tiny, colored):
    expected, _ = train(colored)
    model, _ = train(colored, callbacks=Spoil())
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), expected.get_weights(), strict=True))


def test_schedulers_need_a_constant_learning_rate(tiny, colored):
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3)
    with pytest.raises(UserError, match=r"schedule='constant' and warmup=0\.0"):
        train(colored, callbacks=[scheduler])
    keras.utils.set_random_seed(0)
    options = TrainingOptions(**OPTIONS, schedule="constant", warmup=0.0)
    model = build_classifier("Tiny", 3, weights="none")
    result = train_two_phases(model, colored(30), colored(15, seed=1), options, callbacks=[scheduler])
    assert {round(row["learning_rate"], 6) for row in result.history} == {1e-3}


def test_accuracy_is_there_already_and_none_is_no_metric(tiny, colored):
    _, plain = train(colored)
    for metrics in (["accuracy"], None):
        assert train(colored, metrics=metrics)[1].history == plain.history


def test_an_augmentation_that_gives_black_images_is_refused(tiny, colored):
    with pytest.raises(UserError, match="black images"):
        train(colored, augment=keras.layers.Rescaling(1 / 255))


def test_what_callbacks_and_metrics_are_called(tiny, colored):
    with pytest.raises(UserError, match="EarlyStopping has monitor='val_auc'; give one of loss, val_loss, accuracy"):
        train(colored, callbacks=[keras.callbacks.EarlyStopping("val_auc")])
    with pytest.raises(UserError, match=r"gives an array of shape \(3,\); give one number"):
        train(colored, metrics=[keras.metrics.F1Score()])
    mean = lambda true, outputs: keras.ops.mean(outputs, axis=-1)  # noqa: E731
    most = lambda true, outputs: keras.ops.max(outputs, axis=-1)  # noqa: E731
    _, result = train(colored, metrics=[mean, most], frozen_epochs=1, finetune_epochs=0)
    assert result.history[0]["val_metric_1"] == pytest.approx(1 / 3) and result.history[0]["val_metric_2"] > 1 / 3


def test_a_csv_file_of_epochs_has_both_phases(tiny, colored, tmp_path):
    train(colored, callbacks=[keras.callbacks.CSVLogger(tmp_path / "epochs.csv")])
    lines = (tmp_path / "epochs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2", "3"]


def test_epochs_as_a_pair_and_models_that_are_none_of_ours(tiny, colored):
    data = colored(30)
    model = build_classifier("Tiny", 3, weights="none")
    assert len(train_two_phases(model, data, colored(15, seed=1), epochs=(1, 0)).history) == 1
    with pytest.raises(UserError, match="such as epochs="):
        train_two_phases(model, data, data, epochs=5)
    for other in (None, keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])):
        with pytest.raises(UserError, match="Build one with"):
            train_two_phases(other, data, data)


@WAYS
def test_a_metric_starts_anew_in_each_phase(tiny, colored, views):
    """In the first epoch of phase 2, too, it is what the same metric of the task is."""
    _, result = train(colored, views=views, metrics=[keras.metrics.CategoricalAccuracy(name="mine")])
    assert len(result.history) == 4
    assert all(row["mine"] == row["accuracy"] and row["val_mine"] == row["val_accuracy"] for row in result.history)
