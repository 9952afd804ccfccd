"""When an exported model is as good as the trained one."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkeras.data.example import Example
from tlkeras.export.encoded import decode
from tlkeras.export.formats import FORMATS, Tolerance
from tlkeras.export.parity import accuracy, compare_outputs, out_of_tolerance
from tlkeras.modalities.image import ImageModality
from tlkeras.run.export import as_text, read_raw

TRAINED = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])


def test_differences_and_decisions_are_counted():
    exported = TRAINED.copy()
    exported[3] = [0.6, 0.4]
    found = compare_outputs(TRAINED, exported, "single_label")
    assert found["max_difference"] == pytest.approx(0.15) and found["mean_difference"] == pytest.approx(0.15 / 4)
    assert found["agreement"] == 0.75 and found["agreement_95"] == [0.3006, 0.9544] and found["count"] == 4


def test_several_labels_agree_where_all_of_them_do():
    given, other = np.array([[0.9, 0.8], [0.1, 0.6]]), np.array([[0.9, 0.4], [0.2, 0.7]])
    assert compare_outputs(given, other, "multi_label")["agreement"] == 0.5
    assert accuracy(given, np.array([[1, 1], [0, 0]]), "multi_label") == 0.5


def test_numbers_are_compared_with_their_range():
    given = np.array([[0.0], [200.0]])
    found = compare_outputs(given, given + 1, "regression")
    assert found["max_difference"] == 0.005 and "agreement" not in found


@pytest.mark.parametrize("task", ["single_label", "regression"])
def test_the_comparison_fits_a_terminal(task):
    parity = compare_outputs(TRAINED.repeat(5000, axis=0), TRAINED.repeat(5000, axis=0) + 1.23e-05, task)
    parity |= {"bytes": 123_456_789, "milliseconds": {"1": 1234.56, "32": 12345.67}}
    name = "accuracy" if task == "single_label" else "mae"
    parity |= {name: 12345.678, f"trained_{name}": 12345.678}
    text = as_text(Path("saved_models/photos/export/openvino-float16"), parity)
    assert "Maximum difference" in text and "e-05" in text and max(map(len, text.splitlines())) <= 80


def found(count=1000, **values):
    plain = {"max_difference": 0.0, "mean_difference": 0.0, "agreement": 1.0, "accuracy": 0.9, "trained_accuracy": 0.9}
    return {"count": count} | plain | values


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"max_difference": 0.3}, "the max difference of outputs is 0.3, and 0.2 is allowed"),
        ({"max_difference": float("nan")}, "the max difference of outputs is nan"),
        ({"mean_difference": 0.02}, "the mean difference of outputs is 0.02, and 0.01 is allowed"),
        ({"agreement": 0.96}, "96.0% of the decisions agree, and 97.0% must"),
        ({"accuracy": 0.88}, "the accuracy is lower by 0.020, and 0.01 is allowed"),
    ],
)
def test_what_is_beyond_the_tolerance_is_said(values, reason):
    tolerance = Tolerance(max_difference=0.2, mean_difference=0.01, agreement=0.97, lost_accuracy=0.01)
    assert out_of_tolerance(found(), tolerance) is None
    assert reason in out_of_tolerance(found(**values), tolerance)


def test_one_example_of_few_may_differ():
    tolerance = FORMATS["litert"].variants["int8"]
    assert out_of_tolerance(found(count=20, agreement=0.95, accuracy=0.85), tolerance) is None
    assert out_of_tolerance(found(count=20, agreement=0.9), tolerance)
    assert out_of_tolerance(found(count=20, accuracy=0.8), tolerance)


def test_images_are_compared_as_the_files_they_are_in(tmp_path):
    image = Image.effect_noise((40, 30), 60)
    tags = Image.Exif()
    tags[0x0112] = 6
    image.convert("RGB").save(tmp_path / "turned.jpg", exif=tags)
    Image.fromarray(np.asarray(image).astype("uint16") * 16).save(tmp_path / "deep.png")
    image.save(tmp_path / "other.tif")
    examples = [Example(path.name, "a", None, path) for path in sorted(tmp_path.iterdir())]
    run = SimpleNamespace(modality=ImageModality(8, gray_range=(0, 4080)))
    pixels, files = read_raw(run, [*examples, Example("array", "a", content=np.asarray(image.convert("RGB")))])
    assert [one.shape for one in pixels] == [(30, 40, 3), (30, 40, 3), (40, 30, 3), (30, 40, 3)]
    np.testing.assert_array_equal(pixels[0], pixels[1])  # by the range
    assert [file == (tmp_path / one.name).read_bytes() for file, one in zip(files, examples, strict=False)] == [
        True, False, True,
    ]  # fmt: skip
    for file, expected in zip(files, pixels, strict=True):
        np.testing.assert_array_equal(decode(tf.constant(file), (0, 4080)), expected)
