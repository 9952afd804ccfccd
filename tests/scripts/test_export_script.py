"""export.py: an artifact that gives what the run gives, or a sentence and nothing written."""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import tlkeras
from tlkeras.export import formats, litert
from tlkeras.export.artifact import load_artifact
from tlkeras.io.locks import locked
from tlkeras.run.export import load_examples
from tlkeras.run.folder import hidden
from tlkeras.run.load_run import load_run


@pytest.fixture(scope="module")
def exported(trained, run_script, once):
    """Return a function from the words of a command to the artifact of the shared run, once for all tests."""

    def make(*words: str):
        def write(folder):
            answer = run_script("export.py", trained.path, *words, "--output", "artifact", cwd=folder)
            assert answer.code == 0, answer.err
            (folder / "answer.txt").write_text(answer.out)
            assert answer.err == ""

        return once("-".join(("export", *words)).replace("--", ""), write) / "artifact"

    return make


NAMES = ("saved-model", "litert", "onnx", "openvino")
FORMATS = [*(("--format", name) for name in NAMES), ("--format", "litert", "--variant", "dynamic")]


@pytest.mark.parametrize("words", FORMATS)
def test_an_artifact_predicts_what_the_run_predicts(exported, trained, colors, words):
    artifact = exported(*words)
    expected, found = (tlkeras.predict(path, colors / "red") for path in (trained.path, artifact))
    assert [one.path for one in found] == [one.path for one in expected] and len(found) == 13
    for one, other in zip(found, expected, strict=True):
        assert one.error == other.error
        assert dict(one.scores) == pytest.approx(dict(other.scores), abs=0.1 if "dynamic" in words else 1e-5)
        assert one.unsure == other.unsure or "dynamic" in words


@pytest.mark.parametrize("words", FORMATS[: len(NAMES)])
def test_the_comparison_is_written_beside_it(exported, words):
    artifact = exported(*words)
    parity = json.loads((artifact / "parity.json").read_text())
    assert parity["max_difference"] < 1e-4 and parity["agreement"] == 1.0 and parity["accuracy"] is not None
    assert parity["accuracy"] == parity["trained_accuracy"] and parity["own_size"]["max_difference"] < 1e-4
    assert set(parity["milliseconds"]) == {"1", "32"} and parity["bytes"] > 100_000 and len(parity["operators"]) > 5
    info = load_artifact(artifact)
    assert info.labels == ["blue", "green", "red"] and info.outputs == {"probabilities": 3, "features": 256}
    text = (artifact.parent / "answer.txt").read_text()
    assert text.startswith("Artifact: artifact (") and f"of {parity['count']}" in text


@pytest.mark.parametrize("name", NAMES[1:])
def test_predicting_needs_no_tensorflow(exported, trained, colors, name):
    artifact, image = exported("--format", name), str(colors / "red" / "1.png")
    expected = tlkeras.predict(trained.path, [image])[0].scores[0][0]
    code = """import sys
import tlkeras
print(tlkeras.predict(*sys.argv[1:])[0].scores[0][0], 'tensorflow' in sys.modules)"""
    words = [sys.executable, "-c", code, str(artifact), image]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "False"] and done.stderr == ""


def test_litert_needs_no_other_operators_than_its_own(exported):
    artifact = exported("--format", "litert")
    operators = {name for name, _ in litert.graph_nodes((artifact / "model.tflite").read_bytes())}
    assert {"CONV_2D", "BATCH_MATMUL", "SOFTMAX"} <= operators and not any("Flex" in name for name in operators)


def test_labels_and_description_are_inside_a_litert_file(exported):
    from ai_edge_litert import schema_py_generated as schema

    artifact = exported("--format", "litert", "--variant", "dynamic")
    with zipfile.ZipFile(artifact / "model.tflite") as files:
        assert files.read("labels.txt") == b"blue\ngreen\nred\n"
        assert json.loads(files.read("artifact.json")) == json.loads((artifact / "artifact.json").read_text())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((artifact / "model.tflite").read_bytes()))
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    description = bytes(model.buffers[entry.buffer].data)
    assert description[4:8] == b"M001" and b"labels.txt" in description and b"MobileNet-0.25, dynamic" in description


