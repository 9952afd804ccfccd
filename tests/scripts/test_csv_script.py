"""From a CSV file to a run and its predictions."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_from_a_csv_to_predictions(tiny, colors, tiny_options, call, tmp_path, task):
    labels = {"blue": 1.5, "green": 20.5, "red": 300.25}
    lines = ["path,label"]
    for number in range(12):
        for name, value in labels.items():
            label = f"{name}|{'odd' if number % 2 else 'even'}" if task == "multi_label" else value + number
            lines.append(f"{colors / name / f'{number}.png'},{label}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    answer = call("train.py", "--data", "table.csv", *tiny_options, "--backbone", tiny, "--run-dir", "run")
    assert answer.code == 0 and answer.err == "", answer.err
    metrics = json.loads(call("evaluate.py", "run", "--json").out)["test"]
    logged = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert logged["count"] == 6
    numbers = {name: value for name, value in logged.items() if isinstance(value, int | float)}
    assert len(numbers) > 5 and {name: metrics[name] for name in numbers} == pytest.approx(numbers, rel=1e-4)
    predictions = json.loads(call("predict.py", "run", colors / "red", "--json", "--top-k", "2").out)
    shown = [entry["label"] for entry in predictions[0]["predictions"]]
    assert shown == ["value"] if task == "regression" else len(shown) >= 2
    assert call("evaluate.py", "run").out.startswith("Test: ")
    exported = call("export.py", "run", "--format", "litert", "--json")
    parity = json.loads(exported.out)
    assert exported.code == 0 and parity["max_difference"] < 1e-4
    name = "mae" if task == "regression" else "accuracy"
    assert parity[name] == pytest.approx(parity[f"trained_{name}"], rel=1e-3)
    artifact = call("predict.py", parity["artifact"], colors / "red", "--json", "--top-k", "2")
    assert [entry["label"] for entry in json.loads(artifact.out)[0]["predictions"]] == shown
