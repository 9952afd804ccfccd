"""Images that are in memory: what is taken, what is refused and how, and the same pixels as from files."""

import numpy as np
import pytest
from PIL import Image

from tlkeras.data.loading import decode_all
from tlkeras.data.memory import find
from tlkeras.data.prepare import prepare_data
from tlkeras.errors import UserError
from tlkeras.modalities.image import ImageModality
from tlkeras.run.load_run import load_run

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 40, 30, 3), dtype=np.uint8)
NAMES = ["cat", "dog"] * 3


def decoded(data, **options):
    return decode_all(find(data, **options).examples, ImageModality(16), 0.0).inputs


def test_the_pixels_are_those_of_files(tmp_path):
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    files = [ImageModality(16).read(tmp_path / f"{number}.png") for number in range(len(IMAGES))]
    for images in (IMAGES, list(IMAGES), IMAGES.astype("float32"), [Image.fromarray(image) for image in IMAGES]):
        assert np.array_equal(decoded((images, NAMES)), files)


def test_gray_images_have_three_equal_channels():
    for images in (IMAGES[..., :1], IMAGES[..., 0]):
        found = decoded((images, NAMES))
        assert found.shape == (6, 16, 16, 3) and (found == found[..., :1]).all()


@pytest.mark.parametrize(
    ("labels", "task", "classes", "first"),
    [
        (NAMES, "single_label", ["cat", "dog"], "cat"),
        (np.array(NAMES), "single_label", ["cat", "dog"], "cat"),
        ([10, 9, 10, 9, 2, 2], "single_label", ["2", "9", "10"], "10"),
        (np.eye(3)[[2, 0, 1, 2, 0, 1]], "single_label", ["0", "1", "2"], "2"),
        ([[1, 1], [0, 0], [0, 1], [1, 0], [1, 0], [1, 1]], "multi_label", ["0", "1"], ("0", "1")),
        ([("dent", "scratch"), (), ("dent",), (), (), ()], "multi_label", ["dent", "scratch"], ("dent", "scratch")),
        ([0.5, 1.0, 2.0, 3.0, 4.0, 5.0], "regression", [], 0.5),
        ([0.0, 1.0, 0.0, 1.0, 0.0, 1.0], "single_label", ["0", "1"], "0"),
    ],
)
def test_labels_are_read_by_their_looks(labels, task, classes, first):
    listing = find((IMAGES, labels))
    assert (listing.task, listing.classes, listing.examples[0].label) == (task, classes, first)


def test_whole_numbers_are_quantities_where_that_is_asked_for():
    assert "task='regression'" in " ".join(find((IMAGES, [1, 2, 3, 1, 2, 3])).notes)
    assert find((IMAGES, [1, 2, 3, 1, 2, 3]), task="regression").examples[2].label == 3.0


def test_splits_are_given_as_a_dict():
    listing = find({"train": (IMAGES, NAMES), "val": (IMAGES[:2], NAMES[:2])})
    assert [example.split for example in listing.examples] == ["train"] * 6 + ["validation"] * 2
    assert len({example.name for example in listing.examples}) == 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((IMAGES / 255, NAMES), "0 to 1. Give them from 0 to 255: multiply by 255"),
        ((IMAGES.astype("uint16") * 257, NAMES), "(uint16) go from"),
        ((IMAGES.astype("float32") - 300, NAMES), "(float32) go from"),
        ((np.full((6, 8, 8, 3), np.nan), NAMES), "nan"),
        ((IMAGES[..., :2], NAMES), "shape (40, 30, 2)"),
        ((IMAGES, NAMES[:5]), "6 images and 5 labels"),
        ((IMAGES, [0, 1, np.nan, 0, 1, 0]), "1 labels are NaN"),
        ((IMAGES, ["cat", None] * 3), "None"),
        ((IMAGES, np.full((6, 2), 0.5)), "more than 0 and 1"),
        ({"learn": (IMAGES, NAMES)}, "'learn'"),
        ({"train": "photos/train"}, "A split is the path photos/train"),
        (((IMAGES, NAMES), (IMAGES, NAMES)), "Two pairs of images and labels"),
        ((iter(IMAGES), NAMES), "The images are a"),
        ((IMAGES, [[1], [1, 2]] * 3), "different lengths"),
        ((IMAGES, 3), "6 images and 1 labels"),
        ({"train": (IMAGES, NAMES), "test": (IMAGES, np.eye(3)[[0, 1, 2] * 2])}, "different shapes"),
        (IMAGES, "The data are a ndarray"),
        (7, "The data are a int"),
    ],
)
def test_what_does_not_fit_is_a_sentence(data, words):
    with pytest.raises(UserError) as error:
        find(data)
    assert words in str(error.value)


