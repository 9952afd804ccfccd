"""Loading weights from every kind of file, refusing those that do not fit, and EfficientNet's pixel scaling."""

import dataclasses
import functools
import hashlib
import io
import os
import shutil
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from tlkeras.backbones import weights as named_weights
from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.weights import check_weights_option
from tlkeras.errors import UserError
from tlkeras.models.weights import load_backbone_weights

SPEC = get_backbone_spec("MobileNetV2-0.35")
SIZE = 32
STD = np.array([0.229, 0.224, 0.225], "float32")


def build(spec: BackboneSpec = SPEC, include_top: bool = False, weights: str | None = None) -> keras.Model:
    constructor = getattr(keras.applications, spec.constructor)
    return constructor(include_top=include_top, weights=weights, input_shape=(SIZE, SIZE, 3), **spec.constructor_args)


def randomized(model: keras.Model, seed: int = 1) -> keras.Model:
    """Give every weight, moving statistics too, values that no initializer gives, and return the model."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "int" not in weight.dtype:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def assert_same_weights(model: keras.Model, other: keras.Model) -> None:
    values = zip(model.weights, other.weights[: len(model.weights)], strict=True)
    assert all(np.array_equal(one, two) for one, two in values)


@pytest.fixture(scope="module")
def source() -> keras.Model:
    return randomized(build())


@pytest.fixture(scope="module")
def saved(source, tmp_path_factory) -> Callable[[str, bool, str], tuple[keras.Model, str]]:
    """Return `saved(name, top, suffix)`: a randomized backbone, and the file that it is saved in."""

    @functools.cache
    def make(name: str, top: bool) -> keras.Model:
        return (
            source if (name, top) == (SPEC.name, False) else randomized(build(get_backbone_spec(name), include_top=top))
        )

    @functools.cache
    def make_file(name: str, top: bool, suffix: str) -> tuple[keras.Model, str]:
        return make(name, top), save(make(name, top), tmp_path_factory.mktemp("saved") / f"mine{suffix}")

    return make_file


@pytest.fixture(scope="module")
def built() -> tuple[keras.Model, list[np.ndarray]]:
    """Return a backbone as Keras builds it, and its random weights."""
    model = build()
    return model, model.get_weights()


@pytest.fixture
def model(built) -> keras.Model:
    """Return the built backbone with its random weights: building takes longer than assigning."""
    built[0].set_weights(built[1])
    return built[0]


def assert_unchanged(model: keras.Model, built: tuple[keras.Model, list[np.ndarray]]) -> None:
    assert model is built[0]
    assert all(np.array_equal(one, two) for one, two in zip(built[1], model.get_weights(), strict=True))


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Return an empty cache of Keras; there is no network."""

    def urlopen(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    folder = tmp_path / "keras" / "models"
    folder.mkdir(parents=True)
    return folder


def save(model: keras.Model, path: Path) -> str:
    """Save as the suffix says; `.h5` as weights only, which is how keras.applications publishes them."""
    if path.suffix == ".keras":
        model.save(path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return str(path)


@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_every_weight_of_a_file_is_loaded(suffix, top, saved, model):
    other, path = saved(SPEC.name, top, suffix)
    check_weights_option(SPEC, path, SIZE)
    description = load_backbone_weights(model, SPEC, path, SIZE)
    assert_same_weights(model, other)
    assert description == f"mine{suffix}, SHA-256 {hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]}…"


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", "2.h5"])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_backbone_nested_in_weights_of_a_whole_model_is_loaded(suffix, trainable, tmp_path, source, model):
    """With all trainable weights first in a legacy file, where Keras 2 has other names for some."""
    inputs, path = keras.Input((SIZE, SIZE, 3)), tmp_path / f"whole{suffix}"
    source.trainable = trainable
    whole = keras.Sequential([inputs, source, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, name="my")])
    whole.save_weights(path) if suffix == ".weights.h5" else whole.save(path)
    if suffix == "2.h5":
        with h5py.File(path, "r+") as file:
            group = file["model_weights"][source.name]
            names = [str(name) for name in group.attrs["weight_names"]]
            old = [f"{name}:0".replace("depthwise/kernel", "depthwise/depthwise_kernel") for name in names]
            for name, renamed in zip(names, old, strict=True):
                group.move(name, renamed)
            group.attrs["weight_names"] = np.array(old, dtype="S")
    source.trainable = True
    check_weights_option(SPEC, str(path), SIZE)
    load_backbone_weights(model, SPEC, str(path), SIZE)
    assert_same_weights(model, source)


def test_a_model_of_keras_2_is_refused_in_a_sentence(tmp_path, source, model):
    path = tmp_path / "old.keras"
    source.save(tmp_path / "new.keras")
    changed = {"metadata.json": b'{"keras_version": "2.15.0"}', "config.json": b'{"module": "keras.src.engine"}'}
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(path, "w") as old:
        for name in new.namelist():
            old.writestr(name, changed.get(name) or new.read(name))
    with pytest.raises(
        UserError, match=r"saved by Keras 2\.15\.0, and Keras 3 cannot open it\. Open it there"
    ) as raised:
        load_backbone_weights(model, SPEC, str(path), SIZE)
    assert len(str(raised.value)) < 300 + len(str(path))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_whole_saved_model_with_a_head_of_any_name_is_loaded(suffix, tmp_path, source, model):
    """In a .keras file the backbone may be nested; a whole legacy .h5 keeps its layers under model_weights."""
    pooled = keras.layers.GlobalAveragePooling2D()
    head = keras.layers.Dense(2, name="head")
    inputs = keras.Input((SIZE, SIZE, 3))
    nested = keras.Model(inputs, head(pooled(source(keras.layers.Rescaling(2.0)(inputs)))))
    flat = keras.Model(source.input, head(pooled(source.output)))
    path = tmp_path / f"whole{suffix}"
    (nested if suffix == ".keras" else flat).save(path)
    check_weights_option(SPEC, str(path), SIZE)
    load_backbone_weights(model, SPEC, str(path), SIZE)
    assert_same_weights(model, source)


def test_none_leaves_the_model_as_it_is(model, built):
    check_weights_option(SPEC, "none", SIZE)
    assert load_backbone_weights(model, SPEC, "none", SIZE) == "random weights"
    assert_unchanged(model, built)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.h5", None, "there is no such file"),
        ("weights.ckpt", b"", "a file that ends in .h5 or .keras"),
        ("text.h5", b"not found", "stands for a HDF5 file"),
        ("text.keras", b"not found", "stands for a zip archive"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n", "cannot be read as a weight file"),
        ("cut.keras", b"PK\x03\x04", "this is none, or a damaged one"),
    ],
)
def test_other_files_are_refused_before_and_after_tensorflow(name, content, message, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for refuse in (check_weights_option, lambda *args: load_backbone_weights(None, *args)):
        with pytest.raises(UserError, match=message):
            refuse(SPEC, str(path), SIZE)


def test_hdf5_that_is_not_from_keras_and_keras_3_weights_under_a_legacy_name_are_refused(tmp_path, source):
    h5py.File(tmp_path / "other.h5", "w").close()
    with pytest.raises(UserError, match="holds no Keras model"):
        check_weights_option(SPEC, str(tmp_path / "other.h5"), SIZE)
    source.save_weights(tmp_path / "mine.weights.h5")
    (tmp_path / "mine.weights.h5").rename(tmp_path / "mine.h5")
    with pytest.raises(UserError, match=r"rename it so that it ends in \.weights\.h5"):
        check_weights_option(SPEC, str(tmp_path / "mine.h5"), SIZE)


@pytest.mark.parametrize("top", [False, True])
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_weights_of_another_width_are_refused_by_name(suffix, top, saved):
    _, path = saved("MobileNetV2-0.5", top, suffix)
    with pytest.raises(UserError, match=r"it has 706,224 parameters, as MobileNetV2-0\.5, and .* has 410,208"):
        check_weights_option(SPEC, path, SIZE)


def test_weights_of_no_known_backbone_are_refused(tmp_path):
    inputs = keras.Input((4,))
    path = save(keras.Model(inputs, keras.layers.Dense(3, name="mine")(inputs)), tmp_path / "dense.h5")
    with pytest.raises(UserError, match="it has 15 parameters, as no backbone that tlkeras knows"):
        check_weights_option(SPEC, path, SIZE)


def first_kernel(file: h5py.File) -> str:
    """Return the path of the first kernel in a legacy file."""
    return f"Conv1/{file['Conv1'].attrs['weight_names'][0]}"


def transpose(file: h5py.File) -> None:
    """Give the first kernel another shape, of as many parameters."""
    kernel = np.asarray(file[first_kernel(file)])
    del file[first_kernel(file)]
    file[first_kernel(file)] = kernel.transpose(3, 0, 1, 2)


def put_nan(file: h5py.File) -> None:
    file[first_kernel(file)][0, 0, 0, 0] = np.nan


DAMAGE = [(transpose, "but other layers or another order"), (put_nan, "leaves 1 weights without a finite value")]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_file_that_fails_half_way_is_refused(damage, message, tmp_path, saved, model):
    path = shutil.copy(saved(SPEC.name, False, ".h5")[1], tmp_path / "damaged.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(UserError, match=message):
        load_backbone_weights(model, SPEC, str(path), SIZE)


def test_keras_3_weights_with_a_layer_of_another_shape_are_refused(tmp_path, saved, model):
    path = shutil.copy(saved(SPEC.name, False, ".weights.h5")[1], tmp_path / "damaged.weights.h5")
    with h5py.File(path, "r+") as file:
        kernel = np.asarray(file["layers/conv2d/vars/0"])
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = kernel.transpose(3, 0, 1, 2)
    with pytest.raises(UserError, match="but other layers"):
        load_backbone_weights(model, SPEC, str(path), SIZE)


def test_weights_that_are_silently_skipped_are_found(saved, model, monkeypatch):
    _, path = saved(SPEC.name, False, ".weights.h5")
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path: None)
    with pytest.raises(UserError, match=r"leaves \d+ weights without a finite value"):
        load_backbone_weights(model, SPEC, path, SIZE)


def test_a_keras_file_with_code_inside_is_refused(tmp_path, source, model):
    inputs = keras.Input((SIZE, SIZE, 3))
    with_code = keras.Model(inputs, source(keras.layers.Lambda(lambda x: x)(inputs)))
    with pytest.raises(UserError, match="in safe mode"):
        load_backbone_weights(model, SPEC, save(with_code, tmp_path / "code.keras"), SIZE)


def test_imagenet_comes_from_the_cache_without_network(cache, source, model, saved):
    name, _ = SPEC.weights_file(SIZE)
    shutil.copy(saved(SPEC.name, False, ".h5")[1], cache / name)
    check_weights_option(SPEC, "imagenet", SIZE)
    assert load_backbone_weights(model, SPEC, "imagenet", SIZE) == f"ImageNet ({name})"
    assert_same_weights(model, source)


def test_imagenet_file_with_another_hash_is_refused_and_kept(cache):
    spec = get_backbone_spec("VGG16")
    path = cache / spec.weights_file(224)[0]
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"its MD5 is \w{32} and should be 6d6bbae143d832006294945121d1f1fc"):
        check_weights_option(spec, "imagenet", 224)
    assert path.read_bytes() == b"half a file"


