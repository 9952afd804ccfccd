"""A data set of TensorFlow Datasets, by name; needs the optional package tensorflow-datasets."""

import socket
import urllib.request
from typing import Any

from tlkeras.data.example import SPLIT_WORDS, Example, Source, Split, Task
from tlkeras.errors import UserError

DOWNLOAD_HOST = ("storage.googleapis.com", 443)


def find(name: str) -> Source:
    """Lists the pictures of a data set, which is downloaded and prepared first where it is not.

    The encoded pictures are kept in memory; `tlkeras.data.decode` reads them like files. Examples without a
    label (TFDS writes -1) are left out.

    Args:
        name: As TensorFlow Datasets knows it, such as `tf_flowers` or `beans`, with config or version if wanted.

    Raises:
        UserError: The package is not installed, there is no such data set, it has no picture or no class label,
            or it is not prepared and cannot be downloaded.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"tfds:{name} needs TensorFlow Datasets, which cannot be imported ({error}). "
            "Run: pip install tensorflow-datasets importlib_resources"
        ) from error
    builder = _prepared(tfds, name)
    image_key, label_key, task, classes = _features(tfds, name, builder.info.features)
    decoding = tfds.decode.PartialDecoding(
        dict.fromkeys((image_key, label_key), True), decoders={image_key: tfds.decode.SkipDecoding()}
    )
    notes: list[str] = []
    examples: list[Example] = []
    for word, split in _splits(list(builder.info.splits), notes):
        rows = tfds.as_numpy(builder.as_dataset(split=word, shuffle_files=False, decoders=decoding))
        numbered = [(number, row) for number, row in enumerate(rows) if (row[label_key] >= 0).all()]
        for number, row in numbered:
            ids = row[label_key]
            label = tuple(sorted(classes[i] for i in set(ids))) if task == "multi_label" else classes[ids]
            examples.append(Example(f"{word}#{number}", label, split, content=row[image_key]))
        if unlabelled := builder.info.splits[word].num_examples - len(numbered):
            notes.append(f"Of the split {word}, {unlabelled} pictures have no label and were left out.")
    if not examples:
        raise UserError(f"tfds:{name} has no picture with a label. Give another data set.")
    return Source(f"tfds:{name}", examples, task, classes, notes)


def _prepared(tfds: Any, name: str) -> Any:
    """Returns the builder of a data set whose files lie on this machine."""
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        raise UserError(
            f"TensorFlow Datasets has no {name!r} ({_first_line(error)}). "
            "Its names are listed at https://www.tensorflow.org/datasets/catalog."
        ) from error
    if builder.is_prepared():
        return builder
    # Without a network TFDS would go on trying for more than three minutes.
    if not urllib.request.getproxies() and not _reachable():
        raise UserError(
            f"tfds:{name} is not on this machine, where it would lie in {builder.data_dir}, and there is no network to "
            f"download it. Run `tfds build {name}` on a machine with a network and copy that folder here."
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # each data set fails in its own way
        raise UserError(
            f"tfds:{name} could not be downloaded and prepared ({_first_line(error)}). "
            f"Run `tfds build {name}` to see the details; some data sets need files fetched by hand first."
        ) from error
    return builder


def _reachable() -> bool:
    try:
        socket.create_connection(DOWNLOAD_HOST, timeout=3).close()
    except OSError:
        return False
    return True


def _features(tfds: Any, name: str, features: Any) -> tuple[str, str, Task, list[str]]:
    """Returns the keys of the picture and of its label, the task, and the class names in the data set's order."""
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    single = {key: f for key, f in features.items() if isinstance(f, tfds.features.ClassLabel)}
    several = {
        key: sequence.feature
        for key, sequence in features.items()
        if isinstance(sequence, tfds.features.Sequence) and isinstance(sequence.feature, tfds.features.ClassLabel)
    }
    labels, task = (single, "single_label") if single else (several, "multi_label")
    image_key = _only(images, "image")
    label_key = _only(list(labels), "label", "labels")
    if image_key is None or label_key is None:
        raise UserError(
            f"tfds:{name} needs one picture and one class label per example, but its features are "
            f"{', '.join(features)}. Write the pictures to a folder and list them in a CSV file instead."
        )
    return image_key, label_key, task, list(labels[label_key].names)


def _only(keys: list[str], *usual: str) -> str | None:
    """Returns the key with a usual name, or the only key there is."""
    return next((key for key in usual if key in keys), keys[0] if len(keys) == 1 else None)


def _splits(words: list[str], notes: list[str]) -> list[tuple[str, Split | None]]:
    """Returns the splits to read and what they are: TFDS's own train, validation and test, or one to be split."""
    known = [(word, SPLIT_WORDS[word]) for word in words if word in SPLIT_WORDS]
    if len(known) > 1:
        if others := [word for word in words if word not in SPLIT_WORDS]:
            notes.append(f"Other splits of the data set were ignored: {', '.join(others)}.")
        return known
    word = known[0][0] if known else words[0]
    if len(words) > 1:
        notes.append(f"Only the split {word} is used, of {', '.join(words)}.")
    return [(word, None)]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
