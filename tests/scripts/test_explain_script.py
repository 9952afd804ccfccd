"""explain.py: a PNG for each image, a line for each, and sentences for what cannot be explained."""

import numpy as np
import pytest
from PIL import Image

import tlkeras


@pytest.mark.parametrize("method", ["grad-cam", "occlusion"])
def test_it_writes_a_file_for_each_image(call, trained, colors, tmp_path, method):
    paths = [colors / "red" / "1.png", colors / "red" / "broken.png", colors / "blue" / "1.png"]
    answer = call("explain.py", trained.path, *paths, "--method", method, "--class", "blue", "--output", "maps")
    assert answer.code in (0, None), answer.err
    first, broken, second, last = answer.out.splitlines()
    assert first.startswith(f"{paths[0]}  blue 0.") and first.endswith(f"0001_1_{method}.png")
    assert broken.startswith(f"{paths[1]}  unreadable: ") and second.startswith(f"{paths[2]}  blue 0.")
    assert last == "Maps: maps"
    written = sorted((tmp_path / "maps").iterdir())
    assert [path.name for path in written] == [f"0001_1_{method}.png", f"0003_1_{method}.png"]
    assert np.ptp(np.asarray(Image.open(written[0]).convert("RGB"))) > 100


def test_the_most_likely_class_is_explained(trained, colors):
    (explanation,) = tlkeras.explain(trained.path, colors / "red" / "1.png")
    (prediction,) = tlkeras.predict(trained.path, colors / "red" / "1.png")
    assert (explanation.label, explanation.score) == prediction.scores[0]
    assert explanation.map.shape == explanation.image.shape[:2] and explanation.image.dtype == np.uint8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--class", "pink"), "has no class pink. It has blue, green, red."),
        (("--output", "file"), "--output was file, and file is a file. Give a folder."),
        (("--output", "file/below"), "--output was file/below, and file is a file. Give a folder."),
    ],
)
def test_mistakes_are_sentences(call, trained, colors, tmp_path, words, message):
    (tmp_path / "file").touch()
    answer = call("explain.py", trained.path, colors / "red" / "1.png", *words)
    assert answer.code and message in answer.err and "Traceback" not in answer.err


def test_the_check_says_whether_maps_can_be_trusted(call, trained, colors):
    answer = call("explain.py", trained.path, colors / "red", "--check", "--method", "occlusion")
    count, score = answer.out.splitlines()[-2:]
    assert count.startswith("Correlation with maps of shuffled weights: ") and score.startswith("Deletion score: ")
    assert "images)" in count and max(len(count), len(score)) <= 80


def test_nothing_is_written_where_nothing_can_be_read(call, trained, colors, tmp_path):
    answer = call("explain.py", trained.path, colors / "red" / "broken.png", "--output", "maps")
    assert answer.code and "None of these images can be read" in answer.err and not (tmp_path / "maps").exists()
