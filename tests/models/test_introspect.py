"""What is read off a model: its backbone and spec, its task, what it takes."""

import keras
import numpy as np
import pytest

from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError
from tlkeras.modalities.image import ImageModality
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import (
    backbone_name,
    backbone_title,
    decoded_input,
    default_unfreeze,
    get_backbone,
    get_spec,
    get_task,
    model_modality,
    without_resizing,
)


@pytest.fixture
def model(tiny, tmp_path) -> keras.Model:
    """Return a model that was saved and loaded again."""
    build_classifier(tiny, 3, weights="none", image_size=8).save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


def test_the_backbone_and_its_spec(model):
    assert get_backbone(model).name == backbone_name(model) == "Tiny"
    assert get_spec(model) == BACKBONES["Tiny"]
    assert backbone_title(model) == "Tiny at 8 px"


def test_phase_2_unfreezes_all_layers_of_small_images(model, tiny):
    assert default_unfreeze(model) == "all"  # 8 px, and Tiny's own size is 16
    assert default_unfreeze(build_classifier(tiny, 3, weights="none", image_size=9)) == "stage3"
    assert BACKBONES["MobileNetV2"].default_unfreeze(112) == "all"
    assert BACKBONES["MobileNetV2"].default_unfreeze(113) == "block_13"
    assert BACKBONES["MobileNetV2"].default_unfreeze(None) == "block_13"  # no images


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_the_task(tiny, task):
    assert get_task(build_classifier(tiny, 3, weights="none", task=task)) == task


def test_what_it_takes(model, noise):
    assert model_modality(model) is ImageModality
    assert decoded_input(model).shape == (None, 8, 8, 3)
    images, part = noise(2, 8), without_resizing(model)
    assert part.input_shape == (None, 8, 8, 3)
    assert np.array_equal(part(images.astype("float32"), training=False), model(images, training=False))


def test_a_model_without_a_backbone_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(UserError, match=r"The model plain has no backbone inside; build it with"):
        get_backbone(model)
