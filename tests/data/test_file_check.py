"""Each oddity of a file is found by its kind, and ordinary files are not mentioned."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tlkeras.data.example import Example
from tlkeras.data.file_check import find_file_problems, look_at, look_at_all
from tlkeras.modalities.image import ImageModality


@pytest.fixture
def files(tmp_path, noise):
    """Return examples of ten ordinary images."""
    for number, pixels in enumerate(noise(10, 60, 80)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return [Example(path.name, "a", path=path) for path in sorted(tmp_path.iterdir())]


def kinds(examples):
    found = find_file_problems(examples, look_at_all(examples), ImageModality)
    return {finding.kind: finding.paths for finding in found}


def test_ordinary_images(files):
    assert kinds(files) == {}


def gray(image):
    return image.convert("L").convert("RGB")


@pytest.mark.parametrize(
    ("kind", "change", "options"),
    [
        ("wrong_extension", lambda image: image, {"format": "JPEG"}),
        ("rotated", lambda image: image, {"exif": {0x0112: 6}}),
        ("odd_sizes", lambda image: image.resize((60, 240)), {}),
        ("odd_sizes", lambda image: image.resize((400, 300)).filter(ImageFilter.DETAIL), {}),
        ("blank", lambda image: Image.new("RGB", image.size, "navy"), {}),
        ("blurred", lambda image: Image.linear_gradient("L").resize(image.size).convert("RGB"), {}),
        ("gray", gray, {}),
    ],
)  # fmt: skip
def test_one_odd_image(files, kind, change, options):
    path = files[3].path
    with Image.open(path) as image:
        image = change(image.copy())
    if tags := options.get("exif"):
        exif = Image.Exif()
        exif.update(tags)
        options = {"exif": exif}
    image.save(path, **options)
    assert kinds(files)[kind] == ["3.png"]
    (finding,) = [one for one in find_file_problems(files, look_at_all(files), ImageModality) if one.kind == kind]
    assert finding.text.startswith("1 image is ") and finding.text.endswith(", such as 3.png.")
    assert set(kinds(files)) <= {kind, "gray"}  # a single color is gray or not, as it comes


def test_gray_images_among_gray_ones_are_ordinary(files):
    for example in files[:6]:
        with Image.open(example.path) as image:
            gray(image).save(example.path)
    assert "gray" not in kinds(files)


def test_damaged_files_have_a_reason(files):
    whole = files[0].path.read_bytes()
    for content, reason in ((whole[: len(whole) // 2], "truncated"), (b"", "empty file"), (b"text", "not a valid")):
        files[0].path.write_bytes(content)
        assert reason in look_at(files[0]).reason


def test_pixels_in_memory_and_equal_content(noise):
    one, two, three = (look_at(Example("0", "a", content=pixels)) for pixels in noise(2, 32)[[0, 0, 1]])
    assert one.digest == two.digest != three.digest and one.size == (32, 32) and not one.reason
    np.testing.assert_array_equal(one.thumbnail, two.thumbnail)