def test_sha256_is_told_from_md5(cache):
    spec = get_backbone_spec("ConvNeXtTiny")
    (cache / spec.weights_file(224)[0]).write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"its SHA256 is \w{64} and should be d547c096"):
        check_weights_option(spec, "imagenet", 224)


def test_imagenet_file_that_keras_has_no_hash_of_must_fit(cache, saved):
    name, _ = SPEC.weights_file(SIZE)
    shutil.copy(saved("MobileNetV2-0.5", False, ".h5")[1], cache / name)
    with pytest.raises(UserError, match=r"as MobileNetV2-0\.5"):
        check_weights_option(SPEC, "imagenet", SIZE)
    assert (cache / name).exists()


@pytest.mark.parametrize("damage", ["cut off", "other layers"])
def test_a_damaged_imagenet_file_that_keras_has_no_hash_of_is_refused(damage, cache, saved, model):
    path = Path(shutil.copy(saved(SPEC.name, False, ".h5")[1], cache / SPEC.weights_file(SIZE)[0]))
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:10_000])
    else:
        with h5py.File(path, "r+") as file:
            transpose(file)
    with pytest.raises(UserError, match="cannot be read as a weight file" if damage == "cut off" else "other layers"):
        load_backbone_weights(model, SPEC, "imagenet", SIZE)


