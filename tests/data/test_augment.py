"""Augmentation: each option does what it says, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tlkeras.config.train import AugmentOptions
from tlkeras.data.augment import GRAY, augment, augment_image, color_jitter

OFF = {"flip": "none", "min_crop_area": 1.0, "rotation": 0.0, "color_jitter": 0.0, "mixup": 0.0, "cutmix": 0.0}
SIZE, COUNT = 16, 64


@pytest.fixture
def originals(noise) -> np.ndarray:
    return noise(COUNT, SIZE)


def changed(images: np.ndarray, seed: int = 0, threads: int = 2, **options) -> tuple[np.ndarray, np.ndarray]:
    """Return augmented images and targets; each image is a class of its own."""
    targets = np.eye(len(images), dtype="float32")
    with ThreadPoolExecutor(threads) as executor:
        images, targets = augment(
            images, targets, AugmentOptions(**OFF | options), np.random.default_rng(seed), executor
        )
    assert (images.dtype, targets.dtype) == (np.uint8, np.float32)
    return images, targets


def plain(*values: int) -> np.ndarray:
    """Return images of one gray each."""
    return np.stack([np.full((SIZE, SIZE, 3), value, "uint8") for value in values])


def ramp() -> np.ndarray:
    """Return images that go from 0 at the left to 240 at the right."""
    row = np.linspace(0, 240, SIZE).astype("uint8")
    return np.tile(row[None, None, :, None], (COUNT, SIZE, 1, 3))


def test_off_changes_no_pixel(originals):
    images, targets = changed(originals)
    assert np.array_equal(images, originals)
    assert np.array_equal(targets, np.eye(COUNT))


@pytest.mark.parametrize("options", [{}, {"mixup": 0.5}, {"cutmix": 0.5}])
def test_inputs_are_not_changed_in_place(originals, options):
    before = originals.copy()
    changed(originals, flip="both", min_crop_area=0.5, rotation=30, color_jitter=0.5, **options)
    assert np.array_equal(originals, before)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_same_generator_gives_the_same_images_on_any_number_of_threads(originals, threads):
    options = {"flip": "both", "min_crop_area": 0.5, "rotation": 30, "color_jitter": 0.5, "mixup": 0.5, "cutmix": 0.5}
    one, other = changed(originals, threads=threads, **options), changed(originals, threads=1, **options)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0], changed(originals, seed=1, **options)[0])


@pytest.mark.parametrize(
    ("flip", "mirrors"),
    [("horizontal", [np.s_[:, :], np.s_[:, ::-1]]),
     ("both", [np.s_[:, :], np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1]])],
)  # fmt: skip
def test_flip_gives_the_image_or_its_mirror_equally_often(originals, flip, mirrors):
    images, _ = changed(originals, flip=flip)
    found = [[np.array_equal(image, original[mirror]) for mirror in mirrors]
             for image, original in zip(images, originals, strict=True)]  # fmt: skip
    assert np.sum(found, axis=1).tolist() == [1] * COUNT
    assert np.mean(found, axis=0) == pytest.approx(1 / len(mirrors), abs=0.15)


def test_crop_keeps_the_minimum_area(originals):
    images, _ = changed(ramp(), min_crop_area=0.5)
    widths = np.ptp(images[:, 0, :, 0].astype(int), axis=1) / 240
    assert (np.diff(images[:, 0, :, 0].astype(int), axis=1) >= 0).all()
    assert widths.min() > np.sqrt(0.5 * 3 / 4) - 1.5 / SIZE
    assert widths.min() < 0.75
    assert widths.max() > 0.95
    images, _ = changed(originals // 4 + 90, min_crop_area=0.3)
    assert (images.min(), images.max()) >= (90, 90)
    assert images.max() <= 153


def test_crop_keeps_colors():
    assert np.array_equal(changed(plain(0, 77, 255), min_crop_area=0.2)[0], plain(0, 77, 255))


def test_rotation_leaves_no_black_corners():
    assert changed(plain(*[255] * COUNT), rotation=180)[0].min() == 255


def test_rotation_goes_up_to_its_angle_either_way():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    for number, turns in ((0.0, -1), (0.5, 0), (1.0, 1)):
        turned = augment_image(image, np.full(10, number), AugmentOptions(**OFF | {"rotation": 90.0}))
        assert np.abs(turned.astype(int) - np.rot90(image, turns)).max() <= 1


def test_a_view_of_a_padded_image_shows_the_image_between_dark_bars():
    """With all changes on: the image stays in sight, and the bars stay flat and darker than it."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[22:42] = (150, 170, 190)
    views, _ = changed(np.stack([image] * 50), flip="both", rotation=10, min_crop_area=0.7, color_jitter=0.3)
    middle = views[:, 24:40, 24:40].mean((1, 2, 3))
    assert middle.min() > 60
    assert (views[:, :4, 28:36].max((1, 2, 3)) < 0.5 * middle).all()


