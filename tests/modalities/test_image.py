"""Decoding images: every format and color mode gives the colors that a person sees."""

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.data import DataOptions
from tlkeras.data.prepare import find_data
from tlkeras.errors import UserError
from tlkeras.modalities.base import DecodeError
from tlkeras.modalities.image import ImageModality, decode, find_gray_range, glance, read_rgb, resize_to_square

COLOR = (200, 60, 20)
each_way = pytest.mark.parametrize("way", ["crop", "pad", "squash"])
TOLERANCE = 4  # gray levels that JPEG and WebP may lose on flat color


def encode(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photo(width: int, height: int) -> Image.Image:
    """Return a smooth colorful image, like a photograph without noise."""
    y, x = np.mgrid[0:height, 0:width] / 40.0
    waves = [np.sin(x) * np.cos(y), np.sin(x / 2 + 1), np.cos((x + y) / 3)]
    return Image.fromarray((128 + 110 * np.stack(waves, -1)).astype(np.uint8))


def quarters() -> Image.Image:
    """Return 16 x 8 pixels: red and green above, blue and white below."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4, :8], pixels[:4, 8:], pixels[4:, :8], pixels[4:, 8:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3
    return Image.fromarray(pixels)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("as_file", [True, False])
def test_every_format_keeps_its_colors(format, as_file, tmp_path):
    content = encode(Image.new("RGB", (20, 10), COLOR), format)
    path = tmp_path / "image.JPG"  # what counts is the content, not the name
    path.write_bytes(content)
    image = read_rgb(path if as_file else content)
    assert (image.mode, image.size) == ("RGB", (20, 10))
    assert np.abs(np.asarray(image).astype(int) - COLOR).max() <= TOLERANCE


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "TIFF"])
def test_gray_becomes_three_equal_channels(format):
    assert read_rgb(encode(Image.new("L", (4, 4), 77), format)).getpixel((0, 0)) == (77, 77, 77)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_black_and_white(format):
    image = Image.new("1", (4, 4))
    image.putpixel((1, 0), 1)
    assert [read_rgb(encode(image, format)).getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_composited_on_white(format):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.paste((255, 0, 0, 128), (2, 0, 4, 4))
    read = read_rgb(encode(image, format, **({"lossless": True} if format == "WEBP" else {})))
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((3, 0)) == (255, 127, 127)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_gray_with_alpha_is_composited_on_white(format):
    assert read_rgb(encode(Image.new("LA", (4, 4), (0, 128)), format)).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_transparent_palette_color_becomes_white(format):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, *COLOR])
    image.paste(1, (2, 0, 4, 4))
    read = read_rgb(encode(image, format, transparency=0))
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((3, 0)) == COLOR


def test_palette_with_alpha_for_each_color():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert read_rgb(encode(image, "PNG", transparency=bytes([255, 128]))).getpixel((0, 0)) == (255, 127, 127)


def test_gray_png_with_a_transparent_level():
    assert read_rgb(encode(Image.new("L", (4, 4), 9), "PNG", transparency=9)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("dtype", "format"), [("<u2", "PNG"), ("<u2", "TIFF"), (">u2", "TIFF"), ("<i4", "TIFF")])
def test_16_bit_gray_is_scaled_to_8_bit(dtype, format):
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=dtype)
    read = np.asarray(read_rgb(encode(Image.fromarray(values), format)))
    assert read[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (read == read[..., :1]).all()


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 255, (0, 255)),
        (3, 1020, (0, 1023)),
        (0, 4095, (0, 4095)),
        (0, 4096, (0, 16383)),
        (0, 65535, (0, 65535)),
        (0, 1e6, (0, 1_000_000)),
        (0.1, 0.9, (0, 1)),
        (-0.02, 1.02, (0, 1)),
        (-1, 1, (-1, 1)),
        (-1024, 3071, (-1024, 3071)),
        (-0.5, -0.5, (-1, 0)),
    ],
)
def test_black_and_white_of_gray_with_more_than_8_bits(low, high, found):
    assert find_gray_range(low, high) == found


@pytest.mark.parametrize(
    ("dtype", "format", "scale", "offset"),
    [
        ("uint16", "PNG", 16, 0),  # 12 bits
        ("uint16", "TIFF", 4, 0),  # 10 bits
        ("uint16", "PNG", 1, 0),
        ("int32", "TIFF", 1, 0),
        ("float32", "TIFF", 16, 0),
        ("float32", "TIFF", 257, 0),
        ("float32", "TIFF", 1 / 255, 0),
        ("int16", "TIFF", 8, -1024),
    ],
)
def test_a_dataset_of_gray_images_is_neither_black_nor_white(dtype, format, scale, offset, tmp_path, caplog):
    levels = np.linspace(0, 255, 256).reshape(16, 16)
    for number in range(6):
        path = tmp_path / "ab"[number % 2] / f"{number}.{format.lower()}"
        path.parent.mkdir(exist_ok=True)
        dimmed = levels / (1 + number // 2)
        Image.fromarray((dimmed * scale + offset).astype(dtype)).save(path)
    with caplog.at_level("INFO", "tlkeras"):
        found = find_data(DataOptions(data=str(tmp_path)), get_backbone_spec("MobileNetV2-0.35"), 32, 0)
    assert "--gray-range [BLACK,WHITE]" in caplog.text
    images = [
        found.modality.read(example.path) for example in sorted(found.listing.examples, key=lambda e: e.path.name)
    ]
    assert len(np.unique(images[0])) > 120 and images[0].max() > 245
    # One scene in half the light stays half as bright.
    assert np.abs(images[2].astype(int) - images[0] / 2).max() <= 2
    restored = ImageModality.from_config(json.loads(json.dumps(found.modality.options())))
    assert restored == found.modality and restored.gray_range


def test_the_gray_range_can_be_given(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.array([[0, 100, 200, 400]], "uint16")).save(tmp_path / name / f"{number}.png")
    spec = get_backbone_spec("MobileNetV2-0.35")
    found = find_data(DataOptions(data=str(tmp_path), gray_range=[100, 200]), spec, 32, 0)
    assert found.modality.gray_range == (100, 200)
    with pytest.raises(UserError, match=r"--gray-range was \[200, 100\]; give black and white, two rising numbers"):
        find_data(DataOptions(data=str(tmp_path), gray_range=[200, 100]), spec, 32, 0)


@each_way
def test_thumbnails_are_of_the_image_alone(way, noise):
    """Bars beside images would make all of them look alike."""
    modality, images = ImageModality(64, resize=way), [noise(1, 20, 80)[0], 255 - noise(1, 20, 80)[0]]
    one, other = modality.thumbnails(np.stack([modality.read(image) for image in images]), 16).reshape(2, -1)
    assert np.corrcoef(one, other)[0, 1] < -0.9
    assert modality.thumbnails(np.zeros((1, 64, 64, 3), np.uint8), 16).max() == 0


def test_the_way_to_squares_of_a_run():
    options = ImageModality(32, resize="pad").options()
    assert options["resize"] == "pad" and ImageModality.from_config(options).resize == "pad"
    assert ImageModality.from_config({"image_size": 32}).resize == "crop"  # of earlier versions
    with pytest.raises(TypeError):
        ImageModality.from_config({"image_size": 32, "resize": "auto"})


@pytest.mark.parametrize("damaged", [[1], "ab", [5, 1], [0.5, 1], ["a", "b"]])
def test_damaged_gray_range_of_a_run(damaged):
    with pytest.raises(TypeError):
        ImageModality.from_config({"image_size": 32, "gray_range": damaged})


@pytest.mark.parametrize(("width", "said"), [(64, True), (20, False)])
def test_what_the_center_square_drops_is_said(width, said, tmp_path, caplog):
    for number in range(6):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (width, 16)).save(path)
    with caplog.at_level("INFO", "tlkeras"):
        find_data(DataOptions(data=str(tmp_path)), get_backbone_spec("MobileNetV2-0.35"), 32, 0)
        squashed = find_data(
            DataOptions(data=str(tmp_path), resize="squash"), get_backbone_spec("MobileNetV2-0.35"), 32, 0
        )
    assert caplog.text.count("only the center square of an image is used, here 25% of its area") == said
    assert squashed.modality.resize == "squash"


@pytest.mark.parametrize("scale", [1, 255])
def test_floating_point_gray(scale):
    values = np.array([[0, 0.5, 1, np.nan]], np.float32) * scale
    assert np.asarray(read_rgb(encode(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 127, 255, 0]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format):
    read = read_rgb(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), format))
    assert np.abs(np.array(read.getpixel((8, 8))) - (255, 0, 0)).max() <= TOLERANCE


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame_of_several(format):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    read = read_rgb(encode(frames[0], format, save_all=True, append_images=frames[1:]))
    assert np.abs(np.array(read.getpixel((0, 0))) - (255, 0, 0)).max() <= TOLERANCE


# Where the red, green, blue and white quarters must be seen: (row, column) of the upright image.
SEEN = {
    1: "rg/bw",
    2: "gr/wb",
    3: "wb/gr",
    4: "bw/rg",
    5: "rb/gw",
    6: "br/wg",
    7: "wg/br",
    8: "gw/rb",
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("times", [1, 32])  # the larger one is decoded at a reduced size
def test_exif_orientation_is_applied(format, orientation, times):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = quarters().resize((16 * times, 8 * times), Image.Resampling.NEAREST)
    content = encode(stored, format, exif=exif, **({"subsampling": 0} if format == "JPEG" else {}))
    width, height = (8, 16) if orientation >= 5 else (16, 8)
    assert read_rgb(content).size == (width * times, height * times)
    names = {(255, 0, 0): "r", (0, 255, 0): "g", (0, 0, 255): "b", (255, 255, 255): "w"}
    for pixels in (np.asarray(read_rgb(content).resize((8, 8))), decode(content, 8)):
        corners = [pixels[y, x] for y in (1, 6) for x in (1, 6)]
        nearest = [min(names, key=lambda name, c=corner: np.abs(c - np.array(name)).sum()) for corner in corners]
        assert "".join(names[name] for name in nearest) == SEEN[orientation].replace("/", "")


def test_image_with_broken_exif_is_read():
    content = encode(Image.new("RGB", (16, 16), COLOR), "PNG", exif=b"Exif\0\0MM\0p\0\0\0\x08")
    assert read_rgb(content).getpixel((8, 8)) == COLOR


def test_orientation_is_applied_in_spite_of_odd_exif():
    """Orientation 6 after an ImageWidth that is text, which Pillow reads but cannot write."""
    tags = b"\x01\0\0\x02\0\0\0\x02x\0\0\0" + b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + tags + bytes(4)
    assert read_rgb(encode(Image.new("RGB", (20, 10)), "JPEG", exif=exif)).size == (10, 20)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7])
def test_truncated_files_are_unreadable_with_a_short_reason(format, kept, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), format)
    content = content[: int(len(content) * kept)]
    (tmp_path / "truncated").write_bytes(content)
    for source in (content, tmp_path / "truncated"):
        for read in (read_rgb, lambda source: decode(source, 8)):
            with pytest.raises(DecodeError) as error:
                read(source)
            assert 0 < len(str(error.value)) < 100


def test_reasons(tmp_path, monkeypatch):
    def reason(source: bytes | Path) -> str:
        with pytest.raises(DecodeError) as error:
            decode(source, 8)
        return str(error.value)

    (tmp_path / "empty.jpg").touch()
    content = encode(photo(64, 64), "JPEG")
    assert reason(b"") == "empty file"
    assert reason(tmp_path / "empty.jpg") == "empty file"
    assert reason(b"<html>404</html>") == "not a valid JPEG, PNG, WebP, GIF, BMP or TIFF image"
    assert reason(content[:-200]) == "truncated"
    assert reason(tmp_path / "gone.jpg") == "no such file or directory"
    assert reason(tmp_path) == "is a directory"
    monkeypatch.setattr("tlkeras.modalities.image.MAX_MEGAPIXELS", 0.004)
    assert reason(content) == "larger than 0.004 megapixels"


def test_huge_images_are_refused_before_decoding_without_a_warning():
    """In a process of its own, where no test runner changes the warnings; 100 and 200 megapixels of one bit."""
    program = """if True:
        import io
        from PIL import Image
        from tlkeras.modalities.base import DecodeError
        from tlkeras.modalities.image import glance
        for height in (10_000, 16_000, 20_000):
            buffer = io.BytesIO()
            Image.new("1", (10_000, height)).save(buffer, "TIFF", compression="group4")
            try:
                print(glance(buffer.getvalue()).side)
            except DecodeError as error:
                print(error)
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["10000", *["larger than 150 megapixels"] * 2]


@pytest.mark.parametrize(("width", "height"), [(333, 200), (200, 333), (64, 64), (20, 31), (301, 40), (9, 100)])
@pytest.mark.parametrize("size", [64, 50])
@each_way
def test_squares_agree_with_the_resizing_layer(width, height, size, way):
    """The layer inside a served model sees whole images; training must have seen the same squares."""
    keras = pytest.importorskip("keras")
    from tlkeras.models.backbone import resized_input

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    layer = keras.Model(*resized_input(size, way))
    expected = np.asarray(layer(np.asarray(image)[None].astype("float32"), training=False))[0]
    difference = np.abs(resize_to_square(image, size, way) - expected)
    assert difference.mean() < 0.5
    assert difference.max() < 2


def test_crop_takes_the_center_squash_all_and_pad_puts_black_around():
    image = Image.new("RGB", (30, 10), "red")
    image.paste((0, 0, 255), (10, 0, 20, 10))
    pixels = resize_to_square(image, 6)
    assert pixels.shape == (6, 6, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == (0, 0, 255)).all()
    red_and_blue = [[255, 0, 0]] * 2 + [[0, 0, 255]] * 2 + [[255, 0, 0]] * 2
    nearest = resize_to_square(image, 30, "squash")[2::5, 2::5]
    assert nearest.tolist() == [red_and_blue] * 6
    padded = resize_to_square(image, 30, "pad")
    assert not padded[:10].any() and not padded[20:].any() and padded[12, 2::5].tolist() == red_and_blue


@pytest.mark.parametrize("size", [(1203, 805), (805, 1203), (1000, 1000), (1999, 301)])
@pytest.mark.parametrize("orientation", [1, 6])
@each_way
def test_reduced_jpegs_agree_with_the_full_decode(size, orientation, way, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(photo(*size), "JPEG", quality=95, exif=exif)
    full = resize_to_square(read_rgb(content), 64, way)
    wanted: list = []
    draft = JpegImageFile.draft
    monkeypatch.setattr(JpegImageFile, "draft", lambda image, *given: wanted.append(draft(image, *given)))
    difference = np.abs(decode(content, 64, resize=way).astype(int) - full)
    assert difference.mean() < 1
    assert wanted[0] is not None  # it was reduced


def test_size_comes_from_the_header():
    content = encode(photo(300, 200), "JPEG")
    assert glance(content[:1000]).side == 200


def test_small_images_are_enlarged():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(encode(Image.new("RGB", (1, 1), COLOR), "PNG"), 16).tolist() == [[list(COLOR)] * 16] * 16
