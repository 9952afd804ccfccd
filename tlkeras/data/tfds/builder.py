"""Find a TensorFlow data set on this machine, or prepare it; never wait for a network that is not there."""

import contextlib
import logging
import os
import re
import socket
import threading
import time
import urllib.request
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tlkeras.data.tfds.name import TfdsName
from tlkeras.errors import UserError
from tlkeras.runtime import quiet_stderr

DOWNLOADS = "https://storage.googleapis.com"  # where TFDS keeps much; asked where a data set lists no addresses
PATIENCE = 3.0  # seconds for a network to answer
ASKED = 8  # hosts of a data set
INFO = "dataset_info.json"


def import_tfds(text: str) -> ModuleType:
    """Imports TensorFlow Datasets, and keeps it from talking.

    Raises:
        UserError: It is not installed, or not whole.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"tfds:{text} needs TensorFlow Datasets, which cannot be imported ({error}). "
            "Run: pip install tensorflow-datasets importlib_resources"
        ) from error
    logging.getLogger("absl").setLevel(logging.ERROR)
    return tfds


def open_folder(tfds: Any, folder: Path) -> Any:
    """Returns the builder of a prepared data set, without its code.

    Raises:
        UserError: The folder is damaged, or holds versions or configs of a data set instead of one.
    """
    if not (folder / INFO).is_file():
        inside = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{INFO}"))
        raise UserError(
            f"tfds:{folder} holds versions or configs of a data set, not one data set: "
            f"{', '.join(map(str, inside[:5]))}{', ...' if inside[5:] else ''}. Give one of these folders."
        )
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # JSON, protocol buffers and features fail in their own ways
        raise UserError(
            f"tfds:{folder} cannot be read as a prepared data set ({one_line(error)}). "
            "Prepare it again with tfds build."
        ) from error


def holds_data_sets(folder: Path) -> bool:
    """Whether a folder is a prepared data set, or holds versions or configs of one."""
    return any(next(folder.glob(f"{depth}{INFO}"), None) for depth in ("", "*/", "*/*/"))


def open_named(tfds: Any, wanted: TfdsName, data_dir: str | None) -> Any:
    """Returns the builder of a data set whose files lie on this machine, after preparing them where need be.

    Args:
        tfds: The module.
        wanted: The data set.
        data_dir: Where TFDS keeps its data sets; None is `TFDS_DATA_DIR`, or TFDS's own default.

    Raises:
        UserError: There is no such data set, or it is not prepared and cannot be.
    """
    given = data_dir or os.environ.get("TFDS_DATA_DIR")
    if given and "://" in given:
        raise UserError(
            f"tfds:{wanted.name} would lie in {given}, but only folders of this machine are read. Copy the data set "
            "here and give that folder."
        )
    place = str(Path(given or tfds.core.constants.DATA_DIR).expanduser())
    try:
        with quiet_stderr():  # the code of some data sets loads TensorFlow
            builder = tfds.builder(wanted.name, **({"data_dir": place} if given else {}))
    except Exception as error:  # not found, no such config or version, a package that its code needs
        raise _not_found(tfds, wanted.name, place, error) from None  # it would list every data set of TFDS
    if not builder.is_prepared():
        _prepare(builder, wanted.name, place)
    return builder


def _prepare(builder: Any, name: str, place: str) -> None:
    """Downloads and prepares a data set, where that can be."""
    by_hand = Path(place, "downloads", "manual")
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not (by_hand.is_dir() and any(by_hand.iterdir())):
        raise UserError(
            f"tfds:{name} is not on this machine, where it would lie in {builder.data_dir}, and its files must be "
            f"fetched by hand ({one_line(builder.MANUAL_DOWNLOAD_INSTRUCTIONS)}). Put them in {by_hand}."
        )
    if builder.url_infos or not builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        _check_network(builder, name, place)
    try:
        builder.download_and_prepare()
    except Exception as error:  # each data set fails in its own way
        raise UserError(
            f"tfds:{name} could not be downloaded and prepared ({one_line(error)}). Run `{_build(name, place)}` to see "
            "the details; some data sets need files fetched by hand first."
        ) from error


def one_line(error: Exception | str) -> str:
    """A message in one line, cut to 300 characters, without a full stop; the kind of error if it is empty."""
    text = re.sub(r"^Failed to construct dataset .*?}: ", "", " ".join(str(error).split()))
    return text[:300].rstrip(". ") or type(error).__name__


def _not_found(tfds: Any, name: str, place: str, error: Exception) -> UserError:
    base, _, config = name.partition(":")[0].partition("/")
    with contextlib.suppress(Exception):
        known = list(tfds.builder_cls(base).builder_configs)
        if config and config not in known:
            some = f"Known are {', '.join(known[:20])}{', ...' if known[20:] else ''}" if known else "It has none"
            return UserError(
                f"The data set {base} has no config {config!r}, and none of that name lies in {place}. {some}."
            )
    if isinstance(error, tfds.core.DatasetNotFoundError):
        close = re.search(r"Did you mean: \S+ -> (\w+)", str(error))
        hint = f" Did you mean {close[1]}?" if close else ""
        return UserError(
            f"TensorFlow Datasets has no data set {name!r}, and none of that name lies in {place}.{hint} Its own are "
            "listed at https://www.tensorflow.org/datasets/catalog; one that tfds build made is found with --data-dir "
            "or as tfds:FOLDER."
        )
    return UserError(
        f"TensorFlow Datasets cannot open {name!r} ({one_line(error)}). Give another name, config or version."
    )


def _check_network(builder: Any, name: str, place: str) -> None:
    """Refuses to begin a download without a network: TFDS would go on trying for minutes."""
    addresses = _addresses(builder.url_infos or [DOWNLOADS])
    if _any_answers(addresses):
        return
    folder = Path(builder.data_dir)
    there = sorted(path.parent.name for path in folder.parent.glob(f"*/{INFO}"))
    other = f" Version {' and '.join(there)} lies there: tfds:{name.partition(':')[0]}:{there[-1]}." if there else ""
    raise UserError(
        f"tfds:{name} is not on this machine, where it would lie in {folder}, and there is no network to download it: "
        f"{' and '.join(host for host, _ in addresses)} did not answer.{other} Run `{_build(name, place)}` on a "
        "machine with a network and copy that folder here, or say with --data-dir where it is."
    )


def _build(name: str, place: str) -> str:
    return f"tfds build {name} --data_dir {place}"


def _addresses(urls: Any) -> list[tuple[str, int]]:
    """Hosts and ports to ask: the proxy's where there is one, else those of the first few hosts in the addresses."""
    proxies = urllib.request.getproxies()
    if proxy := proxies.get("https") or proxies.get("http"):
        urls = [proxy if "//" in proxy else f"//{proxy}"]
    parts = [urlsplit(url) for url in urls]
    found = {(part.hostname, part.port or (80 if part.scheme == "http" else 443)) for part in parts if part.hostname}
    return sorted(found)[:ASKED]


def _any_answers(addresses: list[tuple[str, int]]) -> bool:
    """Whether one of the hosts can be reached, within `PATIENCE` seconds for all of them, look-up of names included."""
    answered = threading.Event()

    def ask(address: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(address, timeout=PATIENCE).close()
            answered.set()

    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    while any(thread.is_alive() for thread in threads) and time.monotonic() < end and not answered.wait(0.05):
        pass
    return answered.is_set()
