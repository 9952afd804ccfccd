"""Open a dataset that lies on this machine, or prepare it; never wait for a network that is not there."""

import contextlib
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import tensorflow_datasets as tfds

from tlkeras.data.tfds import DatasetName, prepared_folders
from tlkeras.errors import UserError
from tlkeras.io import network
from tlkeras.runtime import quiet_stderr

TIMEOUT = 3.0  # seconds for a network to answer
MAX_HOSTS = 8


def open_builder(wanted: DatasetName, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """Return the builder of a dataset whose files lie on this machine, after preparing them if need be."""
    if wanted.folder:
        return _open_folder(wanted.folder)
    given = data_dir or os.environ.get("TFDS_DATA_DIR")
    if given and "://" in given:
        raise UserError(f"tfds:{wanted.name} would lie in {given}. Copy it to a folder of this machine; give that one.")
    root = Path(given or tfds.core.constants.DATA_DIR).expanduser()
    try:
        with quiet_stderr():  # the code of some datasets loads TensorFlow
            builder = tfds.builder(wanted.name, **({"data_dir": str(root)} if given else {}))
    except Exception as error:
        raise _not_found(wanted.name, root, error) from None  # it would list every dataset of TFDS
    if not builder.is_prepared():
        _prepare(builder, wanted.name, root)
    return builder


def one_line(error: Exception | str) -> str:
    """Return a message in one line of at most 300 characters without a full stop; if empty, the kind of error."""
    text = " ".join(str(error).split())
    text = re.sub(r"^Failed to construct dataset .*?}: |\. Here are \d+ BuilderConfigs.*", "", text)
    return text[:300].rstrip(". ") or type(error).__name__


def _open_folder(folder: Path) -> tfds.core.DatasetBuilder:
    """Return the builder of a prepared dataset, without its code."""
    inside = prepared_folders(folder)
    if folder not in inside:
        raise UserError(
            f"tfds:{folder} holds versions or configs of a dataset, not one dataset. Give one of these folders: "
            f"{', '.join(map(str, inside[:5]))}{', ...' if inside[5:] else ''}."
        )
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # JSON, protocol buffers and features fail in their own ways
        raise UserError(
            f"tfds:{folder} cannot be read as a prepared dataset ({one_line(error)}). Prepare it again with tfds build."
        ) from error


def _not_found(name: str, root: Path, error: Exception) -> UserError:
    if isinstance(error, tfds.core.DatasetNotFoundError):
        close = re.search(r"Did you mean: \S+ -> (\w+)", str(error))
        hint = f" Did you mean {close[1]}?" if close else ""
        return UserError(
            f"TensorFlow Datasets has no dataset {name!r}, and none lies in {root}.{hint} Its own are listed at https://"
            "www.tensorflow.org/datasets/catalog; one that tfds build made is found with --data-dir or tfds:FOLDER."
        )
    known: list[str] = []  # else there is no such config or version, or its code needs a package
    with contextlib.suppress(Exception):
        known += tfds.builder_cls(re.split("[/:]", name)[0]).builder_configs
    configs = f" Its configs are {', '.join(known[:20])}{', ...' if known[20:] else ''}." if known else ""
    return UserError(
        f"TensorFlow Datasets cannot open {name!r}, and none lies in {root} ({one_line(error)}).{configs} Give another "
        "name, config or version."
    )


def _prepare(builder: tfds.core.DatasetBuilder, name: str, root: Path) -> None:
    """Download and prepare a dataset; refuse at once without a network, for which TFDS would wait minutes."""
    absent = f"tfds:{name} is not on this machine, where it would lie in {builder.data_dir}, and"
    command = f"tfds build {name} --data_dir {root}"
    manual, by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS, root / "downloads" / "manual"
    if manual and not (by_hand.is_dir() and any(by_hand.iterdir())):
        raise UserError(f"{absent} its files must be fetched by hand ({one_line(manual)}). Put them in {by_hand}.")
    # Where a dataset lists no URLs and no files to fetch by hand, it comes from the storage of TFDS.
    urls = list(builder.url_infos or ()) or ([] if manual else ["https://storage.googleapis.com"])
    if urls and not any_reachable(urls, TIMEOUT):
        proxies = urllib.request.getproxies()
        proxy = proxies.get("https") or proxies.get("http")
        hosts = sorted({urlsplit(url).hostname or url for url in ([proxy] if proxy else urls)})
        there = [path.name for path in prepared_folders(Path(builder.data_dir).parent)]
        use = f"tfds:{name.partition(':')[0]}:{there[-1]}" if there else ""
        other = f" Version {' and '.join(there)} lies there: {use}." if there else ""
        raise UserError(
            f"{absent} there is no network to download it: {' and '.join(hosts[:3])} did not answer.{other} Run "
            f"`{command}` on a machine with a network and copy that folder here, or say with --data-dir where it is."
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # each dataset fails in its own way
        raise UserError(
            f"tfds:{name} could not be downloaded and prepared ({one_line(error)}). Run `{command}` to see the "
            "details; some datasets need files fetched by hand first."
        ) from error


def any_reachable(urls: Iterable[str], timeout: float = 5.0) -> bool:
    """Return whether one of the servers of some URLs answers, whatever it answers, within seconds.

    One URL of each host is asked, at the same time, for the first `MAX_HOSTS` hosts.
    """
    asked = list({urlsplit(url).netloc: url for url in urls}.values())[:MAX_HOSTS]
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            network.check_reachable(url, timeout)
            answers.put(True)
        except OSError as error:
            answers.put(isinstance(error, urllib.error.HTTPError))

    for url in asked:  # not a pool, which would wait for a look-up of names that hangs
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    end = time.monotonic() + timeout
    with contextlib.suppress(queue.Empty):
        return any(answers.get(timeout=max(0.0, end - time.monotonic())) for _ in asked)
    return False
