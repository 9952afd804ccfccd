"""Batches: what each epoch sees, in which order, and that any epoch can be repeated alone."""

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.config.train import AugmentOptions
from tlkeras.data.example import Example
from tlkeras.data.pipeline import (
    SplitData,
    balanced_class_weights,
    evaluation_batches,
    make_targets,
    training_batches,
)

PLAIN = AugmentOptions(flip="none", min_crop_area=1.0, color_jitter=0.0)
BUSY = AugmentOptions(flip="both", min_crop_area=0.5, rotation=20.0, color_jitter=0.3, mixup=0.2, cutmix=1.0)
COUNT, STEPS = 10, 3  # in batches of 4, 4 and 2


@pytest.fixture
def data() -> SplitData:
    """Return every second of 20 images; each has its own target."""
    images = np.random.default_rng(0).integers(0, 256, (2 * COUNT, 8, 8, 3), dtype=np.uint8)
    return SplitData(images, np.arange(1, 2 * COUNT, 2), np.arange(COUNT, dtype="float32")[:, None])


def epochs(data: SplitData, options=PLAIN, first: int = 0, last: int = 1, **arguments) -> list[list[tuple]]:
    settings = {"batch_size": 4, "seed": 0} | arguments
    dataset = training_batches(data, options, first_epoch=first, last_epoch=last, **settings)
    batches = [tuple(np.array(part) for part in batch) for batch in dataset]
    assert len(batches) == STEPS * (last - first)
    return [batches[start : start + STEPS] for start in range(0, len(batches), STEPS)]


def order(epoch: list[tuple]) -> list[int]:
    return np.concatenate([batch[1] for batch in epoch])[:, 0].astype(int).tolist()


def equal(one: list[list[tuple]], other: list[list[tuple]]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True))


def test_each_epoch_sees_every_image_once_in_another_order(data):
    orders = [order(epoch) for epoch in epochs(data, last=4)]
    assert [sorted(seen) for seen in orders] == [list(range(COUNT))] * 4
    assert len({tuple(seen) for seen in orders}) == 4


def test_images_stay_with_their_targets_and_keep_their_pixels(data):
    (epoch,) = epochs(data)
    assert [len(images) for images, _ in epoch] == [4, 4, 2]
    for images, targets in epoch:
        assert images.dtype == np.float32
        assert np.array_equal(images, data.inputs[2 * targets[:, 0].astype(int) + 1])


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(data):
    assert equal(epochs(data, BUSY, last=2, seed=3), epochs(data, BUSY, last=2, seed=3))
    assert not equal(epochs(data, BUSY, last=2, seed=3), epochs(data, BUSY, last=2, seed=4))


def test_an_epoch_is_the_same_when_training_starts_with_it(data):
    assert equal(epochs(data, BUSY, first=3, last=5), epochs(data, BUSY, last=5)[3:])


def test_augmentation_is_new_in_every_epoch(data):
    options = AugmentOptions(flip="none", min_crop_area=0.5, color_jitter=0.0)
    first, second = epochs(data, options, last=2)
    one, other = (
        dict(zip(order(epoch), np.concatenate([x for x, _ in epoch]), strict=True)) for epoch in (first, second)
    )
    assert not any(np.array_equal(one[number], other[number]) for number in range(COUNT))


def test_evaluation_is_in_order_and_untouched(data):
    images, targets = (np.concatenate(parts) for parts in zip(*evaluation_batches(data, 4), strict=True))
    assert np.array_equal(images, data.inputs[1::2])
    assert np.array_equal(targets, data.targets)


def test_a_sample_has_images_from_all_over(data):
    images, targets = data.spread(4)
    assert len(images) == len(targets) == 4
    assert np.array_equal(images[-1], data.take(np.array([len(data) - 1]))[0][0])
    assert len(data.spread(1000)[0]) == len(data)


def test_shapes_are_known_before_the_first_batch(data):
    for dataset in (training_batches(data, BUSY, batch_size=4, first_epoch=0, last_epoch=1, seed=0),
                    evaluation_batches(data, 4)):  # fmt: skip
        images, targets = dataset.element_spec
        assert (images.shape.as_list(), images.dtype) == ([None, 8, 8, 3], tf.float32)
        assert (targets.shape.as_list(), targets.dtype) == ([None, 1], tf.float32)


def test_class_weights_become_weights_of_examples(data):
    classes = np.arange(COUNT) % 2
    data = SplitData(data.inputs, data.rows, np.eye(2, dtype="float32")[classes])
    (epoch,) = epochs(data, class_weights=np.array([0.5, 3.0], "float32"))
    for _, targets, weights in epoch:
        assert weights.shape == (len(targets),)
        assert np.array_equal(weights, np.where(targets[:, 1] == 1, 3.0, 0.5))


def test_balanced_class_weights_let_each_class_count_the_same():
    targets = np.eye(3, dtype="float32")[[0] * 6 + [1] * 2 + [2]]
    weights = balanced_class_weights(targets, "single_label")
    assert weights * [6, 2, 1] == pytest.approx([3, 3, 3])


def test_of_several_labels_each_is_balanced_by_itself(data):
    """Being absent counts as much as being present; what is never seen, or always, has no weights to balance."""
    targets = np.zeros((COUNT, 3), "float32")
    targets[: COUNT // 4, 0], targets[:, 2] = 1, 1
    weights = balanced_class_weights(targets, "multi_label")
    fraction = (COUNT // 4) / COUNT
    assert weights == pytest.approx(np.array([[0.5 / (1 - fraction), 1, 1], [0.5 / fraction, 1, 1]]))
    data = SplitData(data.inputs, data.rows, targets)
    (epoch,) = epochs(data, class_weights=weights)
    for _, seen, given in epoch:
        assert given == pytest.approx(np.where(seen == 1, weights[1], weights[0]))


def test_targets_of_each_task():
    def examples(*labels):
        return [Example(f"{number}.png", label) for number, label in enumerate(labels)]

    assert make_targets(examples("b", "a"), "single_label", ["a", "b"]).tolist() == [[0, 1], [1, 0]]
    several = make_targets(examples(("c", "a"), (), ("b",)), "multi_label", ["a", "b", "c"])
    assert several.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    numbers = make_targets(examples(1.5, -2.0), "regression", [])
    assert (numbers.tolist(), numbers.dtype) == ([[1.5], [-2.0]], np.float32)