def test_a_project_without_the_part_takes_no_other_files(saved, monkeypatch):
    monkeypatch.setattr(named_weights, "OWN_FILES", "tlkeras.backbones.nothing")
    with pytest.raises(UserError, match=r"--weights was .*mine\.h5, and this project was made without weight files"):
        check_weights_option(SPEC, saved(SPEC.name, False, ".h5")[1], SIZE)
    check_weights_option(SPEC, "bundled", SIZE)


def test_offline_says_which_file_belongs_where(cache):
    name, url = SPEC.weights_file(SIZE)
    for refuse in (check_weights_option, lambda *args: load_backbone_weights(None, *args)):
        with pytest.raises(UserError) as error:
            refuse(SPEC, "imagenet", SIZE)
        assert f"Put {name} from {url} into {cache}" in str(error.value)
    assert list(cache.iterdir()) == []


def serve(monkeypatch, path: str | None) -> None:
    """Let urlopen succeed and urlretrieve copy this file; None is a connection that breaks half way."""

    def urlretrieve(url, target, hook):
        if path is None:
            Path(target).write_bytes(b"half")
            raise OSError("connection broke")
        shutil.copy(path, target)

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr(file_utils, "urlretrieve", urlretrieve)


def test_a_download_is_the_only_file_in_keras_cache(cache, saved, source, model, monkeypatch):
    serve(monkeypatch, saved(SPEC.name, False, ".h5")[1])
    load_backbone_weights(model, SPEC, "imagenet", SIZE)
    assert_same_weights(model, source)
    assert [path.name for path in cache.iterdir()] == [SPEC.weights_file(SIZE)[0]]


