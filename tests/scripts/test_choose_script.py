"""choose.py: a ranking, and options that train.py takes; --search continues where it was stopped."""

import dataclasses
import json
import shutil
import sqlite3

import numpy as np
import optuna
import pytest
import yaml

import tlkeras
from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.cli import parse_config
from tlkeras.config.train import TrainConfig
from tlkeras.data.prepare import prepare_data
from tlkeras.errors import UserError
from tlkeras.models.introspect import get_backbone
from tlkeras.run import choose as module
from tlkeras.run import folds
from tlkeras.run.trial import OutOfTime

SMALL = ("--frozen-epochs", 1, "--finetune-epochs", 1, "--batch-size", 16)


@pytest.fixture(scope="module")
def images(made):
    return made({"blue": 20, "green": 20, "red": 20})


def tiny_weights(folder):
    """Write weights of the tiny backbone, as if it had been pretrained, and return their path."""
    get_backbone(tlkeras.build_classifier("Tiny", 2, weights="none")).save_weights(folder / "tiny.weights.h5")
    return folder / "tiny.weights.h5"


def table_lines(out, first):
    """Return the lines from a word to the command to run next, which is as long as the path of the project."""
    return out.partition(first)[2].partition("\nNext: ")[0].splitlines()


def test_a_choice_is_a_table_a_plot_and_a_config(tiny, call, images, tmp_path, monkeypatch):
    seen: list[str] = []
    train_and_predict = module.train_and_predict

    def spy(config, spec, data, *rest):
        seen.append([{data.examples[row].name for row in rows} for rows in data.splits.values()])
        return train_and_predict(config, spec, data, *rest)

    monkeypatch.setattr(module, "train_and_predict", spy)
    names = "Tiny@16,Tiny@24,Tiny@32,Tiny@40"
    answer = call("choose.py", images, "--backbones", names, "--weights", "none", *SMALL, "--output", "out")
    assert answer.code == 0, answer.err
    assert all(len(line) <= 80 for line in table_lines(answer.out, "candidate"))
    assert "After both phases" in answer.out and "The probability of being the best is" in answer.out
    assert answer.out.endswith("scripts/train.py --config out/config.yaml\n")
    assert (tmp_path / "out" / "choice.png").stat().st_size > 5000
    result = json.loads((tmp_path / "out" / "choice.json").read_text())
    assert len(result["candidates"]) == 4 and len(result["trained"]) == 3
    assert [row["images"] for row in result["trained"]] == [51, 51, 51]  # in three folds
    assert result["best"] == result["trained"][0]["name"] and 0 <= result["probability"] <= 1
    config = parse_config(TrainConfig, None, ["--config", "out/config.yaml"])
    assert config.backbone == result["best"].partition("@")[0] and config.batch_size == 16
    test = prepare_data(str(images), tiny, 16).splits["test"]
    held_out = {prepare_data(str(images), tiny, 16).examples[row].name for row in test}
    assert len(seen) == 9 and not any(train & validation for train, validation in seen)
    assert all(len(train | validation) == 51 and not held_out & (train | validation) for train, validation in seen)