def test_labels_and_description_are_inside_an_onnx_file(exported):
    import onnxruntime

    artifact = exported("--format", "onnx")
    session = onnxruntime.InferenceSession(artifact / "model.onnx")
    inside = session.get_modelmeta().custom_metadata_map
    assert json.loads(inside["labels"]) == ["blue", "green", "red"] and inside["backbone"] == "MobileNet-0.25"
    assert json.loads(inside["weights"]) == load_artifact(artifact).weights
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
    assert {"Conv", "MatMul", "Softmax"} <= set(json.loads((artifact / "parity.json").read_text())["operators"])


def test_labels_and_description_are_inside_an_openvino_file(exported):
    import openvino

    artifact = exported("--format", "openvino")
    inside = openvino.Core().read_model(artifact / "model.xml").get_rt_info(["tlkeras"])
    assert json.loads(inside["labels"]) == ["blue", "green", "red"]
    assert inside["backbone"] == "MobileNet-0.25"
    assert json.loads((artifact / "parity.json").read_text())["bytes"] > (artifact / "model.bin").stat().st_size


def test_a_saved_model_takes_files_too_and_gives_labels(exported, trained, colors):
    import keras
    import tensorflow as tf

    folder = exported("--format", "saved-model") / "1"
    signatures = tf.saved_model.load(str(folder)).signatures
    paths = sorted((colors / "green").glob("*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    expected = keras.models.load_model(trained.path / "model.keras").predict_on_batch(pixels)
    from_files = signatures["encoded"](image_bytes=tf.constant([path.read_bytes() for path in paths]))
    for found in (from_files, signatures["serving_default"](images=tf.constant(pixels))):
        np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
        assert found["labels"].numpy().tolist() == [[b"blue", b"green", b"red"]] * len(paths)
        names = np.array([b"blue", b"green", b"red"])[expected.argmax(axis=1)]
        assert found["label"].numpy().tolist() == names.tolist()
    assert json.loads((folder / "assets.extra" / "artifact.json").read_text())["labels"] == ["blue", "green", "red"]


def test_of_many_validation_images_some_from_all_over_are_compared(trained, monkeypatch):
    run = load_run(trained.path)
    validation = load_examples(run, None).targets
    monkeypatch.setattr("tlkeras.run.export.COMPARED", len(validation) // 2)
    fewer = load_examples(run, None)
    assert len(fewer.inputs) <= len(validation) // 2 + 1
    assert (fewer.targets == validation[:: -(-len(validation) // (len(validation) // 2))]).all()


def test_beyond_the_tolerance_nothing_is_written(call, trained, tmp_path, monkeypatch):
    impossible = formats.Tolerance(max_difference=-1.0)
    monkeypatch.setitem(formats.FORMATS["litert"].variants, "float16", impossible)
    words = ("--format", "litert", "--variant", "float16", "--output", "new/artifact")
    answer = call("export.py", trained.path, *words)
    assert answer.code == 2 and "litert float16 differs too much from the trained model: the max diff" in answer.err
    assert answer.err.endswith("Nothing was written. Give --variant float32.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_resize_that_is_not_that_of_training_is_found(call, trained, tmp_path, monkeypatch):
    import tensorflow as tf

    from tlkeras.export import inference

    def stretched(images, size, resize):
        return tf.cast(tf.image.resize(images, (size, size), "nearest"), "float32")

    monkeypatch.setattr(inference, "resize_to_square", stretched)
    answer = call("export.py", trained.path, "--format", "saved-model", "--output", "artifact")
    assert answer.code == 2 and "differs too much from the trained model" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_decoded_otherwise_are_found(call, trained, tmp_path, monkeypatch):
    from tlkeras.export import encoded

    decode = encoded.decode
    monkeypatch.setattr(encoded, "decode", lambda content, gray_range: 255.0 - decode(content, gray_range))
    answer = call("export.py", trained.path, "--format", "saved-model", "--output", "artifact")
    assert answer.code == 2 and "differs too much from the trained model" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_where_that_is_asked_for(call, exported, trained, tmp_path):
    shutil.copytree(exported("--format", "litert"), tmp_path / "there")
    (tmp_path / "mine").mkdir()
    words = ("export.py", trained.path, "--format", "litert", "--output")
    assert "--output there exists already" in call(*words, "there").err
    assert "--output mine is no artifact" in call(*words, "mine", "--overwrite").err
    with locked(hidden(tmp_path / "new", "lock"), "what another program writes"):
        assert "being written by another program. Wait for it, or give another --output" in call(*words, "new").err
    (tmp_path / "there" / "old").touch()
    answer = call(*words, "there", "--overwrite", "--json")
    assert json.loads(answer.out)["artifact"] == "there" and not (tmp_path / "there" / "old").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "coreml"), "There is no format coreml. Known formats: saved-model, litert, onnx, openvino"),
        (("--format", "litert", "--variant", "int4"), "The format litert has no variant int4. It has float32, float16"),
        ((), "Nothing was given for --format"),
    ],
)
def test_mistakes_are_sentences(call, trained, words, message):
    answer = call("export.py", trained.path, *words)
    assert answer.code == 2 and message in answer.err and "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("name", "package", "predicts"),
    [("litert", "ai_edge_litert", True), ("onnx", "onnxruntime", True), ("openvino", "nncf", False)],
)
def test_a_missing_package_is_a_sentence(call, exported, trained, colors, monkeypatch, name, package, predicts):
    artifact, find = exported("--format", name), importlib.util.find_spec
    monkeypatch.setattr(formats, "find_spec", lambda wanted: None if wanted == package else find(wanted))
    install = f"pip install 'tlkeras[export-{name}]'"
    sentence = f"The format {name} needs {package}, which is not installed. Run: {install}"
    assert sentence in call("export.py", trained.path, "--format", name, "--output", "new").err
    assert (sentence in call("predict.py", artifact, colors / "red" / "1.png").err) == predicts


def test_a_path_beside_the_exported_models_names_them(call, exported, colors):
    folder = exported("--format", "litert").parent
    for path in (folder, folder / "litert"):
        assert f"{folder} holds exported models: artifact. Give one" in call("predict.py", path, colors / "red").err


def test_what_needs_the_trained_model_refuses_an_artifact(call, exported, colors):
    artifact = exported("--format", "litert")
    for words in (("explain.py", artifact, colors), ("summary.py", artifact), ("compare.py", artifact, artifact),
                  ("evaluate.py", artifact), ("export.py", artifact, "--format", "litert")):  # fmt: skip
        answer = call(*words)
        assert answer.code == 2 and "is an exported artifact (litert), which only predicts" in answer.err, words


@pytest.mark.parametrize("damage", ["artifact.json", "model.tflite", "labels"])
def test_a_damaged_artifact_is_refused(call, exported, colors, tmp_path, damage):
    shutil.copytree(exported("--format", "litert"), tmp_path / "copy")
    file = tmp_path / "copy" / ("labels.json" if damage == "labels" else damage)
    labels = '{"task": "single_label", "classes": ["a", "b"], "modality": "image"}'
    file.write_text(labels if damage == "labels" else "nonsense")
    answer = call("predict.py", "copy", colors / "red" / "1.png")
    assert answer.code == 2 and "Traceback" not in answer.err
    expected = {"artifact.json": "is damaged", "model.tflite": "cannot be opened as LiteRT", "labels": "has 3 outputs"}
    assert expected[damage] in answer.err


def test_openvino_says_which_file_is_missing(call, exported, colors, tmp_path):
    shutil.copytree(exported("--format", "openvino"), tmp_path / "copy")
    (tmp_path / "copy" / "model.bin").unlink()
    answer = call("predict.py", "copy", colors / "red" / "1.png")
    assert answer.code == 2 and "cannot be opened as OpenVINO: Empty weights data in bin file or" in answer.err


@pytest.fixture(scope="module")
def digits(run_script, once):
    """A run of the first command of the README: all layers are trained, as noise of untrained ones says nothing."""

    def write(folder):
        answer = run_script("train.py", "--run-dir", "run", cwd=folder)
        assert answer.code == 0, answer.err

    return once("digits-run", write) / "run"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "node"), [("litert", "QUANTIZE"), ("openvino", "FakeQuantize")])
def test_eight_bits_decide_as_the_trained_model_does(run_script, digits, tmp_path, name, node):
    words = ("--format", name, "--variant", "int8", "--output", "artifact", "--json")
    answer = run_script("export.py", digits, *words, cwd=tmp_path)
    assert answer.code == 0, answer.err
    parity = json.loads(answer.out)
    assert parity["agreement"] >= 0.99 and parity["own_size"]["agreement"] == 1.0
    assert parity["bytes"] < 0.6 * (digits / "model.keras").stat().st_size
    assert node in parity["operators"]
    if name == "litert":  # resize and scaling of pixels stay in float
        kinds = [kind for kind, _ in litert.graph_nodes((tmp_path / "artifact" / "model.tflite").read_bytes())]
        assert kinds.index("QUANTIZE") == kinds.index("CONV_2D") - 1
