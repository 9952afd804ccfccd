"""What is kept of validation examples: counts for each task, projections of about unit variance, a file."""

import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.evaluation.reference import FILE, MAX_ROWS, count, fit_reference, load_reference

EDGES = np.array([0.5, 0.8])


def test_labels_and_levels_are_counted():
    outputs = np.array([[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.5, 0.5, 0.0]])
    counts = count(outputs, np.array([True, False, False]), "single_label", EDGES)
    assert (counts.images, counts.unsure) == (3, 1)
    assert counts.classes.tolist() == [2, 1, 0] and counts.levels.tolist() == [0, 2, 1]
    assert count(outputs, np.zeros(3, bool), "multi_label", EDGES).classes.tolist() == [2, 2, 0]
    numbers = count(np.array([[-3.0], [0.7]]), np.zeros(2, bool), "regression", EDGES)
    assert numbers.classes.shape == (0,) and numbers.levels.tolist() == [1, 1, 0]


def made(training: int = 200, validation: int = 120, dtype: str = "float32"):
    rng = np.random.default_rng(0)
    spread = np.r_[np.full(5, 10.0), np.full(95, 1.0)]
    features = [(rng.normal(size=(size, 100)) * spread + 7).astype(dtype) for size in (training, validation)]
    outputs = rng.dirichlet([1, 1, 1], validation)
    return features[1], fit_reference(*features, outputs, np.zeros(validation, bool), "single_label")


def test_projections_have_about_unit_variance_and_no_axis_outweighs_the_others():
    validation, reference = made()
    assert reference.rows.shape == (120, 64) and reference.rows.dtype == np.float16
    assert np.array_equal(reference.project(validation), reference.rows)
    deviations = reference.rows.astype("float64").std(axis=0)
    assert deviations.max() < 1.5 and deviations.min() > 0.2
    assert (reference.levels / 120 == pytest.approx(0.1, abs=0.02)) and reference.images == 120


@pytest.mark.parametrize(("training", "axes"), [(10, 9), (2, 1)])
def test_few_training_examples_give_few_axes(training, axes):
    _, reference = made(training)
    assert reference.rows.shape == (120, axes) and np.isfinite(reference.rows).all()


def test_features_of_half_precision_and_huge_ones_give_numbers():
    validation, reference = made(dtype="float16")
    assert np.isfinite(reference.project(validation * 1000)).all()


def test_many_examples_are_a_sample_and_all_are_counted():
    _, reference = made(validation=1200)
    assert len(reference.rows) == MAX_ROWS and reference.classes.sum() == 1200


def test_the_file_of_a_run(tmp_path):
    with pytest.raises(UserError, match=r"no .*reference.npz.*earlier version.*fewer than 50"):
        load_reference(tmp_path)
    validation, reference = made()
    reference.save(tmp_path)
    again = load_reference(tmp_path)
    assert np.array_equal(again.project(validation), reference.rows) and again.classes.tolist() == list(
        reference.classes
    )
    whole = (tmp_path / FILE).read_bytes()
    for damaged in (b"", b"PK nothing", whole[:5000]):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(UserError, match=r"reference.npz is damaged"):
            load_reference(tmp_path)
    np.savez(tmp_path / FILE, **vars(reference) | {"center": np.zeros(3)})
    with pytest.raises(UserError, match=r"reference.npz is damaged"):
        load_reference(tmp_path)