def test_datasets_of_tensorflow_and_keras_batched_or_not():
    keras = pytest.importorskip("keras")
    tf = pytest.importorskip("tensorflow")

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            chosen = slice(3 * index, 3 * index + 3)
            return IMAGES[chosen], np.array(NAMES)[chosen]

    slices = tf.data.Dataset.from_tensor_slices((IMAGES, NAMES))
    for data in (slices, slices.batch(4), Batches()):
        assert np.array_equal(decoded(data), decoded((IMAGES, NAMES)))
        assert find(data).classes == ["cat", "dog"]
    with pytest.raises(UserError, match="repeats without end"):
        find(slices.repeat())
    with pytest.raises(UserError, match="images without labels"):
        find(tf.data.Dataset.from_tensor_slices(IMAGES))


def test_names_of_classes_are_read_as_from_a_table():
    listing = find((IMAGES, ["caf\u00e9", "cafe\u0301", " dog", "dog ", "dog", "dog"]))
    assert listing.classes == ["caf\u00e9", "dog"]
    with pytest.raises(UserError, match="One of the labels is 'nan'"):
        find((IMAGES, ["nan", "dog"] * 3))


@pytest.mark.parametrize(
    "images", [[*IMAGES[:5].astype(float), np.full((4, 4, 3), np.nan)], [*IMAGES[:5], IMAGES[5] / 255]]
)
def test_each_image_is_checked(images):
    with pytest.raises(UserError, match="Give them from 0 to 255"):
        find((images, NAMES))


def test_pillow_images_of_more_than_8_bits_are_refused_as_arrays_are():
    with pytest.raises(UserError, match=r"uint16.*from 0 to 255"):
        find(([Image.fromarray(image[..., 0].astype("uint16") * 16) for image in IMAGES], NAMES))


def test_each_split_is_given_once_and_a_dataset_that_fails_is_a_sentence():
    with pytest.raises(UserError, match="validation and test once"):
        find({"train": (IMAGES, NAMES), "val": (IMAGES, NAMES), "validation": (IMAGES, NAMES)})
    with pytest.raises(UserError, match="The splits are none"):
        find({})
    tf = pytest.importorskip("tensorflow")
    broken = tf.data.Dataset.range(3).map(lambda row: (tf.io.read_file("nowhere.png"), row))
    with pytest.raises(UserError, match=r"The tf\.data\.Dataset cannot be read"):
        find(broken)


def test_labels_are_read_as_from_a_csv_file():
    assert find((IMAGES, ["0.0", "1.0"] * 3)).classes == ["0", "1"]
    joined = find((IMAGES, ["cat|dog", "dog"] * 3))
    assert joined.task == "multi_label" and joined.examples[0].label == ("cat", "dog") and joined.notes
    assert find((IMAGES, ["cat|dog", "dog"] * 3), "single_label").classes == ["cat|dog", "dog"]


def test_columns_of_a_table_are_names_of_classes():
    class Table:  # such as pandas.get_dummies makes
        columns = ("cat", "dog")

        def __init__(self, values):
            self.values = np.array(values)

        def to_numpy(self):
            return self.values

    one_each = find((IMAGES, Table([[0, 1], [1, 0]] * 3)))
    assert one_each.task == "single_label" and [one.label for one in one_each.examples[:2]] == ["dog", "cat"]
    several = find((IMAGES, Table([[1, 1], [0, 0]] * 3)))
    assert several.task == "multi_label" and [one.label for one in several.examples[:2]] == [("cat", "dog"), ()]


def test_none_is_told_by_its_name():
    with pytest.raises(UserError, match="The data are None"):
        prepare_data(None, "MobileNetV2")
    with pytest.raises(UserError, match="The images are NoneType"):
        ImageModality.from_memory([None])
    with pytest.raises(UserError, match="The run is None"):
        load_run(None)
