"""What a model may be trained on: data of any kind that fit it, and a sentence for all that do not."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tlkeras
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import resize_mode
from tlkeras.training.given_data import check_split, fit_to_model
from tlkeras.training.two_phase import train_two_phases

SHORT = {"frozen_epochs": 1, "finetune_epochs": 0, "views": 1}


def build(outputs=3, **options) -> keras.Model:
    return build_classifier("Tiny", outputs, weights="none", **{"image_size": 16} | options)


def arrays(data: SplitData) -> tuple[np.ndarray, np.ndarray]:
    return data.inputs, data.targets.argmax(axis=1)


def test_training_on_data_of_any_kind(tiny, colored, tmp_path):
    train, validation = colored(24), colored(12, seed=1)
    for number, (image, label) in enumerate(zip(*arrays(validation), strict=True)):
        path = tmp_path / "validation" / str(label) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    kinds = [
        (train, validation),
        (arrays(train), arrays(validation)),
        (tf.data.Dataset.from_tensor_slices(arrays(train)).batch(5), tmp_path / "validation"),
        ({"train": arrays(train), "validation": arrays(validation)},) * 2,
    ]
    found = []
    for given in kinds:
        keras.utils.set_random_seed(0)
        found.append(train_two_phases(build(), *given, **SHORT).history[0])
    losses = [(row["loss"], round(row["val_loss"], 6)) for row in found]  # the files of a folder are in another order
    assert losses == losses[:1] * len(kinds)


def test_prepared_data_have_both_splits(tiny, colored):
    data = tlkeras.prepare_data(arrays(colored(60)), tiny, image_size=16)
    assert len(train_two_phases(build(data), data, data, **SHORT).history) == 1


def test_the_splits_of_a_dataset_are_used_for_what_they_are(tiny, colored, caplog):
    both = {"train": arrays(colored(24)), "validation": arrays(colored(12))}
    with caplog.at_level("INFO", "tlkeras"):
        splits = fit_to_model(build(), both, both)
    assert [len(split) for split in splits] == [24, 12]
    assert "arrays has splits; here its validation images are used" in caplog.text
    with pytest.raises(UserError, match="arrays has splits, and none for validation"):
        fit_to_model(build(), both, {"train": arrays(colored(24))})


def test_classes_of_validation_are_those_of_training(tiny, colored):
    names, some = np.array(["red", "green", "blue"]), [1, 4, 7]  # images of one class alone
    images, labels = arrays(colored(24))
    _, validation = fit_to_model(build(), (images, names[labels]), (images[some], names[labels[some]]))
    assert validation.targets.tolist() == [[0.0, 1.0, 0.0]] * 3  # blue, green, red
    with pytest.raises(UserError, match=r"have classes that the training data lack: 1\. Those have blue, green, red"):
        fit_to_model(build(), (images, names[labels]), (images[some], labels[some]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": lambda x: x / 255}, "The pixels go from 0 to 1. Give them from 0 to 255"),
        ({"inputs": lambda x: x.astype("uint16") * 257}, "The pixels (uint16) go from"),
        ({"inputs": lambda x: x[..., :1]}, "shape (16, 16, 1) and the model takes (16, 16, 3), RGB"),
        ({"inputs": lambda x: x[..., 0]}, "numpy.repeat(images[..., None], 3, axis=-1)"),
        ({"inputs": lambda x: x[:, :8]}, "have 8 x 16 pixels and the model takes 16"),
        ({"targets": lambda y: y.argmax(axis=1)}, "shape (12,). Give them one-hot, (N, K): keras.utils.to_categorical"),
        ({"targets": lambda y: y[:5]}, "12 rows and 5 targets"),
        ({"targets": lambda y: y * np.nan}, "(float32) are not all finite numbers"),
        ({"targets": lambda y: y * 7}, "go from 0 to 7, and the model's outputs are for single_label"),
        ({"targets": lambda y: np.ones_like(y)}, "12 of the 12 training targets have several labels or none"),
        ({"rows": lambda rows: rows + 1}, "must be indices of the 12 inputs"),
        ({"task": lambda _: "multi_label"}, "are for multi_label, and the model's outputs for single_label"),
    ],
)  # fmt: skip
def test_a_split_made_by_hand_is_checked(tiny, colored, change, words):
    data = colored(12)
    wrong = dataclasses.replace(data, **{name: make(getattr(data, name)) for name, make in change.items()})
    with pytest.raises(UserError, match=re.escape(words)):
        train_two_phases(build(), wrong, data)


def test_other_dtypes_of_the_same_values_are_taken(tiny, colored):
    data = colored(12)
    floats = SplitData(data.inputs.astype("float32"), list(range(12)), data.targets.astype("int64"))
    checked = check_split(build(), floats, "training")
    assert checked.inputs.dtype == "uint8" and np.array_equal(checked.inputs, data.inputs)
    assert checked.targets.dtype == "float32" and np.array_equal(checked.targets, data.targets)


def test_calls_without_validation_or_with_other_options_are_refused(tiny, colored):
    data = colored(12)
    with pytest.raises(UserError, match="No validation data were given"):
        train_two_phases(build(), data)
    with pytest.raises(UserError, match=r"Unknown option epoch of train_two_phases\. Did you mean frozen_epochs or"):
        train_two_phases(build(), data, data, epoch=3)
    with pytest.raises(UserError, match="The options of train_two_phases are a dict"):
        train_two_phases(build(), data, data, {"frozen_epochs": 3})


def test_a_model_built_from_the_data_has_their_task_size_and_unit(tiny, noise):
    images = noise(60, 16)
    several = tlkeras.prepare_data((images, np.arange(120).reshape(60, 2) % 3 % 2), tiny, image_size=16)
    model = build(several, image_size=None)
    assert (model.output_shape, model.get_layer("resize").output.shape[1]) == ((None, 2), 16)
    assert model.get_layer("output").activation is keras.activations.sigmoid
    ages = np.linspace(18, 80.5, 60)
    numbers = tlkeras.prepare_data((images, ages), tiny, image_size=16)
    train = tlkeras.split_data(numbers)["train"]
    for given in (numbers, train):
        unit = build(given).get_layer("units")
        assert (unit.offset, unit.scale) == (float(train.targets.mean()), float(train.targets.std()))
    assert build(numbers, target_mean=7.0).get_layer("units").offset == 7.0
    with pytest.raises(UserError, match="The task was single_label, and the data are for regression"):
        build(numbers, task="single_label")


def test_images_that_became_squares_in_another_way_are_refused(tiny, noise):
    images = (list(noise(12, 10, 30)), np.arange(12) % 3)
    padded = tlkeras.prepare_data(images, tiny, 16, resize="pad", validation_split=0.3, test_split=0.3)
    with pytest.raises(UserError, match="training images became squares by pad, and the model does it by crop"):
        train_two_phases(build(), padded, padded, **SHORT)
    model = build_classifier(tiny, padded, weights="none")
    (raw,) = fit_to_model(model, images, images)[:1]  # which are decoded as the model does it
    assert resize_mode(model) == raw.resize == "pad" and not raw.inputs[:, 0].any() and raw.inputs[:, 8].all()
    assert resize_mode(build_classifier(tiny, padded, weights="none", resize="squash")) == "squash"
    with pytest.raises(UserError, match="resize was auto; it must be one of crop, pad, squash"):
        build_classifier(tiny, padded, resize="auto")
    with pytest.raises(UserError, match=r"resize was auto, which only a training run decides"):
        tlkeras.prepare_data(images, tiny, 16, resize="auto")


def test_numbers_in_another_unit_than_the_models_are_refused(tiny, noise):
    data = SplitData(noise(20, 16), np.arange(20), np.linspace(18, 80, 20)[:, None])
    with pytest.raises(UserError, match=r"the mean 49 and the standard deviation .* built for 0 and 1"):
        train_two_phases(build(1, task="regression"), data, data)
    for targets, unit in ((data.targets, (49, 18)), (data.targets / 80, (0, 1))):
        good = dataclasses.replace(data, targets=targets)
        fit_to_model(build(1, task="regression", target_mean=unit[0], target_std=unit[1]), good, good)
    for mean, std in ((900, 18), (49, 20000)):
        with pytest.raises(UserError, match="Build it from the data"):
            fit_to_model(build(1, task="regression", target_mean=mean, target_std=std), data, data)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["a", "b"], "num_outputs was a list; it must be a number, how many classes there are, or the data"),
        (0, "num_outputs was 0; it must be at least 2"),
        (1, "num_outputs was 1; it must be at least 2 for a choice of one class"),
        (True, "num_outputs was a bool"),
        (2.0, "num_outputs was a float"),
    ],
)
def test_numbers_of_outputs_that_cannot_be(tiny, outputs, words):
    with pytest.raises(UserError, match=re.escape(words)):
        build(outputs)
