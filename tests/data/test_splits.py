"""Splits: seeded, stratified, complete, and the same when they are read back."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tlkeras.data.example import Example
from tlkeras.data.prepare import prepare_data
from tlkeras.data.splits import draw_per_class, load_split, save_split, split_examples
from tlkeras.errors import UserError


def examples_of(labels, splits=None) -> list[Example]:
    splits = splits or [None] * len(labels)
    return [
        Example(f"{number:05d}.png", label, split)
        for number, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]


def sizes(indices) -> dict[str, int]:
    return {split: len(numbers) for split, numbers in indices.items()}


def assert_partition(indices, count) -> None:
    together = np.concatenate(list(indices.values()))
    assert sorted(together) == list(range(count))
    assert all(numbers.dtype == np.int64 and (np.diff(numbers) > 0).all() for numbers in indices.values())


def test_each_class_keeps_its_fraction_in_each_split():
    examples = examples_of(["a"] * 200 + ["b"] * 100 + ["c"] * 20)
    indices = split_examples(examples, "single_label", (0.2, 0.1), seed=0)
    assert_partition(indices, 320)
    counts = {split: Counter(examples[i].label for i in numbers) for split, numbers in indices.items()}
    assert counts == {
        "train": {"a": 140, "b": 70, "c": 14},
        "validation": {"a": 40, "b": 20, "c": 4},
        "test": {"a": 20, "b": 10, "c": 2},
    }


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("fractions", [(0.15, 0.15), (0.45, 0.45), (0.05, 0.7), (0.8, 0.1), (0.01, 0.01)])
def test_small_classes_are_in_every_split(count, fractions):
    examples = examples_of([f"class {n % 7}" for n in range(7 * count)])
    indices = split_examples(examples, "single_label", fractions, seed=1)
    assert_partition(indices, 7 * count)
    for numbers in indices.values():
        assert {examples[i].label for i in numbers} == {f"class {n}" for n in range(7)}


def test_many_classes_do_not_push_the_splits_off_their_size():
    """10 images of each class at 15 % are 1.5: half of the classes give one, the others two."""
    indices = split_examples(examples_of([str(n % 100) for n in range(1000)]), "single_label", (0.15, 0.15), seed=0)
    assert sizes(indices) == {"train": 700, "validation": 150, "test": 150}


def test_the_seed_decides():
    examples = examples_of(["a", "b"] * 50)
    first, again, other = (split_examples(examples, "single_label", (0.2, 0.2), seed) for seed in (3, 3, 4))
    assert all((first[split] == again[split]).all() for split in first)
    assert any((first[split] != other[split]).any() for split in first)


def test_no_test_split_if_its_fraction_is_zero():
    assert sizes(split_examples(examples_of(["a", "b"] * 5), "single_label", (0.2, 0), 0)) == {
        "train": 8,
        "validation": 2,
    }


def test_classes_with_too_few_images_are_named():
    examples = examples_of(["ant"] * 2 + ["bee"] * 30 + ["cat"])
    with pytest.raises(UserError, match=r"train, validation, test.*ant \(2\), cat \(1\)"):
        split_examples(examples, "single_label", (0.1, 0.1), 0)
    with pytest.raises(UserError, match=r"train, validation, and.*: cat \(1\)"):
        split_examples(examples, "single_label", (0.1, 0), 0)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1, 0.2), (1.5, 0)])
def test_impossible_fractions(fractions):
    with pytest.raises(UserError, match=r"fractions for validation and test are .*Give fractions"):
        split_examples(examples_of(["a", "b"] * 9), "single_label", fractions, 0)


def test_splits_of_the_source_are_kept():
    examples = examples_of(["a", "b"] * 6, ["train"] * 6 + ["test"] * 2 + ["validation"] * 4)
    indices = split_examples(examples, "single_label", (0.5, 0.1), 0)
    assert {split: numbers.tolist() for split, numbers in indices.items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "validation": [8, 9, 10, 11],
        "test": [6, 7],
    }


def test_no_test_is_made_where_the_source_has_validation():
    examples = examples_of(["a", "b"] * 6, ["train"] * 8 + ["validation"] * 4)
    assert sizes(split_examples(examples, "single_label", (0.5, 0.1), 0)) == {"train": 8, "validation": 4}


def test_missing_validation_is_taken_from_train():
    examples = examples_of(["a", "b"] * 50, ["test"] * 20 + ["train"] * 80)
    indices = split_examples(examples, "single_label", (0.25, 0.3), 0)
    assert_partition(indices, 100)
    assert sizes(indices) == {"train": 60, "validation": 20, "test": 20}
    assert indices["test"].tolist() == list(range(20))


def test_regression_splits_cover_the_whole_range():
    values = np.random.default_rng(0).exponential(size=1000)
    indices = split_examples(examples_of(values.tolist()), "regression", (0.2, 0.1), 0)
    assert_partition(indices, 1000)
    assert sizes(indices) == {"train": 700, "validation": 200, "test": 100}
    edges = np.quantile(values, np.linspace(0, 1, 11))
    counts = np.histogram(values[indices["validation"]], edges)[0]
    assert counts.tolist() == [20] * 10


@pytest.mark.parametrize("count", [3, 4, 19, 40])
def test_few_regression_examples(count):
    indices = split_examples(examples_of([float(n) for n in range(count)]), "regression", (0.2, 0.2), 0)
    assert_partition(indices, count)
    assert all(len(numbers) for numbers in indices.values())


def test_too_few_regression_examples():
    with pytest.raises(UserError, match="2 images are too few"):
        split_examples(examples_of([1.0, 2.0]), "regression", (0.2, 0.2), 0)


def test_multi_label_classes_keep_their_fraction():
    rng = np.random.default_rng(0)
    rates = {"sky": 0.7, "tree": 0.4, "dog": 0.1, "owl": 0.02}
    labels = [tuple(sorted(name for name, rate in rates.items() if rng.random() < rate)) for _ in range(2000)]
    examples = examples_of(labels)
    indices = split_examples(examples, "multi_label", (0.15, 0.15), 0)
    assert_partition(indices, 2000)
    assert sizes(indices) == pytest.approx({"train": 1400, "validation": 300, "test": 300}, abs=20)
    total = Counter(name for label in labels for name in label)
    for split in ("validation", "test"):
        counts = Counter(name for i in indices[split] for name in examples[i].label)
        for name in rates:
            assert counts[name] == pytest.approx(0.15 * total[name], abs=0.02 * total[name] + 1)


@pytest.mark.parametrize("seed", range(20))
def test_rare_labels_that_come_together_are_in_every_split(seed):
    labels = [("a", "b")] * 3 + [("b", "c")] * 3 + [("a", "c", "d")] * 3 + [("c",)] * 40 + [()] * 2
    examples = examples_of(labels)
    indices = split_examples(examples, "multi_label", (0.1, 0.1), seed)
    assert_partition(indices, len(labels))
    for numbers in indices.values():
        assert {name for i in numbers for name in examples[i].label} == set("abcd")


@pytest.mark.parametrize("own", [False, True])
def test_copies_stay_together(own):
    """Also where only the validation split is made, of the training images."""
    digests = [str(number % 40) for number in range(120)]  # each content three times
    labels = ["ab"[number % 2] for number in range(120)]
    examples = examples_of([*labels, "a"], [*["train"] * 120, "test"] if own else None)
    indices = split_examples(examples, "single_label", (0.2, 0.2), 0, copies=[*digests, "0"])
    assert_partition(indices, 121)
    split_of = {index: split for split, rows in indices.items() for index in rows.tolist()}
    assert all(split_of[index] == split_of[index % 40] for index in range(120))
    assert sizes(indices)["validation"] == 24


def test_groups_stay_together_and_the_classes_stay_balanced():
    """Patients of 1 to 12 images each, with both classes in most; copies of one image in two groups link these."""
    rng = np.random.default_rng(0)
    groups = [f"patient {number}" for number in range(60) for _ in range(rng.integers(1, 13))]
    labels = rng.choice(["a", "b"], len(groups), p=[0.7, 0.3]).tolist()
    examples = [replace(one, group=group) for one, group in zip(examples_of(labels), groups, strict=True)]
    copies = ["same" if index in (0, len(groups) - 1) else index for index in range(len(groups))]
    indices = split_examples(examples, "single_label", (0.2, 0.2), 0, copies=copies)
    assert_partition(indices, len(groups))
    found = [{groups[index] for index in rows} for rows in indices.values()]
    assert len(set.union(*found)) == sum(map(len, found)) == 60
    assert any({"patient 0", "patient 59"} <= names for names in found)
    rare = labels.count("b") / len(labels)
    for split, fraction in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        assert abs(len(indices[split]) / len(groups) - fraction) < 0.05
        assert abs(np.mean([labels[index] == "b" for index in indices[split]]) - rare) < 0.08


def test_too_few_groups_are_refused_and_never_torn():
    examples = [replace(one, group=one.label) for one in examples_of(["a", "b"] * 20)]
    with pytest.raises(UserError, match="The column group keeps groups together"):
        split_examples(examples, "single_label", (0.2, 0.2), 0)


def test_without_copies_the_split_is_what_it_was():
    examples = examples_of([str(number % 3) for number in range(50)])
    plain = split_examples(examples, "single_label", (0.2, 0.2), 0)
    with_digests = split_examples(examples, "single_label", (0.2, 0.2), 0, copies=[e.name[::-1] for e in examples])
    assert {name: rows.tolist() for name, rows in plain.items()} == {
        name: rows.tolist() for name, rows in with_digests.items()
    }


def test_too_few_different_images_are_split_all_the_same():
    indices = split_examples(examples_of(["a", "b"] * 5), "single_label", (0.2, 0.2), 0, copies=["x", "y"] * 5)
    assert_partition(indices, 10)


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("single_label", ["a, b", "ü"] * 9),
        ("multi_label", [("a", "b"), ("b",), ()] * 9),
        ("regression", [n / 3 for n in range(27)]),
    ],
)
def test_saved_split_is_read_back(task, labels, tmp_path):
    examples = examples_of(labels)
    indices = split_examples(examples, task, (0.2, 0.2), 0)
    save_split(tmp_path / "split.csv", examples, indices, [example.name for example in examples])
    lines = (tmp_path / "split.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "path,label,split,digest"
    assert len(lines) == 1 + len(examples)
    read = load_split(tmp_path / "split.csv", [*examples[::-1], Example("new.png", "a")])
    assert {split: [len(examples) - 1 - i for i in numbers[::-1]] for split, numbers in read.items()} == {
        split: numbers.tolist() for split, numbers in indices.items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


def test_examples_that_are_missing_are_reported(tmp_path):
    examples = examples_of(["a", "b"] * 5)
    save_split(tmp_path / "split.csv", examples, {"train": np.arange(10)}, "abcdefghij")
    with pytest.raises(UserError, match=r"2 of the 10 examples .* the first is 00000.png"):
        load_split(tmp_path / "split.csv", examples[2:])


def test_missing_split_file(tmp_path):
    with pytest.raises(UserError, match="There is no"):
        load_split(tmp_path / "split.csv", [])


def test_a_smaller_draw_is_part_of_a_larger_one_and_each_class_has_its_number():
    examples = examples_of(["a"] * 40 + ["b"] * 20 + ["c"] * 3)
    rows = np.arange(1, 63)
    few, many = (draw_per_class(rows, examples, ["a", "b", "c"], lambda _, n=n: n, seed=0) for n in (2, 5))
    assert Counter(examples[row].label for row in many) == {"a": 5, "b": 5, "c": 3}
    assert set(few) < set(many) <= set(rows) and list(few) == sorted(few)
    assert not np.array_equal(few, draw_per_class(rows, examples, ["a", "b", "c"], lambda _: 2, seed=1))


def test_shots_take_images_from_training_only(noise):
    images, labels = noise(60, 8), ["a", "b", "c"] * 20
    whole, few, again = (prepare_data((images, labels), "MobileNetV2-0.35", 32, shots=n) for n in (None, 4, 4))
    assert Counter(few.examples[row].label for row in few.splits["train"]) == {"a": 4, "b": 4, "c": 4}
    assert set(few.splits["train"]) < set(whole.splits["train"])
    assert all(np.array_equal(few.splits[name], whole.splits[name]) for name in ("validation", "test"))
    assert np.array_equal(few.splits["train"], again.splits["train"])


def test_shots_need_one_class_for_each_image(noise):
    with pytest.raises(UserError, match=r"--shots was 4; it needs one class .* the task is regression. Leave it out."):
        prepare_data((noise(60, 8), np.arange(60.0)), "MobileNetV2-0.35", 32, task="regression", shots=4)
