"""From a TensorFlow Hub handle to the module's folder on this machine. TensorFlow is loaded for downloads only."""

import hashlib
import os
import socket
import tarfile
import tempfile
import urllib.parse
import warnings
from collections.abc import Sequence
from pathlib import Path

from tlkeras.errors import UserError, first_sentence
from tlkeras.io import cache_dir, network
from tlkeras.io.hashing import file_hash, tree_hash
from tlkeras.runtime import load_tensorflow

PREFIX = "hub:"
ARCHIVES = (".tar", ".tar.gz", ".tgz")
CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 60.0  # seconds without a byte after which a download has failed; tensorflow_hub would wait forever
REF_VARIABLE = b"VariableV2"  # the name of the operation, as a graph has it


def check_handle(handle: str) -> None:
    """Refuse, before TensorFlow loads, what cannot be a module or cannot be downloaded."""
    path = Path(handle).expanduser()
    if not handle.strip():
        raise UserError(f'The backbone was "{PREFIX}" without a handle: add a URL, a folder or an archive.')
    if is_url(handle):
        check_cached_or_reachable(handle)
    elif path.is_dir():
        check_folder(path)
    elif not (path.is_file() and path.name.endswith(ARCHIVES)):
        raise UserError(
            f'The backbone was "{PREFIX}{handle}", but {path} does not exist or is not a module: give a URL, a folder '
            f"with saved_model.pb in it, or an archive of one ({', '.join(ARCHIVES)})."
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder that does not hold a module of TensorFlow 2."""
    if not (folder / "saved_model.pb").is_file():
        raise UserError(
            f"{folder} is not a TensorFlow Hub module: it has no saved_model.pb. Give the folder that does."
        )
    if (folder / "tfhub_module.pb").is_file():
        raise tensorflow_1_error(folder, "a module in the TF1 Hub format", [], "default")


def tensorflow_1_error(folder: Path, what: str, tags: Sequence[str], key: str) -> UserError:
    """Return what to tell the user about a file of TensorFlow 1 with these tags, whose signature `key` has features."""
    start = f"{folder} is {what}, which cannot be fine-tuned in TensorFlow 2. Use its TF2 version"
    if REF_VARIABLE in (folder / "saved_model.pb").read_bytes():
        return UserError(f"{start}; this one keeps its weights in ref variables (VariableV2) and cannot be converted.")
    return UserError(
        f'{start}, or convert it: loaded = tf.saved_model.load("{folder}", tags={list(tags)}); '
        f'tf.saved_model.save(loaded, "NEW", signatures=loaded.signatures["{key}"])'
    )


def is_url(handle: str) -> bool:
    """Return whether a handle is to be downloaded."""
    return handle.startswith(("http://", "https://"))


def hub_cache() -> Path:
    """Return the folder of tensorflow_hub's downloads: `TFHUB_CACHE_DIR`, or one that outlives a restart."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or cache_dir() / "hub")


def check_cached_or_reachable(handle: str) -> None:
    """Refuse a URL that tensorflow_hub has not downloaded before and that does not answer."""
    if (hub_cache() / hashlib.sha1(handle.encode()).hexdigest() / "saved_model.pb").is_file():
        return
    try:
        address = urllib.parse.urlsplit(handle)
        query = "&".join(filter(None, [address.query, "tf-hub-format=compressed"]))
        # GET, as some servers do not answer HEAD; nothing but the header is read.
        network.check_reachable(address._replace(query=query).geturl(), CONNECT_TIMEOUT, method="GET")
    except (OSError, ValueError) as error:
        raise cannot_download(handle, error) from error


def cannot_download(handle: str, error: Exception) -> UserError:
    """Return what to tell the user when a module cannot be downloaded."""
    reason = first_sentence(error)
    return UserError(
        f"The module {handle} is not in the cache ({hub_cache()}) and cannot be downloaded ({reason}). Download it "
        f"elsewhere as a .tar.gz, copy that here, and give --backbone {PREFIX}FILE."
    )


def fetch(handle: str) -> Path:
    """Return the folder of a module; download or unpack it first if necessary."""
    check_handle(handle)
    path = Path(handle).expanduser()
    if is_url(handle):
        path = download(handle)
    elif path.is_file():
        path = unpack(path)
    check_folder(path)
    return path


def download(handle: str) -> Path:
    """Let tensorflow_hub download a module into its cache, or find it there."""
    os.environ["TFHUB_CACHE_DIR"] = str(hub_cache())
    load_tensorflow()  # here, as tensorflow_hub would load it with all its startup logs
    try:
        with warnings.catch_warnings(action="ignore"):  # setuptools warns whenever tensorflow_hub is imported
            import tensorflow_hub
    except ImportError as error:
        raise UserError(
            f"{PREFIX}{handle} needs TensorFlow Hub, which cannot be imported ({first_sentence(error)}). "
            "Run: pip install tensorflow-hub tf_keras 'setuptools<81'"
        ) from error
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(READ_TIMEOUT)
    try:
        return Path(tensorflow_hub.resolve(handle))
    except Exception as error:  # of many kinds: the network, the archive, the disk
        raise cannot_download(handle, error) from error
    finally:
        socket.setdefaulttimeout(before)


def unpack(archive: Path) -> Path:
    """Unpack an archive into the cache, once for each content."""
    folder = hub_cache() / f"file-{file_hash(archive)}"
    if folder.is_dir():
        return folder
    if not hasattr(tarfile, "data_filter"):  # which keeps files inside the folder
        raise UserError(f"{archive} can be unpacked safely with Python 3.11.4 or newer only. Give the unpacked folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        try:
            with tarfile.open(archive) as file:
                file.extractall(partial, filter="data")
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise UserError(f"{archive} cannot be unpacked ({first_sentence(error)}). Get it again.") from error
        found = list(Path(partial).rglob("saved_model.pb"))
        if len(found) != 1:
            raise UserError(
                f"{archive} holds {len(found)} files called saved_model.pb; an archive of a module holds one. Give the "
                "archive, or the unpacked folder, of one module."
            )
        check_folder(found[0].parent)
        try:
            found[0].parent.rename(folder)
        except OSError:  # another process was faster; its folder has the same content
            if not folder.is_dir():
                raise
    return folder


def digest_module(folder: Path) -> str:
    """Return the hash of a module's graph and assets, not of its weights, which a layer has of its own."""
    return tree_hash(folder, sorted((folder / "assets").rglob("*")), prefix=(folder / "saved_model.pb").read_bytes())
