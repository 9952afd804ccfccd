"""SavedModels of every kind are opened; dangerous ones are not."""

import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.errors import UserError
from tlkeras.extras.hub.module import open_module
from tlkeras.extras.hub.safety import check_graph


@pytest.mark.parametrize(
    ("kind", "weights", "trainable", "losses", "features"),
    [
        ("keras2", 6, 4, 1, (6,)),
        ("keras3", 7, 4, 0, (7, 7, 6)),  # with the seed of its dropout
        ("signature", 6, 4, 0, (7, 7, 6)),
        ("by_hand", 2, 1, 1, (6,)),
        ("by_hand_plain", 2, 1, 0, (6,)),
    ],
)
def test_weights_losses_and_features_of_a_module(module, kind, weights, trainable, losses, features):
    opened = open_module(module(kind))
    assert (len(opened.variables), len(opened.trainable), len(opened.losses)) == (weights, trainable, losses)
    assert opened.output_size((16, 16, 3)) == features


@pytest.mark.parametrize(("kind", "size"), [("keras2", 16), ("keras3", 16), ("by_hand", None)])
def test_the_size_that_a_module_takes(module, kind, size):
    spec = get_backbone_spec(f"hub:{module(kind)}").resolve()
    assert (spec.default_size, spec.max_size) == (size or 224, size)


def saved(folder, *specs: tf.TensorSpec, do=lambda inputs: tf.cast(inputs, tf.float32)) -> str:
    """Save a module with one function, which takes tensors like these; return its handle."""
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    module.__call__ = tf.function(lambda *inputs: do(inputs[0]) * module.weight, input_signature=specs)
    tf.saved_model.save(module, str(folder / "module"))
    return f"hub:{folder / 'module'}"


def keras2_with(folder, *layers) -> str:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Input((16, 16, 3)), *layers, tf_keras.layers.GlobalMaxPooling2D()])
    model.compile()
    model.save(folder / "scaled", save_format="tf")
    return f"hub:{folder / 'scaled'}"


def test_pixels_from_0_to_1_unless_the_module_says_otherwise(module, tmp_path):
    from tf_keras.layers import Rescaling

    def mode(name: str, **options: str) -> str:
        return get_backbone_spec(name).configure(**options).resolve().preprocess_mode

    assert mode(f"hub:{module('keras2')}") == "unit"
    assert mode(f"hub:{module('keras2')}", pixel_range="-1..1") == "tf"
    assert mode(saved(tmp_path, tf.TensorSpec((None, 8, 8, 3), tf.uint8))) == "inside"
    assert mode(keras2_with(tmp_path / "a", Rescaling(1 / 127.5, offset=-1))) == "inside"
    assert mode(keras2_with(tmp_path / "b", Rescaling(2.0, offset=-1))) == "unit"


def test_a_pixel_range_may_be_given_to_a_resolved_spec(module):
    spec = get_backbone_spec(f"hub:{module('keras2')}").resolve()
    assert spec.configure() == spec.resolve() == spec
    assert spec.configure(pixel_range="0..255").resolve().preprocess_mode == "inside"


def test_a_pixel_range_is_for_modules_only(module):
    with pytest.raises(UserError, match=r"0\.\.1, but VGG16"):
        get_backbone_spec("VGG16").configure(pixel_range="0..1")
    with pytest.raises(UserError, match=r"--pixel-range was 0\.\.2; it must be one of auto, 0\.\.1"):
        get_backbone_spec(f"hub:{module('keras2')}").configure(pixel_range="0..2")


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((None,), tf.int32, r"takes int32 of shape \(None,\); a backbone takes square RGB images"),
        ((None, 8, 9, 3), tf.float32, "takes float32 of shape"),
        ((None, 8, 8, 1), tf.float32, "takes float32 of shape"),
        ((4, 8, 8, 3), tf.float32, "takes 4 images at a time"),
    ],
)
def test_what_is_not_an_image_backbone_is_refused(tmp_path, shape, dtype, words):
    def first(inputs):
        return tf.cast(tf.size(inputs), tf.float32)[None, None]

    spec = get_backbone_spec(saved(tmp_path, tf.TensorSpec(shape, dtype), do=first))
    with pytest.raises(UserError, match=words):
        spec.resolve()