@pytest.mark.parametrize("broken", ["connection", "hash", "page"])
def test_a_failed_download_leaves_nothing(broken, cache, tmp_path, saved, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("<html>Log in to this network</html>")
    served = {"connection": None, "hash": saved(SPEC.name, False, ".h5")[1], "page": str(page)}[broken]
    serve(monkeypatch, served)
    spec = get_backbone_spec("VGG16") if broken == "hash" else SPEC
    with pytest.raises(UserError, match="cannot be downloaded"):
        load_backbone_weights(None, spec, "imagenet", SIZE)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_read_and_downloads_go_where_keras_puts_them(cache, monkeypatch):
    monkeypatch.setattr(named_weights.os, "access", lambda *_: False)
    monkeypatch.setattr(named_weights.tempfile, "gettempdir", lambda: "/elsewhere")
    name = SPEC.weights_file(SIZE)[0]
    assert named_weights.cache_paths(SPEC, SIZE) == [cache / name, Path("/elsewhere/.keras/models", name)]


EFFICIENTNET = get_backbone_spec("EfficientNetB0")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, keras.Model]:
    """Return a file as published for EfficientNet, and what Keras itself builds from it with weights="imagenet"."""
    path = tmp_path_factory.mktemp("published") / "efficientnetb0_notop.h5"
    model = build(EFFICIENTNET)
    scaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    scaling.adapt_mean.assign([0.485, 0.456, 0.406])
    scaling.adapt_variance.assign(STD)
    save(model, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
        return path, build(EFFICIENTNET, weights="imagenet")


def stem(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Return what the first convolution gets: all that pixel scaling can change, free of the network's rounding."""
    return keras.Model(model.input, model.get_layer("stem_conv_pad").output)(pixels).numpy()


@pytest.mark.slow
def test_efficientnet_scales_pixels_as_keras_does_however_its_weights_come(published, tmp_path, cache):
    path, by_keras = published
    pixels = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    model = build(EFFICIENTNET)
    load_backbone_weights(model, EFFICIENTNET, str(path), SIZE)
    np.testing.assert_allclose(stem(model, pixels), stem(by_keras, pixels), rtol=1e-5, atol=1e-5)
    spec, from_cache = dataclasses.replace(EFFICIENTNET, weights_hash=None), build(EFFICIENTNET)
    shutil.copy(path, cache / spec.weights_file(SIZE)[0])
    load_backbone_weights(from_cache, spec, "imagenet", SIZE)
    np.testing.assert_array_equal(stem(from_cache, pixels), stem(model, pixels))
    features = by_keras(pixels).numpy()
    assert np.isfinite(features).all()
    np.testing.assert_allclose(model(pixels), features, rtol=0, atol=1e-4 * abs(features).max())
    again = build(EFFICIENTNET)
    for suffix in (".keras", ".weights.h5", ".h5"):
        again.set_weights([np.zeros_like(value) for value in again.get_weights()])
        load_backbone_weights(again, EFFICIENTNET, save(model, tmp_path / f"ours{suffix}"), SIZE)
        np.testing.assert_array_equal(stem(again, pixels), stem(model, pixels))
    reloaded = keras.saving.load_model(tmp_path / "ours.keras")
    np.testing.assert_array_equal(stem(reloaded, pixels), stem(model, pixels))
    unknown = build(EFFICIENTNET)
    load_backbone_weights(unknown, EFFICIENTNET, save(build(EFFICIENTNET), tmp_path / "plain.h5"), SIZE)
    np.testing.assert_allclose(stem(unknown, pixels)[:, :SIZE, :SIZE], pixels / 255, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3Small", "DenseNet121", "InceptionV3", "Xception", "ConvNeXtTiny"])
def test_files_with_top_of_other_families_are_loaded(name, tmp_path):
    """With automatic layer names, separable convolutions, models nested in models."""
    spec = get_backbone_spec(name)
    constructor, shape = getattr(keras.applications, spec.constructor), (75, 75, 3)
    saved = randomized(constructor(include_top=True, weights=None, input_shape=shape))
    model = constructor(include_top=False, weights=None, input_shape=shape)
    for suffix in (".h5", ".weights.h5", ".keras"):
        path = save(saved, tmp_path / f"top{suffix}")
        check_weights_option(spec, path, 75)
        model.set_weights([np.zeros_like(value) for value in model.get_weights()])
        load_backbone_weights(model, spec, path, 75)
        assert_same_weights(model, saved)


@pytest.mark.slow
@pytest.mark.real
def test_real_mobilenet_v2_weights():
    folder = os.environ.get("TLKERAS_REAL_WEIGHTS")
    if not folder:
        pytest.skip("TLKERAS_REAL_WEIGHTS names no folder with weight files")
    path = Path(folder) / "mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"
    spec = get_backbone_spec("MobileNetV2")
    check_weights_option(spec, str(path), 224)
    model = build(spec)
    load_backbone_weights(model, spec, str(path), 224)
    with h5py.File(path) as file:
        last = np.asarray(file["layers/batch_normalization_51/vars/3"])
    assert np.array_equal(model.get_layer("Conv_1_bn").moving_variance, last)


@pytest.mark.parametrize("kind", ["link", "external", "virtual"])
def test_weights_that_are_in_another_file_are_refused(tmp_path, kind):
    """An untrusted file must not make the program read others."""
    secret, path = tmp_path / "secret.h5", tmp_path / "model.weights.h5"
    with h5py.File(secret, "w") as file:
        file["numbers"] = np.arange(9.0)
    with h5py.File(path, "w") as file:
        layer = file.create_group("layers/dense/vars")
        if kind == "link":
            layer["0"] = h5py.ExternalLink(str(secret), "numbers")
        elif kind == "external":
            layer.create_dataset("0", (9,), "f8", external=[(str(secret), 0, 72)])
        else:
            layout = h5py.VirtualLayout((9,), "f8")
            layout[:] = h5py.VirtualSource(str(secret), "numbers", (9,))
            layer.create_virtual_dataset("0", layout)
    with pytest.raises(UserError, match="it takes weights from other files"):
        check_weights_option(SPEC, str(path), SIZE)


@pytest.fixture(scope="module")
def bundled() -> keras.Model:
    """Return the backbone with the bundled weights, loaded by Keras alone."""
    plain = build()
    plain.load_weights(named_weights.BUNDLED / "MobileNetV2-0.35.weights.h5")
    return plain


@pytest.mark.parametrize("size", [SIZE, 64, 96])
def test_the_weights_of_the_repository_at_any_size(size, bundled, model):
    if size != SIZE:
        model = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=None, input_shape=(size, size, 3))
    source = load_backbone_weights(model, SPEC, "bundled", size)
    assert source == "bundled weights (see their model card)"
    assert_same_weights(model, bundled)


def test_the_model_card_names_the_file_by_its_hash():
    card = (named_weights.BUNDLED / "MobileNetV2-0.35.md").read_text()
    own, *before = card.split("\n## Initial weights: ")
    assert f"SHA-256 `{SPEC.bundled_hash}`" in own and "| top-1, validation |" in own
    assert all("Tiny ImageNet" in one and "terms of access" in one for one in (own, *before))
    assert sum(file.stat().st_size for file in named_weights.BUNDLED.iterdir()) < 3_000_000


def test_no_other_backbone_has_weights_in_the_repository():
    with pytest.raises(UserError, match=r"No weights of ResNet50 come with .* only of MobileNetV2-0.35: give that"):
        check_weights_option(get_backbone_spec("ResNet50"), "bundled", 224)


@pytest.mark.parametrize("damage", [lambda content: None, lambda content: content[:-1]], ids=["missing", "cut off"])
def test_damaged_weights_of_the_repository_are_not_used(tmp_path, monkeypatch, damage):
    content = damage((named_weights.BUNDLED / "MobileNetV2-0.35.weights.h5").read_bytes())
    if content:
        (tmp_path / "MobileNetV2-0.35.weights.h5").write_bytes(content)
    monkeypatch.setattr(named_weights, "BUNDLED", tmp_path)
    with pytest.raises(UserError, match=r"missing or damaged\. Get it again"):
        check_weights_option(SPEC, "bundled", 64)
