"""train.py --find-learning-rates: two lines and a plot in place of a run."""


def test_learning_rates_are_tested_without_a_run(call, colors, tiny_options, tmp_path):
    answer = call("train.py", "--data", colors, *tiny_options, "--find-learning-rates")
    assert answer.code in (0, None), answer.err
    assert "Phase 1: --head-learning-rate " in answer.out and "Phase 2: --finetune-learning-rate " in answer.out
    assert (tmp_path / "learning_rates.png").is_file() and not (tmp_path / "saved_models").exists()
    assert "Next:" not in answer.out
