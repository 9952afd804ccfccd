"""Export the model of a run: convert it, compare it with the trained one, and only then call it done."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras import __version__
from tlkeras.backbones.table import BACKBONES
from tlkeras.data.example import Example, content_of
from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.data.splits import load_split
from tlkeras.errors import UserError
from tlkeras.export.artifact import ArtifactInfo
from tlkeras.export.formats import Format, find_format, load_module
from tlkeras.export.measure import Measured, measure
from tlkeras.export.parity import accuracy, compare_outputs, out_of_tolerance
from tlkeras.io.locks import locked
from tlkeras.progress import passing
from tlkeras.run.artifacts import write_json
from tlkeras.run.evaluate import check_listing, evaluation_splits, predict_inputs, training_data
from tlkeras.run.folder import hidden, move_into_place
from tlkeras.run.load_run import Run, load_model, load_trained_run
from tlkeras.runtime import load_tensorflow

COPIED = (
    "labels.json",
    "config.yaml",
    "thresholds.json",
    "known.npz",
    "reference.npz",
    "MODEL_CARD.md",
)  # those that the run has
SAMPLE = 200  # training examples that show a quantizer the range of values
SQUARES = {"crop": "the center square", "pad": "with black bars to a square", "squash": "squashed to a square"}
COMPARED = 10_000  # validation examples at most, as they are in memory
RAW = 12  # images that are compared at their own size


@dataclass(frozen=True)
class Examples:
    """What a model is converted and compared on."""

    sample: np.ndarray  # decoded training examples
    inputs: np.ndarray  # decoded validation examples
    targets: np.ndarray  # (N, K) of these
    raw: list[np.ndarray]  # some of them at their own size, uint8 (H, W, 3); none for others than images
    files: list[bytes]  # of these


def export(
    run_path: str | Path,
    format: str,
    variant: str | None = None,
    output: str | Path | None = None,
    data: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Export a run's model and return the folder of the artifact, and what the comparison found.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        format: a name of `tlkeras.export.formats.FORMATS`, such as "litert".
        variant: how numbers are stored, such as "int8"; the format's first one when None.
        output: folder to write; `RUN/export/FORMAT-VARIANT` when None.
        data: examples to compare on, with the run's classes; the run's own validation split when None.
        overwrite: whether a folder that is there is replaced.

    Raises:
        UserError: the run cannot be used, a package is missing, the format cannot hold the model, or the artifact
            differs from the trained model by more than the variant's tolerance; then nothing is written.
    """
    found, variant = find_format(format, variant)
    run = load_trained_run(run_path)
    name = format if len(found.variants) == 1 else f"{format}-{variant}"
    path = Path(output).expanduser() if output else run.path / "export" / name
    check_output(path, overwrite)
    examples = load_examples(run, data)
    from tlkeras.export.inference import InferenceModel, in_float32

    trained = in_float32(load_model(run.path / "model.keras", outputs=len(run.classes) or 1))
    info = describe(run, trained, format, variant)
    with artifact_directory(path, overwrite) as folder:
        for file in COPIED:
            if (run.path / file).is_file():
                shutil.copyfile(run.path / file, folder / file)
        model = InferenceModel(trained, run.modality.shape, run.modality.dtype, list(info.outputs))
        with passing(f"Converting to {found.title}"):
            load_module(format).convert(model, folder, info, variant, examples.sample)
        info.save(folder)
        with passing("Comparing with the trained model"):
            parity = compare(run, trained, measure(folder, examples.inputs, examples.raw, examples.files), examples)
        parity |= {"bytes": size_of(folder, found.model), "operators": load_module(format).operators(folder)}
        check(parity, found, format, variant)
        write_json(folder / "parity.json", parity)
    return path, parity


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse a folder that may not be replaced."""
    if path.exists() and not overwrite:
        raise UserError(f"--output {path} exists already. Give another folder, or --overwrite to replace it.")
    if path.exists() and not (path.is_dir() and (path / "artifact.json").exists()):
        raise UserError(f"--output {path} is no artifact, so --overwrite does not replace it; give another folder.")


def load_examples(run: Run, data: str | None) -> Examples:
    """Decode what a model is converted and compared on."""
    source = training_data(run) if data is None else data
    listing = find_examples(source, run.task, training=False, data_dir=run.config.get("data_dir"),
                            modality=type(run.modality))  # fmt: skip
    check_listing(run, listing)
    splits = evaluation_splits(run, listing.examples, own=False)
    if data is None:
        rows = load_split(run.path / "split.csv", listing.examples)
        splits = {name: [listing.examples[index] for index in found] for name, found in rows.items()}
    held_out = splits.get("validation") or next(iter(splits.values()))
    held_out = held_out[:: -(-len(held_out) // COMPARED)]
    training = splits.get("train") or held_out
    chosen = np.random.default_rng(0).permutation(len(training))[:SAMPLE]
    limit = run.config["max_unreadable"]
    sample = decode_all([training[index] for index in sorted(chosen)], run.modality, limit)
    decoded = decode_all(held_out, run.modality, limit)
    load_tensorflow()
    from tlkeras.data.pipeline import make_targets

    targets = make_targets(decoded.examples, run.task, run.classes)
    return Examples(sample.inputs[:], decoded.inputs[:], targets, *read_raw(run, decoded.examples))


def read_raw(run: Run, examples: list[Example]) -> tuple[list[np.ndarray], list[bytes]]:
    """Return some images at their own size, and their files, or PNGs of them where TensorFlow cannot read these."""
    if len(run.modality.shape) != 3:
        return [], []
    import tensorflow as tf

    from tlkeras.export.encoded import decode
    from tlkeras.modalities.image import read_rgb

    step, gray_range, pixels, files = max(1, len(examples) // RAW), run.modality.options()["gray_range"], [], []
    for example in examples[::step][:RAW]:
        content = content_of(example)
        image = read_rgb(content, gray_range)
        pixels.append(np.asarray(image))
        file = content.read_bytes() if isinstance(content, Path) else content
        try:
            decode(tf.constant(file), gray_range)
        except (tf.errors.OpError, ValueError):  # such as TIFF, or an array
            written = io.BytesIO()
            image.save(written, "PNG")
            file = written.getvalue()
        files.append(bytes(file))
    return pixels, files


def describe(run: Run, trained: Any, format: str, variant: str) -> ArtifactInfo:
    """Return what an artifact says of itself, but for its operators."""
    from tlkeras.models.introspect import num_features

    width, count = num_features(trained), trained.output_shape[-1]
    shape: list[int | None] = [None, *run.modality.shape]
    taken: dict[str, Any] = {"name": "inputs", "dtype": run.modality.dtype, "shape": shape}
    taken |= run.modality.options()
    if len(run.modality.shape) == 3:
        taken |= {"name": "images", "shape": [None, None, None, 3], "pixels": "RGB 0–255, upright",
                  "resize": f"inside, {SQUARES[run.modality.options()['resize']]}, antialiased"}  # fmt: skip
    name = "values" if run.task == "regression" else "probabilities"
    outputs = {name: count} | ({"features": width} if width else {})
    return ArtifactInfo(
        format,
        variant,
        run.task,
        __version__,
        run.config["backbone"],
        describe_weights(run),
        taken,
        outputs,
        run.classes,
    )


def describe_weights(run: Run) -> dict[str, str]:
    """Return the name of the weights that training started from, without its folder, and their source and license."""
    name = Path(str(run.config["weights"])).name
    if name == "bundled":
        return {"name": name, "license": "non-commercial research and education: they were trained on Tiny ImageNet"}
    spec = BACKBONES.get(run.config["backbone"])
    if spec is None or name != "imagenet":
        return {"name": name}
    return {"name": name, "source": spec.weights_file(run.config["image_size"])[1], "license": "that of the source"}


@contextlib.contextmanager
def artifact_directory(path: Path, overwrite: bool) -> Iterator[Path]:
    """Make a folder to write an artifact into; it becomes `path` when the block ends well, and is removed if not."""
    missing = [parent for parent in path.parents if not parent.exists()]
    partial = hidden(path)
    try:
        with locked(hidden(path, "lock"), f"The artifact {path}", "another --output"):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield partial
                move_into_place(partial, path, overwrite)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):  # folders that hold the artifact, or another one, stay
            for parent in missing:
                parent.rmdir()


def compare(run: Run, trained: Any, measured: Measured, examples: Examples) -> dict[str, Any]:
    """Return how an artifact differs from the trained model, on decoded examples and on images of their own size."""
    reference = predict_inputs(trained, examples.inputs, run.config["batch_size"])
    found = compare_outputs(reference, measured.outputs, run.task)
    if run.task != "regression":
        found["accuracy"] = accuracy(measured.outputs, examples.targets, run.task)
        found["trained_accuracy"] = accuracy(reference, examples.targets, run.task)
    else:
        found["mae"] = float(np.abs(measured.outputs - examples.targets).mean())
        found["trained_mae"] = float(np.abs(reference - examples.targets).mean())
    if measured.raw:
        whole = np.stack([trained.predict_on_batch(image[None])[0] for image in examples.raw])
        found["own_size"] = compare_outputs(whole, np.stack(measured.raw), run.task)
    return found | {"milliseconds": measured.milliseconds}


def check(parity: dict[str, Any], found: Format, format: str, variant: str) -> None:
    """Refuse an artifact that is beyond its tolerance, and name the variants that lose less."""
    comparisons = [parity, *([parity["own_size"]] if "own_size" in parity else [])]
    if reason := next(filter(None, (out_of_tolerance(one, found.variants[variant]) for one in comparisons)), None):
        names = list(found.variants)
        nearer = " or ".join(names[: names.index(variant)])
        then = f"Give --variant {nearer}." if nearer else "Do not use this model in this format."
        raise UserError(
            f"{format} {variant} differs too much from the trained model: {reason}. Nothing was written. {then}"
        )


def size_of(folder: Path, model: str) -> int:
    """Return the bytes of the model: of its file and what is named like it, or of the folder that it is in."""
    file = folder / model
    files = folder.glob(f"{file.stem}.*") if file.parent == folder else file.parent.rglob("*")
    return sum(one.stat().st_size for one in files if one.is_file())


def as_text(path: Path, parity: dict[str, Any]) -> str:
    """Return the comparison in a few lines."""
    lines = [f"Artifact: {path} ({parity['bytes'] / 1e6:.1f} MB)"]
    if "agreement" in parity:
        low, high = parity["agreement_95"]
        lines.append(f"Agreement with the trained model: {parity['agreement']:.3f} of {parity['count']:,} "
                     f"(95% CI {low:.3f}–{high:.3f})")  # fmt: skip
        lines.append(f"Maximum difference of probabilities: {parity['max_difference']:.2g}")
        lines.append(f"Accuracy: {parity['accuracy']:.3f}, of the trained model {parity['trained_accuracy']:.3f}")
    else:
        lines.append(f"Maximum difference from the trained model: {parity['max_difference']:.2g} of the range")
        lines.append(f"Mean absolute error: {parity['mae']:.3g}, of the trained model {parity['trained_mae']:.3g}")
    times = ", ".join(f"{value:g} ms at batch {size}" for size, value in parity["milliseconds"].items())
    return "\n".join([*lines, f"Latency: {times}"])


def as_json(path: Path, parity: dict[str, Any]) -> str:
    """Return the comparison, and the folder of the artifact, as JSON."""
    return json.dumps({"artifact": str(path)} | parity, indent=2, ensure_ascii=False)
