"""Runs on text and on audio, from the options to predictions where the module is gone."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml
from scipy.io import wavfile

from tlkeras.run.predict import Prediction

OPTIONS = (
    "--frozen-epochs",
    "2",
    "--finetune-epochs",
    "2",
    "--linear-probe",
    "never",
    "--head-learning-rate",
    "0.1",
    "--finetune-learning-rate",
    "0.05",
)
GOOD, BAD = ("fine", "great", "lovely", "bright"), ("dull", "poor", "awful", "grey")


@pytest.fixture(scope="session")
def handle(tmp_path_factory) -> str:
    """Save a module that returns the mean of a vector for each word of a text; return its handle."""
    import tensorflow as tf

    module = tf.Module()
    module.vectors = tf.Variable(np.random.default_rng(0).normal(size=(97, 8)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def features(texts):
        words = tf.strings.split(texts)
        hashes = tf.strings.to_hash_bucket_fast(words.values, 97)
        return tf.reduce_mean(words.with_values(tf.gather(module.vectors, hashes)), 1)

    module.__call__ = features
    folder = tmp_path_factory.mktemp("hub") / "texts"
    tf.saved_model.save(module, str(folder))
    return f"hub:{folder}"


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> tuple:
    """Write the same forty texts in two classes as a folder, with one file that is damaged, and as a table."""
    folder, rng = tmp_path_factory.mktemp("reviews") / "reviews", np.random.default_rng(0)
    table = [("text", "label")]
    for name, words in (("bad", BAD), ("good", GOOD)):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            text = f"Number {index},\n" + " ".join(rng.choice(words, 5))
            (folder / name / f"{index}.txt").write_text(text)
            table.append((text, name))
    (folder / "bad" / "broken.txt").write_bytes(b"\xff\xfe")
    with (folder.parent / "reviews.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(table)
    return folder, folder.parent / "reviews.csv"


@pytest.mark.slow
def test_texts_from_training_to_predictions_without_the_module(run_script, reviews, handle, tmp_path):
    folder, table = reviews
    arguments = ("train.py", "--data", folder, "--backbone", handle, *OPTIONS, "--run-dir")
    first = run_script(*arguments, "run", cwd=tmp_path)
    assert first.code == 0 and "Data: " in first.out, first.err
    assert "40 texts, 2 classes" in first.out and "of 6 texts; 95% CI" in first.out and "texts/s" in first.out
    assert "image" not in first.out and "Skipped, unreadable: bad/broken.txt (not UTF-8)" in first.out + first.err
    assert "Features (pooled): computed" in first.out
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["backbone"], config["image_size"], config["seconds"]) == (handle, None, None)
    assert json.loads((tmp_path / "run" / "labels.json").read_text())["modality"] == "text"
    second = run_script(*arguments, "two", cwd=tmp_path)
    assert "Features (pooled): read from the cache" in second.out
    assert (tmp_path / "run" / "history.csv").read_bytes() == (tmp_path / "two" / "history.csv").read_bytes()
    module = handle.removeprefix("hub:")
    shutil.move(module, module + "-elsewhere")
    words = ["--text", " ".join(GOOD), "--text", " ".join(BAD), "--text", " "]
    (tmp_path / "new").mkdir()
    for name in ("1.txt", "1.md"):
        (tmp_path / "new" / name).write_text(" ".join(GOOD))
    try:
        evaluated = run_script("evaluate.py", "run", cwd=tmp_path)
        other = run_script("evaluate.py", "run", "--data", table, cwd=tmp_path)
        predicted = run_script("predict.py", "run", "--json", *words, cwd=tmp_path)
        mixed = run_script("predict.py", "run", *words[:2], "new/*.txt", "--csv", "new/1.md", *words[4:], cwd=tmp_path)
        bare = run_script("predict.py", "run", cwd=tmp_path)
        of_table = run_script("predict.py", "run", table, cwd=tmp_path)
        of_folder = run_script("predict.py", "run", folder, cwd=tmp_path)
    finally:
        shutil.move(module + "-elsewhere", module)
    assert evaluated.code == 0 and "of 6 texts" in evaluated.out, evaluated.err
    assert other.code == 0 and "of 40 texts" in other.out, other.err
    answers = json.loads(predicted.out)
    assert [answer["text"] for answer in answers] == [" ".join(GOOD), " ".join(BAD), " "]
    assert [answer["predictions"][0]["label"] for answer in answers[:2]] == ["good", "bad"]
    assert answers[2]["error"] == "empty"
    rows = list(csv.reader(mixed.out.splitlines()))
    assert list(dict.fromkeys(row[0] for row in rows[1:])) == ["new/1.txt", "new/1.md", " ".join(GOOD), " "], mixed.err
    assert bare.code == 2 and "Nothing was given for PATH or --text" in bare.err
    assert of_table.code == 2 and "reviews.csv is a table, which would be read as one text" in of_table.err
    assert len(of_folder.out.splitlines()) == 41 and "unreadable: not UTF-8" in of_folder.out


@pytest.mark.slow
def test_a_table_of_texts_is_evaluated_on_its_own_test_lines(run_script, reviews, handle, tmp_path):
    table = shutil.copy(reviews[1], tmp_path / "reviews.csv")
    answer = run_script("train.py", "--data", table, "--backbone", handle, *OPTIONS, "--run-dir", "run", cwd=tmp_path)
    assert answer.code == 0, answer.err
    evaluated = run_script("evaluate.py", "run", cwd=tmp_path)
    assert evaluated.code == 0 and "of 6 texts" in evaluated.out, evaluated.err
    lines = table.read_bytes().split(b"\r\n")
    table.write_bytes(b"\r\n".join([lines[0], b"a new text,good", *lines[1:]]))
    moved = run_script("evaluate.py", "run", cwd=tmp_path)
    assert moved.code == 2 and "are missing from the data" in moved.err


# [part: choose]
@pytest.mark.slow
def test_modules_for_texts_are_compared(run_script, reviews, handle, tmp_path):
    copy = tmp_path / "others"
    shutil.copytree(handle.removeprefix("hub:"), copy)
    answer = run_script("choose.py", reviews[0], "--backbones", f"{handle},hub:{copy}", "--frozen-epochs", 1,
                        "--finetune-epochs", 1, "--output", "out", cwd=tmp_path)  # fmt: skip
    assert answer.code == 0 and "Best: hub:" in answer.out, answer.err
    assert len(json.loads((tmp_path / "out" / "choice.json").read_text())["trained"]) == 2


# [/part]
@pytest.mark.slow
def test_audio_from_training_to_predictions(run_script, tmp_path):
    import tensorflow as tf

    module, rng = tf.Module(), np.random.default_rng(0)
    module.kernel = tf.Variable(rng.normal(size=(65, 8)).astype("float32"))
    spectrum = tf.function(
        lambda clip: tf.math.log(tf.abs(tf.signal.stft(clip, 128, 64)) + 1e-3) @ module.kernel,
        input_signature=[tf.TensorSpec((None,))],
    )
    module.__call__ = spectrum
    tf.saved_model.save(module, str(tmp_path / "module"))
    for name, hertz in (("high", 800), ("low", 100)):
        (tmp_path / "tones" / name).mkdir(parents=True)
        for index in range(12):
            tone = np.sin(2 * np.pi * hertz * rng.uniform(0.8, 1.2) * np.arange(2000) / 4000).astype("float32")
            wavfile.write(tmp_path / "tones" / name / f"{index}.wav", 4000, tone)
    arguments = ("--data", "tones", "--backbone", "hub:module", "--sample-rate", "4000", "--run-dir", "run")
    answer = run_script("train.py", *arguments, *OPTIONS, cwd=tmp_path)
    assert answer.code == 0 and "24 audio clips, 2 classes" in answer.out and "clips/s" in answer.out, answer.err
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["sample_rate"], config["seconds"]) == (4000, 0.5)
    evaluated = run_script("evaluate.py", "run", "--data", "tones", cwd=tmp_path)
    assert "All: accuracy 1.000 (24 of 24 audio clips" in evaluated.out, evaluated.err
    predicted = run_script("predict.py", "run", "tones/low/*.wav", cwd=tmp_path)
    assert [line.split()[1] for line in predicted.out.splitlines()] == ["low"] * 12, predicted.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "REVIEWS"), "holds 41 texts, but no images. Give a backbone that takes them (hub:"),
        (("--data", "TABLE"), "MobileNetV2 takes images, and"),
        (("--data", "REVIEWS", "--backbone", "HANDLE", "--image-size", "64"), "it is for image only, and"),
        (("--data", "REVIEWS", "--backbone", "HANDLE", "--pixel-range", "0..1"), "it is for image only, and"),
        (("--data", "REVIEWS", "--backbone", "HANDLE", "--engine", "openvino"), "it is for image only, and"),
        (("--data", "IMAGES", "--seconds", "2"), "it is for audio only, and"),
    ],
)
def test_mistakes_are_refused_before_tensorflow_loads(call, colors, reviews, handle, monkeypatch, arguments, words):
    monkeypatch.setattr("tlkeras.extras.hub.spec.load_tensorflow", lambda: pytest.fail("too late"))
    monkeypatch.setattr("tlkeras.run.job.load_tensorflow", lambda *_: pytest.fail("too late"))
    given = {"HANDLE": handle, "REVIEWS": reviews[0], "TABLE": reviews[1], "IMAGES": colors}
    answer = call("train.py", *[given.get(word, word) for word in arguments])
    assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1, answer.err


@pytest.mark.parametrize("data", ["digits", "IMAGES"])
def test_images_for_a_text_module(call, colors, handle, data):
    data = str(colors) if data == "IMAGES" else data
    answer = call("train.py", "--data", data, "--backbone", handle)
    assert answer.code == 2 and f"takes texts, and {data} holds images" in answer.err


@pytest.mark.parametrize(
    ("words", "paths", "texts"),
    [
        ("RUN --text one a.txt b.txt", ["a.txt", "b.txt"], ["one"]),
        ("RUN a.txt --text one b.txt --json --text two c.txt", ["a.txt", "b.txt", "c.txt"], ["one", "two"]),
        ("--text one RUN", [], ["one"]),
    ],
)
def test_one_text_for_each_option_and_files_anywhere(call, monkeypatch, words, paths, texts):
    seen = []

    def predict(*given):
        seen.append(given)
        return [Prediction("a.txt", [("good", 1.0)])]

    monkeypatch.setattr("tlkeras.run.predict.predict", predict)
    assert call("predict.py", *words.split()).code == 0
    assert seen == [("RUN", paths, 3, texts, None)]


def test_texts_for_a_run_on_images(call, trained, reviews):
    answer = call("predict.py", trained.path, "--text", "a fine one")
    assert answer.code == 2 and "--text was given, but the model of" in answer.err and "takes images" in answer.err
    answer = call("predict.py", trained.path)
    assert answer.code == 2 and "Nothing was given for PATH" in answer.err
    answer = call("evaluate.py", trained.path, "--data", reviews[1])
    assert answer.code == 2 and "takes images, and" in answer.err and "holds texts" in answer.err