def test_weights_that_are_not_to_be_had_are_named(call, images):
    answer = call("choose.py", "--data", images, "--backbones", "MobileNetV2-0.35@32,ResNet50,VGG16", "--weights",
                  "bundled", *SMALL, "--output", "out", "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["missing"] == ["ResNet50", "VGG16"] and result["best"] == "MobileNetV2-0.35@32"
    assert result["probability"] is None and [row["name"] for row in result["trained"]] == ["MobileNetV2-0.35@32"]


def test_a_backbone_for_something_else_is_left_out(tiny, images, caplog):
    data, spec = prepare_data(str(images), tiny, 16), get_backbone_spec("Tiny")
    given = [module.Chosen(name, TrainConfig(), dataclasses.replace(spec, modality=name)) for name in ("image", "text")]
    found, missing = module.resolved(given, data)
    assert [one.name for one in found] == ["image"] and missing == ["text"]
    assert "text was left out: it does not take images." in caplog.text
    with pytest.raises(UserError, match="No weights of text are available"):
        module.resolved(given[1:], data)


def test_a_finalist_that_fails_leaves_the_others(tiny, call, images, monkeypatch):
    train_and_predict = module.train_and_predict

    def fail_once(config, *rest):
        if config.image_size == 16:
            raise UserError("Training failed: the training loss became nan in epoch 3. Lower --head-learning-rate.")
        return train_and_predict(config, *rest)

    monkeypatch.setattr(module, "train_and_predict", fail_once)
    names = "Tiny@16,Tiny@24"
    answer = call("choose.py", images, "--backbones", names, "--weights", "none", *SMALL, "--output", "out", "--json")
    assert answer.code == 0 and "Tiny@16 was not trained: Training failed: the training loss became nan" in answer.err
    assert json.loads(answer.out)["best"] == "Tiny@24"


def test_the_best_one_by_features_is_chosen_where_it_had_no_time(tiny, call, images, monkeypatch):
    names, train_and_predict = [], module.train_and_predict

    def late_at_first(config, *rest):
        names.append(config.image_size)
        if len(names) == 1:
            raise OutOfTime
        return train_and_predict(config, *rest)

    monkeypatch.setattr(module, "train_and_predict", late_at_first)
    answer = call("choose.py", images, "--backbones", "Tiny@16,Tiny@24", "--weights", "none", *SMALL, "--output", "out",
                  "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["best"] == result["finalists"][0] == f"Tiny@{names[0]}" == result["unfinished"][0]
    assert result["trained"][0]["name"] == f"Tiny@{names[-1]}"


def test_a_fold_that_is_late_does_not_count(tiny, call, images, monkeypatch):
    calls, train_and_predict = iter(range(9)), module.train_and_predict

    def late_in_the_second_fold(*given):
        if next(calls) == 3:
            raise OutOfTime
        return train_and_predict(*given)

    monkeypatch.setattr(module, "train_and_predict", late_in_the_second_fold)
    names = "Tiny@16,Tiny@24"
    answer = call("choose.py", images, "--backbones", names, "--weights", "none", *SMALL, "--output", "out", "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    first, second = (row["images"] for row in result["trained"])
    assert first == second < 25 and not result["unfinished"]


def test_thumbnails_of_many_images_are_made_in_pieces(tiny, images, monkeypatch):
    data = prepare_data(str(images), tiny, 16)
    rows = np.arange(len(data.examples))
    whole = folds.example_groups(data, rows)
    monkeypatch.setattr(folds, "DECODED", 7)
    assert (folds.example_groups(data, rows) == whole).all()


def test_a_budget_is_kept(tiny, call, images, monkeypatch):
    def late(*_):
        raise OutOfTime

    monkeypatch.setattr(module, "train_and_predict", late)
    given = ("choose.py", images, "--backbones", "Tiny@16,Tiny@24", "--weights", "none", "--output", "out")
    answer = call(*given, "--budget", 10)
    assert answer.code == 0 and "Left out, as the budget is too short: Tiny@" in answer.out
    assert "After both phases" not in answer.out and "Best: Tiny@" in answer.out
    monkeypatch.setattr(module, "FEATURE_FRACTION", -1)
    answer = call(*given, "--budget", 10)
    assert answer.code == 2 and "is too short for any candidate" in answer.err


def test_with_a_budget_all_are_trained_for_which_there_is_time(tiny, call, images):
    names = "Tiny@16,Tiny@24,Tiny@32,Tiny@40"
    answer = call("choose.py", images, "--backbones", names, "--weights", "none", *SMALL, "--budget", 10, "--json")
    assert answer.code == 0, answer.err
    assert len(json.loads(answer.out)["trained"]) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Nothing was given for --data"),
        (("digits", "--backbones", ","), "--backbones was ,"),
        (("digits", "--backbones", "MobilNetV2"), "Did you mean MobileNetV2"),
        (("digits", "--backbones", "MobileNetV2@8"), "needs at least 32 pixels"),
        (("digits", "--backbones", "ResNet50", "--weights", "bundled"), "No weights of ResNet50 are available"),
        (("digits", "--task", "regression"), "give one class each"),
        (("digits", "--search", "--backbones", "ResNet50"), "Both --search and --backbones"),
        (("digits", "--search", "--backbone", "MobileNetV2,ResNet50"), "a search is of one backbone"),
        (("digits", "--budget", "0"), "--budget was 0"),
        (("digits", "--output", "notes.txt/choice"), "notes.txt is a file"),
    ],
)
def test_mistakes_are_sentences(call, tmp_path, options, said):
    (tmp_path / "notes.txt").touch()
    answer = call("choose.py", *options)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("command", ["choose.py", "train.py --resize auto"])
def test_a_class_of_one_image_and_its_copies_is_a_sentence(tiny, call, made, tmp_path, command):
    folder = tmp_path / "photos"
    shutil.copytree(made({"green": 20, "red": 6}), folder)
    first, *others = sorted((folder / "red").iterdir())
    for path in others:
        shutil.copy(first, path)
    script, *words = command.split()
    options = (
        ["--backbones", "Tiny@16,Tiny@24"] if script == "choose.py" else ["--backbone", "Tiny", "--image-size", 16]
    )
    answer = call(script, "--data", folder, *words, *options, "--weights", tiny_weights(tmp_path), *SMALL)
    assert answer.code == 2 and "neither copies nor of one group" in answer.err
    assert "Traceback" not in answer.err


def test_the_second_half_of_a_search_tries_statistics_of_the_target(tiny, call, images, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkeras.selection.space.FIRST", 0)
    answer = call("choose.py", images, "--search", "--backbone", "Tiny", "--image-size", 16, "--weights",
                  tiny_weights(tmp_path), *SMALL, "--output", "out", "--trials", 2)  # fmt: skip
    assert answer.code == 0, answer.err
    first, second = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'out' / 'search.db'}").trials
    assert "batch_norm" in second.params and "batch_norm" not in first.params


def test_what_the_last_trial_of_a_search_says(tiny, call, images, monkeypatch):
    def fail(*_):
        raise UserError("Training failed: the training loss became nan in epoch 3.")

    monkeypatch.setattr("tlkeras.run.search.train_and_predict", fail)
    answer = call("choose.py", images, "--search", "--backbone", "Tiny", "--image-size", 16, "--weights", "none",
                  *SMALL, "--output", "out", "--trials", 2)  # fmt: skip
    assert answer.code == 2 and "No trial came to its end. The last one said: Training failed" in answer.err


def test_in_python_a_choice_is_no_search():
    with pytest.raises(UserError, match="search was True"):
        tlkeras.choose(data="digits", search=True)


def test_without_optuna_a_search_is_a_sentence(call, monkeypatch):
    monkeypatch.setattr("tlkeras.config.choose.find_spec", lambda name: None)
    answer = call("choose.py", "digits", "--search")
    assert answer.code == 2 and "pip install optuna" in answer.err


def test_a_search_is_resumed_and_a_killed_trial_has_failed(tiny, call, images, tmp_path):
    given = ("choose.py", images, "--search", "--backbone", "Tiny", "--image-size", 16, "--weights", "none", *SMALL,
             "--output", "out")  # fmt: skip
    answer = call(*given, "--trials", 2)
    assert answer.code == 0, answer.err
    assert "Trials: 2 complete" in answer.out and "51 images in 3 folds" in answer.out
    assert all(len(line) <= 80 for line in table_lines(answer.out, "Trials: "))
    database = tmp_path / "out" / "search.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}", heartbeat_interval=10)
    killed = optuna.load_study(study_name="search", storage=storage).ask()
    storage.record_heartbeat(killed._trial_id)
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
    answer = call(*given, "--trials", 3, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert result["trials"] == {"complete": 3, "fail": 1}
    losses = [row["loss"] for row in result["best"]]
    assert losses == sorted(losses) and np.isfinite(losses).all()
    written = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert written == result["best"][0]["options"] and written["image_size"] == 16
    assert "layer_decay" not in written  # it follows what a trial unfreezes
    refused = call(*given, "--trials", 3, "--seed", 1)
    assert refused.code == 2 and "started with another seed" in refused.err
