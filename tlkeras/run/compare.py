"""Compare finished runs on the examples that all of them held out."""

import io
import statistics
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tlkeras.data.sources import was_in_memory
from tlkeras.errors import UserError
from tlkeras.evaluation.compare import compare_outputs
from tlkeras.run.load_run import Run, load_model, load_trained_run
from tlkeras.run.predictions import Predictions, load_predictions

Key = tuple[str, bytes, int]  # of an example: digest or name, target, and which of equal copies it is
CALLS = 30  # that are timed, after as many that warm up


def compare(paths: Sequence[str | Path], split: str | None = None, latency: bool = True) -> dict[str, Any]:
    """Return metrics, differences, size and latency of runs, on the examples of their test (else validation) splits.

    Only those count that are in this split of every run and that no run was trained on.
    """
    if len(paths) < 2:
        raise UserError("One run was given; give two or more to compare.")
    runs = [load_trained_run(path) for path in paths]
    check_comparable(runs)
    kept = [align(load_predictions(run.path), run.classes, runs[0].classes) for run in runs]
    splits = [split or ("test" if "test" in one.splits else "validation") for one in kept]
    for run, one, name in zip(runs, kept, splits, strict=True):
        if name not in one.splits:
            raise UserError(
                f"{run.path} has no {name} split. Give --split {'validation' if name == 'test' else 'test'}."
            )
    by = join_by(runs, kept)
    keys = [example_keys(one, by) for one in kept]
    rows = common_rows(runs, kept, keys, splits)
    targets = kept[0].targets[rows[0]]
    compared = compare_outputs([one.outputs[chosen] for one, chosen in zip(kept, rows, strict=True)], targets,
                               runs[0].task)  # fmt: skip
    times = median_milliseconds(runs) if latency else [None] * len(runs)
    about = [describe(run, milliseconds) for run, milliseconds in zip(runs, times, strict=True)]
    return {
        "task": runs[0].task, "unit": runs[0].modality.plural, "count": len(targets), "joined_by": by, "splits": splits,
        "runs": [facts | metrics for facts, metrics in zip(about, compared, strict=True)],
    }  # fmt: skip


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs of different tasks or classes."""
    for run in runs[1:]:
        if run.task != runs[0].task:
            raise UserError(
                f"{run.path} is of the task {run.task}, and {runs[0].path} of {runs[0].task}. Give runs of one task."
            )
        if other := set(run.classes) ^ set(runs[0].classes):
            raise UserError(
                f"{run.path} and {runs[0].path} have different classes ({', '.join(sorted(other)[:5])}). Give runs "
                "with the same classes."
            )


def align(kept: Predictions, classes: Sequence[str], order: Sequence[str]) -> Predictions:
    """Return predictions with the columns of classes in another order."""
    columns = [list(classes).index(name) for name in order] or list(range(kept.targets.shape[1]))
    return Predictions(kept.names, kept.digests, kept.splits, kept.targets[:, columns], kept.outputs[:, columns])


def join_by(runs: Sequence[Run], kept: Sequence[Predictions]) -> str:
    """Return what tells that an example is the same in all runs; a digest is of pixels, so of one image size."""
    same_data = len({run.config["data"] for run in runs}) == 1 and not was_in_memory(runs[0].config["data"])
    differ = len({tuple(run.modality.options().items()) for run in runs}) > 1
    return "name" if same_data and differ and not set.intersection(*(set(one.digests) for one in kept)) else "digest"


def example_keys(kept: Predictions, by: str) -> list[Key]:
    """Return a key for each example; copies with one label are numbered, as they are the same for every model."""
    seen: Counter[tuple[str, bytes, str]] = Counter()
    keys = []
    for identity, target, split in zip(getattr(kept, f"{by}s"), kept.targets, kept.splits, strict=True):
        plain = (str(identity), target.tobytes())
        keys.append((*plain, seen[*plain, split]))
        seen[*plain, split] += 1
    return keys


def common_rows(
    runs: Sequence[Run], kept: Sequence[Predictions], keys: Sequence[list[Key]], splits: Sequence[str]
) -> list[list[int]]:
    """Return the rows of the examples that every run held out, in one order; refuse where there are none."""
    trained = {key[0] for one, own in zip(kept, keys, strict=True)
               for key, split in zip(own, one.splits, strict=True) if split == "train"}  # fmt: skip
    held_out = [
        {key: row for row, key in enumerate(own) if one.splits[row] == split and key[0] not in trained}
        for one, own, split in zip(kept, keys, splits, strict=True)
    ]
    common = [key for key in held_out[0] if all(key in other for other in held_out)]
    if not common:
        raise UserError(
            f"{' and '.join(str(run.path) for run in runs)} were evaluated on different {runs[0].modality.plural}: "
            "none was held out by all of them. Train them on the same data with the same --seed."
        )
    return [[rows[key] for key in common] for rows in held_out]


def describe(run: Run, milliseconds: float | None) -> dict[str, Any]:
    """Return what a run is, how large its model is, and how long one example takes, where that was measured."""
    file = run.path / "model.keras"
    return {
        "run": str(run.path),
        "data": run.config["data"],
        "backbone": run.config["backbone"],
        "parameters": count_params(file),
        "megabytes": round(file.stat().st_size / 1e6, 2),
        "milliseconds": milliseconds,
    }


def count_params(file: Path) -> int:
    """Return the number of parameters in a `.keras` file, without TensorFlow; states of random layers are none."""
    sizes: list[int] = []

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "seed_generator" not in name:
            sizes.append(item.size)

    with zipfile.ZipFile(file) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        weights.visititems(add)
    return sum(sizes)


def median_milliseconds(runs: Sequence[Run]) -> list[float]:
    """Return the median time of one example through the compiled model of each run, as a server would call it.

    The runs take turns, so that what else the machine does is the same for all.
    """
    import tensorflow as tf

    calls = []
    for run in runs:
        model = load_model(run.path / "model.keras")
        inputs = tf.zeros((1, *run.modality.shape), model.inputs[0].dtype)  # of texts, one that is empty
        calls.append(partial(tf.function(partial(model, training=False)), inputs))
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(2 * CALLS):
        for call, spent in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            np.asarray(call())
            spent.append(time.perf_counter() - start)
    return [round(1000 * statistics.median(spent[CALLS:]), 2) for spent in seconds]