def test_brightness_stays_within_its_factor():
    images, _ = changed(plain(*[100] * COUNT), color_jitter=0.2)
    assert np.ptp(images, axis=(1, 2, 3)).max() <= 1  # contrast and saturation do nothing to an even gray
    assert images.min() >= 80
    assert images.max() <= 120
    assert images.min() < 85
    assert images.max() > 115


def test_brightness_contrast_and_saturation():
    pixels = np.random.default_rng(0).integers(90, 160, (SIZE, SIZE, 3), dtype=np.uint8)
    image, mean = Image.fromarray(pixels), (pixels @ GRAY).mean()
    gray = (pixels @ GRAY)[:, :, None]
    for factors, expected in (
        ((1, 1, 1), pixels),
        ((1.2, 1, 1), 1.2 * pixels),
        ((1, 0.5, 1), mean + 0.5 * (pixels - mean)),
        ((1, 1, 1.3), gray + 1.3 * (pixels - gray)),
        ((1, 1, 0), np.repeat(gray, 3, axis=2)),
    ):
        assert np.abs(np.asarray(color_jitter(image, factors)) - expected).max() < 2


def test_colors_are_clipped_not_wrapped_around():
    image = Image.fromarray(np.tile(np.array([250, 5, 120], "uint8"), (SIZE, SIZE, 1)))
    assert np.asarray(color_jitter(image, (1.5, 1, 1))).max() == 255
    assert np.asarray(color_jitter(image, (1, 1, 1.9))).min() == 0


def test_mixup_mixes_pixels_and_targets_alike():
    images, targets = changed(plain(0, 0, 200, 200), mixup=1.0)
    assert targets.sum(axis=1) == pytest.approx(1)
    assert np.ptp(images, axis=(1, 2, 3)).max() == 0
    assert images[:, 0, 0, 0] == pytest.approx(200 * targets[:, 2:].sum(axis=1), abs=0.5)
    assert 0 < images[0, 0, 0, 0] < 200


def test_cutmix_targets_are_the_fractions_of_the_pixels():
    fractions = []
    for seed in range(20):
        images, targets = changed(plain(0, 0, 200, 200), cutmix=1.0, seed=seed)
        assert set(np.unique(images)) <= {0, 200}
        assert (images == 200).mean(axis=(1, 2, 3)) == pytest.approx(targets[:, 2:].sum(axis=1), abs=1e-6)
        assert targets.sum(axis=1) == pytest.approx(1)
        fractions += targets[:2, 2:].sum(axis=1).tolist()
    assert min(fractions) < 0.1
    assert max(fractions) > 0.5


def test_with_both_a_batch_has_mixup_or_cutmix():
    batches = [changed(plain(0, 200), mixup=1.0, cutmix=1.0, seed=seed)[0] for seed in range(20)]
    blended = {not set(np.unique(images)) <= {0, 200} for images in batches}
    assert blended == {True, False}


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_a_batch_of_one_image_has_nothing_to_mix_with(originals, mix):
    images, targets = changed(originals[:1], **{mix: 1.0})
    assert np.array_equal(images, originals[:1])
    assert targets == pytest.approx(1)
