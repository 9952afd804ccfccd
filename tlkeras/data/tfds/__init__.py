"""Read image datasets of TensorFlow Datasets, by name or by folder; needs the optional package tensorflow-datasets."""

from tlkeras.data import folder
from tlkeras.data.example import DatasetListing
from tlkeras.data.tfds.name import parse_name, prepared_folders
from tlkeras.errors import UserError


def find(text: str, data_dir: str | None = None) -> DatasetListing:
    """List the images of a dataset, which is downloaded and prepared first if it is not yet.

    See `tlkeras.data.tfds.name` for `text`. A folder without a prepared dataset, but with images as in
    `tfds.ImageFolder` is read as any folder is. Without `data_dir`, TFDS keeps its datasets in `TFDS_DATA_DIR`, or in
    its own default.

    Raises:
        UserError: the package is not installed, there is no such dataset, it has no image or no label, its parts
            overlap, it is damaged, or it is not prepared and cannot be downloaded.
    """
    wanted = parse_name(text)
    if wanted.folder and not prepared_folders(wanted.folder):
        if wanted.parts:
            raise UserError(
                f"tfds:{text} is a folder without a prepared dataset, so no parts of it can be taken. Give --data "
                f"{wanted.folder} for a folder of images, or the folder in which dataset_info.json lies."
            )
        return folder.find(wanted.folder, name=f"tfds:{text}")
    try:
        import tensorflow_datasets  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"tfds:{text} needs TensorFlow Datasets, which cannot be imported ({error}). "
            "Run: pip install tensorflow-datasets importlib_resources"
        ) from error
    from tlkeras.data.tfds.source import list_examples

    return list_examples(text, data_dir)


def short_name(text: str) -> str:
    """Return what to call a run on this data: the dataset without its parts."""
    wanted = parse_name(text)
    return f"tfds {' '.join(wanted.folder.parts[-2:]) if wanted.folder else wanted.name}"


def public_name(text: str) -> str:
    """Return what stands in a model card: all that was given, but no folders of this machine."""
    wanted = parse_name(text)
    head, colon, parts = text.partition(":")
    return f"tfds:{'/'.join(wanted.folder.parts[-2:]) if wanted.folder else head}{colon}{parts}"