def test_two_inputs_are_one_too_many(tmp_path):
    pixels = tf.TensorSpec((None, 8, 8, 3))
    with pytest.raises(UserError, match="takes 2 tensors; a feature module takes one"):
        get_backbone_spec(saved(tmp_path, pixels, pixels)).resolve()


def test_features_of_another_shape(tmp_path):
    handle = saved(tmp_path, tf.TensorSpec((None, 8, 8, 3)), do=lambda pixels: pixels[..., None])
    with pytest.raises(UserError, match=r"gives features of shape \(None, 8, 8, 3, 1\); a head needs \(None, C\)"):
        open_module(Path(handle.removeprefix("hub:"))).output_size((8, 8, 3))


def after(*operations) -> tf.Tensor:
    """Return something that depends on these operations."""
    with tf.control_dependencies(operations):
        return tf.ones((1, 3))


def save_weights(pixels: tf.Tensor) -> tf.Operation:
    return tf.raw_ops.SaveV2(prefix="stolen", tensor_names=["a"], shape_and_slices=[""], tensors=[pixels])


BAD = {
    "ReadFile": lambda pixels: after(tf.io.read_file("numbers")),
    "MatchingFiles": lambda pixels: after(tf.io.matching_files("*")),
    "WriteFile": lambda pixels: after(tf.io.write_file("stolen", "text")),
    "PrintV2": lambda pixels: after(tf.print("text", output_stream="file://stolen")),
    "PyFunc": lambda pixels: tf.numpy_function(lambda array: array, [pixels], tf.float32),
    "SaveV2": lambda pixels: after(save_weights(pixels)),
    "CacheDatasetV2": lambda pixels: tf.data.Dataset.from_tensors(pixels).cache("stolen").get_single_element(),
    "SaveV2 in a branch": lambda pixels: tf.switch_case(
        tf.shape(pixels)[0] % 2, [lambda: tf.ones((1, 3)), lambda: after(save_weights(pixels))]
    ),
    "ReadFile in a loop": lambda pixels: (
        tf.while_loop(
            lambda number: number < 2, lambda number: number + tf.strings.length(tf.io.read_file("numbers")), [0]
        )[0]
        * tf.ones((1, 3), tf.int32)
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_module_that_does_more_than_compute_is_not_opened(tmp_path, name):
    saved(tmp_path, tf.TensorSpec((None, 8, 8, 3)), do=lambda pixels: tf.cast(BAD[name](pixels), tf.float32))
    with pytest.raises(UserError, match=rf"is not opened: .*\b{name.split()[0]}\b.* could access files or run Python"):
        open_module(tmp_path / "module")


def test_randomness_branches_and_loops_are_opened(tmp_path):
    def do(pixels: tf.Tensor) -> tf.Tensor:
        noise = tf.random.normal(tf.shape(pixels)) + tf.random.stateless_uniform(tf.shape(pixels), (1, 2))
        turns = tf.while_loop(lambda number: number < 3.0, lambda number: number + 1.0, [0.0])[0]
        return tf.cond(tf.reduce_mean(pixels) > 0.5, lambda: noise, lambda: pixels) * turns

    saved(tmp_path, tf.TensorSpec((None, 8, 8, 3)), do=do)
    assert open_module(tmp_path / "module").output_size((8, 8, 3)) == (8, 8, 3)


def test_training_as_a_keyword_is_off(tmp_path):
    module = tf.Module()
    module.__call__ = tf.function(lambda pixels, *, training=True: pixels + tf.cast(training, tf.float32))
    for training in (True, False):
        module.__call__.get_concrete_function(tf.TensorSpec((None, 8, 8, 3)), training=training)
    tf.saved_model.save(module, str(tmp_path / "module"))
    assert float(tf.reduce_max(open_module(tmp_path / "module").run(tf.zeros((1, 8, 8, 3))))) == 0.0


def test_an_input_in_a_dictionary(tmp_path):
    module = tf.Module()
    specs = [{"images": tf.TensorSpec((None, 8, 8, 3))}]
    module.__call__ = tf.function(lambda inputs: inputs["images"], input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(UserError, match="takes its input by name or in a dictionary; a module takes one tensor"):
        open_module(tmp_path / "module")


def test_a_pixel_range_that_integers_cannot_have(tmp_path):
    handle = saved(tmp_path, tf.TensorSpec((None, 8, 8, 3), tf.uint8))
    with pytest.raises(
        UserError, match=r"takes whole numbers, so its pixel range is 0\.\.255; leave --pixel-range out"
    ):
        get_backbone_spec(handle).configure(pixel_range="0..1").resolve()


@pytest.mark.parametrize("unfreeze", ["25%", "0.5", "1"])
def test_a_module_is_one_piece(module, unfreeze):
    with pytest.raises(UserError, match="is one piece, so give module, all or none"):
        parse_unfreeze(get_backbone_spec(f"hub:{module('by_hand')}"), unfreeze)


def test_integer_weights_are_not_trainable(tmp_path):
    module = tf.Module()
    module.count, module.weight = tf.Variable(5), tf.Variable(1.0)
    module.__call__ = tf.function(
        lambda pixels: pixels * module.weight * tf.cast(module.count, tf.float32),
        input_signature=[tf.TensorSpec((None, 8, 8, 3))],
    )
    tf.saved_model.save(module, str(tmp_path / "module"))
    opened = open_module(tmp_path / "module")
    assert len(opened.variables) == 2 and [variable.dtype for variable in opened.trainable] == [tf.float32]


def tensorflow_1(folder, tags: list[str], key: str, resource: bool = True) -> None:
    """Save a model as TensorFlow 1 writes it, with a weight of 3."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pixels = tf.compat.v1.placeholder("float32", (None, 8, 8, 3))
        weight = tf.compat.v1.get_variable("weight", initializer=3.0, use_resource=resource)
        outputs = {"default": weight * tf.reduce_mean(pixels, (1, 2))}
        session.run(tf.compat.v1.global_variables_initializer())
        signature = tf.compat.v1.saved_model.predict_signature_def({"pixels": pixels}, outputs)
        builder = tf.compat.v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, tags, {key: signature})
        builder.save()


@pytest.mark.parametrize(
    ("kind", "tags", "key"),
    [("a SavedModel of TensorFlow 1", ["serve"], "serving_default"), ("a module in the TF1 Hub format", [], "default")],
)
def test_a_file_of_tensorflow_1_opens_once_it_is_converted_as_the_message_says(tmp_path, monkeypatch, kind, tags, key):
    monkeypatch.chdir(tmp_path)
    tensorflow_1(tmp_path / "old", tags, key)
    if "Hub" in kind:
        (tmp_path / "old" / "tfhub_module.pb").touch()
    with pytest.raises(UserError, match=f"is {kind}, .* Use its TF2 version, or convert it: ") as refused:
        get_backbone_spec(f"hub:{tmp_path / 'old'}").resolve()
    exec(str(refused.value).partition("convert it: ")[2], {"tf": tf})
    opened = open_module(tmp_path / "NEW")
    assert [float(variable) for variable in opened.trainable] == [3.0]
    assert opened.run(tf.ones((1, 8, 8, 3))).numpy().tolist() == [[3.0] * 3]


def test_a_file_of_tensorflow_1_that_cannot_be_converted(tmp_path):
    tensorflow_1(tmp_path / "old", ["serve"], "serving_default", resource=False)
    with pytest.raises(
        UserError, match=r"keeps its weights in ref variables \(VariableV2\) and cannot be converted\.$"
    ):
        open_module(tmp_path / "old")


def test_damaged_files(module, tmp_path):
    folder = shutil.copytree(module("by_hand"), tmp_path / "damaged")
    weights = next(folder.glob("variables/*.data-*"))
    weights.write_bytes(weights.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"damaged cannot be loaded as a SavedModel \(.*Get it again"):
        open_module(folder)
    graph = folder / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"saved_model\.pb is damaged: it is not a SavedModel\. Get it again"):
        check_graph(graph)
