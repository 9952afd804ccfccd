"""scripts/summary.py: the table of backbones, and the stages of one or of the shared run."""

import pytest

from tlkeras.backbones.registry import find_stage
from tlkeras.backbones.table import BACKBONES


def test_table_of_all_backbones(call):
    answer = call("summary.py")
    assert answer.code == 0 and answer.err == ""
    assert max(map(len, answer.out.splitlines())) <= 80
    lines = answer.out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(BACKBONES)
    for line, spec in zip(lines, BACKBONES.values(), strict=True):
        assert f" {spec.num_params:,} " in line and f" {spec.finetune_from}*" in line


@pytest.mark.parametrize("name", ["MobileNetV2-0.35", "vgg16", "ConvNeXtTiny"])
def test_stages_of_a_backbone(call, name):
    lines = call("summary.py", name).out.splitlines()
    assert max(map(len, lines)) <= 80
    spec = next(spec for spec in BACKBONES.values() if spec.name.lower() == name.lower())
    assert [line.split()[0].rstrip("*") for line in lines[1:-1]] == [stage.name for stage in spec.stages]
    counts = [int(line.split()[3].replace(",", "")) for line in lines[1:-1]]
    assert 0.99 * spec.num_params <= sum(counts) <= spec.num_params
    trainable = [int(line.split()[4].replace(",", "")) for line in lines[1:-1]]
    assert trainable == sorted(trainable, reverse=True)
    assert f"{spec.num_params:,} parameters" in lines[-1]


def test_stages_of_a_run(call, trained):
    lines = call("summary.py", trained.path).out.splitlines()
    assert "MobileNet-0.25 at 32 px: " in lines[0] and "in the head" in lines[0]
    assert [line.split()[0].rstrip("*") for line in lines[2:-1]] == [
        stage.name for stage in BACKBONES["MobileNet-0.25"].stages
    ]
    assert call("summary.py", trained.path / "model.keras").out.splitlines() == lines


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ResNet5", "Did you mean ResNet50"),
        ("nowhere.keras", "There is no model file"),
        (".", "not a complete run folder"),
    ],
)
def test_summary_bad_input(call, name, words):
    answer = call("summary.py", name)
    assert answer.code == 2 and answer.out == "" and words in answer.err and answer.err.count("\n") == 1


def test_every_stage_is_found_by_its_own_name():
    """MobileNetV2 has a stage Conv1 and a stage Conv_1: the exact spelling comes before similar ones."""
    for spec in BACKBONES.values():
        for stage in spec.stages:
            assert find_stage(spec, stage.name) is stage, (spec.name, stage.name)
