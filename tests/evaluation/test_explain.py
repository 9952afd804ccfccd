"""Maps lie where the class is, of saved models too, and the checks of maps tell good ones from bad ones."""

import keras
import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.evaluation.explain import class_maps, deletion_scores, overlay, sanity_check
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone

METHODS = ["grad-cam", "grad-cam++", "occlusion"]
SIZE, SIDE = 32, 8
each = pytest.mark.parametrize("method", METHODS)


def small_backbone(pooled: bool = False) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 32)(inputs)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x) if pooled else x, name="small")


def squares(presence: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return dim noise with a bright red (class 0) and blue (class 1) square, and their corners `(N, 2, 2)`."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (len(presence), SIZE, SIZE, 3), dtype=np.uint8)
    corners = np.stack(  # red above, blue below, so that they never meet
        [rng.integers(0, [SIZE // 2 - SIDE + 1, SIZE - SIDE + 1], (len(presence), 2)) for _ in range(2)], axis=1
    )
    corners[:, 1, 0] += SIZE // 2
    for image, row, places in zip(images, presence, corners, strict=True):
        for there, channel, (top, left) in zip(row, (0, 2), places, strict=True):
            if there:
                image[top : top + SIDE, left : left + SIDE, channel] = 255
    return images, corners


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Return a model that was trained to see whether there is a red square, and whether there is a blue one."""
    keras.utils.set_random_seed(0)
    presence = np.random.default_rng(0).integers(0, 2, (128, 2))
    images, _ = squares(presence, seed=1)
    built = build_classifier(small_backbone(), 2, task="multi_label", dropout=0.0)
    get_backbone(built).trainable = True
    built.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    built.fit(images, presence, epochs=30, batch_size=32, verbose=0)
    assert built.evaluate(images, presence, verbose=0) < 0.1
    return built


@pytest.fixture(scope="module")
def both() -> tuple[np.ndarray, np.ndarray]:
    return squares(np.ones((6, 2), int), seed=2)


def mass_inside(maps: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the fraction of each map's mass in the square and 4 pixels around it."""
    inside = []
    for one, (top, left) in zip(maps, corners, strict=True):
        window = one[max(top - 4, 0) : top + SIDE + 4, max(left - 4, 0) : left + SIDE + 4]
        inside.append(window.sum() / one.sum())
    return np.array(inside)


@each
def test_the_map_lies_on_the_class_that_is_asked_for(model, both, method, tmp_path):
    images, corners = both
    model.save(tmp_path / "model.keras")
    for one in (model, keras.models.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)):
        for index in range(2):
            maps = class_maps(one, images, [index] * len(images), method, batch_size=4)
            assert maps.shape == images.shape[:3] and maps.dtype == "float32"
            np.testing.assert_allclose(maps.max(axis=(1, 2)), 1.0)
            assert maps.min() >= 0
            assert mass_inside(maps, corners[:, index]).min() > 0.7
            assert mass_inside(maps, corners[:, 1 - index]).max() < 0.35


@each
def test_only_the_center_square_has_a_map(model, both, method):
    wide = np.pad(both[0][:1], ((0, 0), (0, 0), (10, 10), (0, 0)))
    maps = class_maps(model, wide, [0], method)
    np.testing.assert_allclose(maps[:, :, 10:-10], class_maps(model, both[0][:1], [0], method), atol=1e-4)
    assert not maps[:, :, :10].any() and not maps[:, :, -10:].any()


def test_the_gradient_is_of_the_logit(model, both):
    """A class that is certain has no gradient of its probability left."""
    expected = class_maps(model, both[0], [0] * 6, "grad-cam")
    output = model.get_layer("output")
    kernel, bias = output.get_weights()
    output.set_weights([kernel, bias + 1000])
    try:
        np.testing.assert_allclose(class_maps(model, both[0], [0] * 6, "grad-cam"), expected, atol=1e-5)
    finally:
        output.set_weights([kernel, bias])


def test_checks_tell_good_maps_from_bad_ones(model, both):
    images, _ = both
    before = model.get_weights()
    assert sanity_check(model, images, [0] * 6) < 0.6
    assert all(map(np.array_equal, model.get_weights(), before))
    maps = class_maps(model, images, [0] * 6)
    good, inverted = (deletion_scores(model, images, [0] * 6, one) for one in (maps, 1 - maps))
    assert good.shape == (6,) and good.mean() < inverted.mean() - 0.2


def test_a_backbone_that_ends_in_a_vector_is_explained_by_occlusion_alone(both):
    pooled = build_classifier(small_backbone(pooled=True), 3)
    with pytest.raises(UserError, match=r'ends in a vector .* Use the method "occlusion"'):
        class_maps(pooled, both[0], [0] * 6)
    pooled.get_layer("output").set_weights([np.ones((16, 3)), np.zeros(3)])
    assert class_maps(pooled, both[0], [0] * 6, "occlusion").shape == both[0].shape[:3]


@pytest.mark.parametrize("pooling", ["max", "both"])
def test_other_poolings_and_regression(both, pooling):
    keras.utils.set_random_seed(1)
    regressor = build_classifier(small_backbone(), 1, task="regression", pooling=pooling, target_mean=5, target_std=2)
    output = regressor.get_layer("output")
    output.set_weights([np.ones(output.kernel.shape), np.zeros(1)])
    for method in METHODS:
        assert class_maps(regressor, both[0], [0] * 6, method).max() == 1.0


@pytest.mark.parametrize(
    ("images", "classes", "method", "message"),
    [
        (np.zeros((2, 8, 8, 3)), [0, 0], "lime", "The method was lime; it must be one of grad-cam"),
        (np.zeros((2, 8, 8)), [0, 0], "grad-cam", r"shape \(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 3)), [0], "grad-cam", "one class for each"),
        (np.zeros((2, 8, 8, 3)), [0, 2], "grad-cam", "Classes from 0 to 2 were given; the model has 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(model, images, classes, method, message):
    with pytest.raises(UserError, match=message):
        class_maps(model, images, classes, method)


def test_an_overlay_colors_only_what_matters():
    images = np.full((1, 4, 4, 3), 90, "uint8")
    maps = np.zeros((1, 4, 4), "float32")
    maps[0, 0, 0] = 1
    images_with_maps = overlay(images, maps)
    assert images_with_maps.dtype == np.uint8 and images_with_maps.shape == images.shape
    assert (images_with_maps[0, 1:] == 90).all()
    assert images_with_maps[0, 0, 0, 0] > images_with_maps[0, 0, 0, 2]  # red


@pytest.mark.parametrize(("way", "seen"), [("crop", slice(32, 64)), ("pad", slice(96)), ("squash", slice(96))])
@pytest.mark.parametrize("turned", [False, True])
def test_maps_of_elongated_images_lie_where_the_model_looks(way, seen, turned):
    """The backbone is the image, so the map of what is bright is the image itself, wherever the bright spot is."""
    inputs = keras.Input((SIZE, SIZE, 3))
    bright = build_classifier(keras.Model(inputs, keras.layers.ReLU()(inputs), name="itself"), 2, resize=way)
    bright.get_layer("output").kernel.assign(np.eye(3, 2))
    images = np.zeros((1, 32, 96, 3), np.uint8)
    images[:, 12:20, 4:20] = images[:, 12:20, 40:56] = 255
    expected = np.zeros((1, 32, 96))
    expected[:, :, seen] = images[:, :, seen, 0] / 255
    if turned:
        images, expected = images.swapaxes(1, 2), expected.swapaxes(1, 2)
    (found,) = class_maps(bright, images, [0])
    assert found.max() == 1 and np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8
    assert found[expected[0] == 0].mean() < 0.1 and found[expected[0] == 1].mean() > 0.6
