"""A TensorFlow Hub handle to the module's folder on this machine. Nothing here loads TensorFlow until it downloads."""

import hashlib
import http.client
import os
import socket
import tarfile
import tempfile
import urllib.parse
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path

from tlkeras.errors import UserError
from tlkeras.io.paths import cache_dir
from tlkeras.runtime import load_tensorflow
from tlkeras.backbones.weight_files import file_hash

PREFIX = "hub:"
ARCHIVES = (".tar", ".tar.gz", ".tgz")
SECONDS_TO_CONNECT = 5
SECONDS_OF_SILENCE = 60.0  # after which a download has failed; tensorflow_hub alone would wait for ever
REF_VARIABLE = b"VariableV2"  # the name of the operation, as a graph has it


def handle_of(name: str) -> str | None:
    """The handle in `hub:HANDLE`; None where a backbone's name is something else."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else None


def check_handle(handle: str) -> None:
    """Refuse, before TensorFlow loads, what cannot be a module or cannot be had.

    Args:
        handle: a URL, a folder that holds `saved_model.pb`, or a `.tar`, `.tar.gz` or `.tgz` of one.

    Raises:
        UserError: nothing of that kind is there; or the URL is not in the cache and does not answer.
    """
    if not handle.strip():
        raise UserError(f'The backbone was "{PREFIX}", which lacks a handle: add a URL, a folder or an archive to it.')
    if is_url(handle):
        if not in_cache(handle):
            check_reachable(handle)
        return
    path = Path(handle).expanduser()
    if path.is_dir():
        check_folder(path)
    elif not (path.is_file() and path.name.endswith(ARCHIVES)):
        raise UserError(
            f'The backbone was "{PREFIX}{handle}", but {path} is not there, or is no module: give a URL, a folder with '
            f"saved_model.pb in it, or an archive of one ({', '.join(ARCHIVES)})."
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no module of TensorFlow 2.

    Raises:
        UserError: with what it is instead.
    """
    if not (folder / "saved_model.pb").is_file():
        raise UserError(f"{folder} is no TensorFlow Hub module: it holds no saved_model.pb. Give the folder that does.")
    if (folder / "tfhub_module.pb").is_file():
        raise of_tensorflow_1(folder, "a module in the TF1 Hub format", [], "default")


def of_tensorflow_1(folder: Path, what: str, tags: Sequence[str], key: str) -> UserError:
    """What to tell the user of a file of TensorFlow 1.

    Args:
        folder: where it lies.
        what: it is.
        tags: of its graph.
        key: of the signature that gives features.
    """
    begin = f"{folder} is {what}, which cannot be fine-tuned in TensorFlow 2. Take its TF2 version"
    if REF_VARIABLE in (folder / "saved_model.pb").read_bytes():
        return UserError(f"{begin}; this one keeps its weights in ref variables (VariableV2) and cannot be converted.")
    return UserError(
        f'{begin}, or convert it: loaded = tf.saved_model.load("{folder}", tags={list(tags)}); '
        f'tf.saved_model.save(loaded, "NEW", signatures=loaded.signatures["{key}"])'
    )


def is_url(handle: str) -> bool:
    """Whether a handle is to be downloaded."""
    return handle.startswith(("http://", "https://"))


def in_cache(handle: str) -> bool:
    """Whether tensorflow_hub has downloaded a URL before."""
    return (hub_cache() / hashlib.sha1(handle.encode()).hexdigest() / "saved_model.pb").is_file()


def hub_cache() -> Path:
    """Where tensorflow_hub keeps what it downloads: `TFHUB_CACHE_DIR`, or a folder that outlives a restart."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or cache_dir() / "hub")


def check_reachable(handle: str) -> None:
    """Ask for a URL as tensorflow_hub will.

    Raises:
        UserError: it does not answer.
    """
    try:  # not by HEAD, which some servers do not answer; nothing but the head is read
        address = urllib.parse.urlsplit(handle)
        query = "&".join(filter(None, [address.query, "tf-hub-format=compressed"]))
        urllib.request.urlopen(address._replace(query=query).geturl(), timeout=SECONDS_TO_CONNECT).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise cannot_download(handle, error) from error


def cannot_download(handle: str, reason: Exception) -> UserError:
    """What to tell the user when a module cannot be had."""
    reason = " ".join(str(reason).split()) or type(reason).__name__
    return UserError(
        f"The module {handle} is not in the cache ({hub_cache()}) and cannot be downloaded ({reason}). Download it "
        f"elsewhere as a .tar.gz, copy that here, and give --backbone {PREFIX}FILE."
    )


def fetch(handle: str) -> Path:
    """The folder of a module, which is downloaded or unpacked first where need be.

    Raises:
        UserError: it cannot be had, or is no module.
    """
    check_handle(handle)
    path = Path(handle).expanduser()
    if is_url(handle):
        path = download(handle)
    elif path.is_file():
        path = unpack(path)
    check_folder(path)
    return path


def download(handle: str) -> Path:
    """Let tensorflow_hub download a module into its cache, or find it there.

    Raises:
        UserError: the package is missing, or the download fails.
    """
    os.environ["TFHUB_CACHE_DIR"] = str(hub_cache())
    load_tensorflow()  # here, as tensorflow_hub would load it with all its remarks
    try:
        with warnings.catch_warnings(action="ignore"):  # it speaks of setuptools to whoever imports it
            import tensorflow_hub
    except ImportError as error:
        raise UserError(
            f"{PREFIX}{handle} needs TensorFlow Hub, which cannot be imported ({error}). "
            "Run: pip install tensorflow-hub tf_keras 'setuptools<81'"
        ) from error
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_OF_SILENCE)
    try:
        return Path(tensorflow_hub.resolve(handle))
    except Exception as error:  # of many kinds: the network, the archive, the disk
        raise cannot_download(handle, error) from error
    finally:
        socket.setdefaulttimeout(before)


def unpack(archive: Path) -> Path:
    """Unpack an archive into the cache, once for each content.

    Raises:
        UserError: it is damaged, or would write outside of its folder.
    """
    folder = hub_cache() / f"file-{file_hash(archive, 'sha256')}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        try:
            with tarfile.open(archive) as file:
                file.extractall(partial, filter="data")
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise UserError(f"{archive} cannot be unpacked ({error}). Get it again.") from error
        found = sorted(Path(partial).rglob("saved_model.pb"), key=lambda path: (len(path.parts), path))
        if len(found) != 1:
            raise UserError(
                f"{archive} holds {len(found)} files called saved_model.pb; an archive of a module holds one. Give the "
                "archive, or the unpacked folder, of one module."
            )
        check_folder(found[0].parent)
        try:
            found[0].parent.rename(folder)
        except OSError:  # another program was quicker; its folder is as good as ours
            if not folder.is_dir():
                raise
    return folder


def digest_module(folder: Path) -> str:
    """SHA-256 of a module's graph and assets, not of its weights, which a layer has of its own."""
    result = hashlib.sha256((folder / "saved_model.pb").read_bytes())
    for path in sorted((folder / "assets").rglob("*")):
        if path.is_file():
            result.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return result.hexdigest()
