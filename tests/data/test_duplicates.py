"""Near duplicates are found by what they show, and images that merely look alike are not taken for them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from tlkeras.config.data import DataOptions
from tlkeras.data.digits import digits_folder
from tlkeras.data.duplicates import SIDE, link, near_duplicates, without_crowds
from tlkeras.data.prepare import prepare_data
from tlkeras.modalities.image import gray_thumbnail


def scenes(count):
    """Return images of blurred noise, which have coarse and fine structure as photographs do."""
    rng = np.random.default_rng(3)
    layers = [
        sum(np.kron(rng.normal(size=(size, size)), np.ones((240 // size,) * 2)) for size in (6, 12, 24))
        for _ in range(count)
    ]
    return [
        Image.fromarray((128 + 30 * layer).clip(0, 255).astype("uint8")).filter(ImageFilter.GaussianBlur(3))
        for layer in layers
    ]


def pairs(images):
    digests = [str(number) for number in range(len(images))]
    return near_duplicates(np.stack([gray_thumbnail(image, SIDE) for image in images]), digests).tolist()


def as_jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=20)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        as_jpeg,
        lambda image: ImageEnhance.Brightness(image).enhance(0.7),
        lambda image: image.crop((20, 5, 230, 215)),
        lambda image: image.crop((24, 24, 240, 240)),
        lambda image: image.resize((100, 100)),
    ],
    ids=["jpeg", "brightness", "crop", "corner", "size"],
)
def test_changed_images_are_found(change):
    images = scenes(12)
    assert pairs(images) == []
    assert pairs([*images, change(images[4])]) == [[4, 12]]


def test_handwritten_digits_look_alike_and_are_not_the_same():
    files = sorted(digits_folder().rglob("*.png"))[:400]  # of two classes
    assert pairs([Image.open(file) for file in files]) == []


def test_equal_content_is_no_near_duplicate():
    thumbnails = np.stack([gray_thumbnail(image, SIDE) for image in scenes(1) * 2])
    assert near_duplicates(thumbnails, ["a", "a"]).tolist() == []


def test_nothing_of_nothing():
    assert near_duplicates(np.empty((0, SIDE, SIDE), np.uint8), []).shape == (0, 2)


def test_groups_of_pairs_and_keys():
    groups = link(6, np.array([[0, 3]]), ["a", "b", None, None, "b", None])
    assert groups[0] == groups[3] and groups[1] == groups[4] and len(set(groups.tolist())) == 4


def test_near_duplicates_go_into_one_split_and_are_told(tmp_path, caplog):
    for number, image in enumerate(scenes(30)):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        image.save(folder / f"{number}.png")
        image.crop((10, 10, 225, 225)).save(folder / f"{number}-near.png")
    with caplog.at_level("INFO", "tlkeras"):
        data = prepare_data(DataOptions(data=str(tmp_path)), "MobileNetV2-0.35", image_size=64)
    names = [
        {data.examples[row].name.split("-")[0].removesuffix(".png") for row in rows} for rows in data.splits.values()
    ]
    assert len(set.union(*names)) == sum(map(len, names)) == 30
    assert [(finding.kind, finding.severity) for finding in data.findings] == [("near_duplicates", "note")]
    assert "Data check: 1 minor (near duplicates). python scripts/check_data.py" in caplog.text


def test_images_that_are_alike_by_nature_are_no_copies_of_each_other():
    """A texture: quickly compared, and not put into one split as if all were one image."""
    rng = np.random.default_rng(0)
    wave = 127 + 80 * np.sin(np.arange(SIDE) / 3)[:, None] * np.sin(np.arange(SIDE) / 3)
    alike = (wave + rng.normal(0, 8, (60, SIDE, SIDE))).clip(0, 255).astype("uint8")
    found = near_duplicates(alike, [str(number) for number in range(60)])
    assert len(found) == 59 and len(without_crowds(found, 60)) == 0
    assert len(without_crowds(found[:10], 60)) == 10


def test_what_all_images_share_makes_no_copies():
    """Scans in one frame, of which only the inside tells one from another; two of them are the same scan."""
    rng = np.random.default_rng(0)
    frame = np.ones((SIDE, 1)) * np.where(np.arange(SIDE) % 16 < 4, 40, 180)
    scans = frame + rng.normal(0, 12, (120, SIDE // 4, SIDE // 4)).repeat(4, axis=1).repeat(4, axis=2)
    scans[7] = scans[3] + rng.normal(0, 1, (SIDE, SIDE))
    found = near_duplicates(scans.clip(0, 255).astype("uint8"), [str(number) for number in range(120)])
    assert found.tolist() == [[3, 7]]
