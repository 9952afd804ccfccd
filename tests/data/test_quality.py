"""The same image twice is told by its content, whatever its name."""

import numpy as np
from PIL import Image

from tlkeras.config.data import DataOptions
from tlkeras.data.example import Example
from tlkeras.data.prepare import prepare_data
from tlkeras.data.quality import content_digests, find_class_problems, find_copies, find_split_groups, summary
from tlkeras.modalities.image import ImageModality

IMAGES = np.arange(5 * 4 * 4 * 3, dtype="uint8").reshape(5, 4, 4, 3)
TWICE = IMAGES[[0, 1, 2, 3, 0, 1, 2]]


def notes(labels, splits):
    examples = [Example(f"{number}.png", label) for number, label in enumerate(labels)]
    return [one.text for one in find_copies(examples, content_digests(TWICE), splits, ImageModality)]


def test_copies_are_told_by_where_they_are_and_what_they_are_called():
    splits = {"train": [0, 1, 2, 3, 5, 6], "test": [4]}
    leak, doubt, plain = notes(["a", "a", "a", "b", "a", "b", "a"], splits)
    assert leak.startswith("1 image appears in more than one split")
    assert "0.png = 4.png" in leak and "several labels" in doubt and "1.png = 5.png" in doubt
    assert "more than once" in plain and "2.png = 6.png" in plain


def test_nothing_is_said_where_all_differ():
    examples = [Example(f"{number}.png", "a") for number in range(5)]
    assert find_copies(examples, content_digests(IMAGES), {"train": range(5)}, ImageModality) == []
    assert len(content_digests(np.array(["one", "two"], object))) == 2


def test_preparing_data_names_classes_and_copies_and_keeps_copies_in_one_split(tmp_path, noise, caplog):
    for number, pixels in enumerate(noise(40, 8)):
        for copy in ("", " (1)"):
            path = tmp_path / "ab"[number % 2] / f"{number}{copy}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    with caplog.at_level("INFO", "tlkeras"):
        data = prepare_data(DataOptions(data=str(tmp_path)), "MobileNetV2-0.35", image_size=32)
    assert "Classes: a, b." in caplog.text
    assert "40 images appear more than once, in one split" in caplog.text and "more than one split" not in caplog.text
    assert {finding.kind for finding in data.findings} == {"duplicates"}  # they are not told twice
    rows = [set(np.array(data.digests)[rows]) for rows in data.splits.values()]
    assert len(set.union(*rows)) == sum(map(len, rows)) == 40


def test_groups_that_the_own_splits_tear_apart():
    examples = [Example(f"{number}.png", "a", group=group) for number, group in enumerate(["x", "x", "y", None, None])]
    (finding,) = find_split_groups(examples, {"train": [0, 2, 3], "test": [1, 4]})
    assert finding.severity == "serious" and finding.paths == ["0.png", "1.png"] and "1 of 2 groups" in finding.text
    assert find_split_groups(examples, {"train": [0, 1, 3], "test": [2, 4]}) == []


def test_small_and_unequal_classes():
    examples = [Example(f"{number}.png", "few" if number < 9 else "many") for number in range(109)]
    small, unequal = find_class_problems(examples, ["few", "many"], ImageModality)
    assert small.severity == "serious" and "few (9)" in small.text and "many has 100 images" in unequal.text
    assert summary([small, unequal]) == "1 serious (small classes); 1 minor (imbalance)"
    assert find_class_problems(examples[9:19], ["many"], ImageModality) == []
