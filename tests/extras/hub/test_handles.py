"""Handles, valid and not; the loopback server sends archives the way the hub does."""

import contextlib
import io
import socketserver
import sys
import tarfile
import threading
import time
from collections.abc import Iterator

import pytest

from tlkeras.errors import UserError
from tlkeras.extras.hub.handles import check_handle, fetch, hub_cache
from tlkeras.io import cache_dir


def test_a_folder_is_used_in_place(module):
    assert fetch(str(module("by_hand"))) == module("by_hand")


def test_a_url_is_downloaded_once(hub, module, packed, tmp_path):
    hub.archive = packed
    folder = fetch(hub.url)
    assert (folder / "saved_model.pb").read_bytes() == (module("by_hand") / "saved_model.pb").read_bytes()
    asked = len(hub.asked)
    assert asked and folder.parent == tmp_path / "hub-cache"
    assert fetch(hub.url) == folder and len(hub.asked) == asked


def test_an_archive_is_unpacked_once(hub, packed):
    folder = fetch(str(packed))
    (folder / "mark").touch()
    assert (fetch(str(packed)) / "mark").exists()


def test_an_archive_with_the_module_in_a_folder(hub, module, tmp_path):
    with tarfile.open(tmp_path / "features.tar", "w") as file:
        file.add(module("by_hand"), arcname="features/1")
    assert (fetch(str(tmp_path / "features.tar")) / "variables").is_dir()


def test_the_folder_of_downloads(monkeypatch):
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    assert hub_cache() == cache_dir() / "hub"
    monkeypatch.setenv("TFHUB_CACHE_DIR", "elsewhere")
    assert str(hub_cache()) == "elsewhere"


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        ("nowhere", "nowhere does not exist or is not a module: give a URL, a folder with saved_model.pb"),
        ("file.zip", "file.zip does not exist or is not a module"),
        ("empty", "empty is not a TensorFlow Hub module: it has no saved_model.pb"),
        ("old", "old is a module in the TF1 Hub format.*Use its TF2 version, or convert it"),
    ],
)
def test_what_is_not_a_module_is_refused(tmp_path, monkeypatch, handle, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.zip").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    for name in ("tfhub_module.pb", "saved_model.pb"):
        (tmp_path / "old" / name).touch()
    with pytest.raises(UserError, match=words):
        check_handle(handle)


@contextlib.contextmanager
def port(answer: bytes, seconds: float = 0.0) -> Iterator[str]:
    """Serve a few bytes, whatever is asked, and then nothing for a while; yield the URL."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(answer)
            time.sleep(seconds)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/module/1"
        server.shutdown()


@pytest.fixture
def not_http() -> Iterator[str]:
    """Yield the URL of a port that answers, but not HTTP."""
    with port(b"220 mail here\r\n") as url:
        yield url


def test_a_download_that_stalls(hub, packed, monkeypatch):
    monkeypatch.setattr("tlkeras.extras.hub.handles.READ_TIMEOUT", 0.5)
    start, answer = time.monotonic(), b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + packed.read_bytes()[:500]
    with port(answer, seconds=20) as url, pytest.raises(UserError, match=r"cannot be downloaded \(.*timed out"):
        fetch(url)
    assert time.monotonic() - start < 15


def test_a_url_that_does_not_answer(hub, not_http):
    with pytest.raises(UserError, match=r"is not in the cache .* cannot be downloaded \(.*404.*--backbone hub:FILE"):
        check_handle(hub.url)
    for handle in ("http://127.0.0.1:9/module/1", "http://[bad", "http://a b/c", "http://127.0.0.1:x/c", not_http):
        with pytest.raises(UserError, match=r"cannot be downloaded \([^()].*\)\. Download it"):
            check_handle(handle)


def test_a_url_with_a_query(hub, packed):
    hub.archive = packed
    check_handle(f"{hub.url}?token=abc")
    assert hub.asked == ["GET /publisher/features/1?token=abc&tf-hub-format=compressed"]


@pytest.mark.parametrize("count", [0, 2])
def test_an_archive_without_one_module(hub, module, tmp_path, count):
    with tarfile.open(tmp_path / "features.tar", "w") as file:
        file.add(__file__, arcname="notes.txt")
        for index in range(count):
            file.add(module("by_hand"), arcname=str(index))
    with pytest.raises(UserError, match=rf"features\.tar holds {count} files called saved_model\.pb"):
        fetch(str(tmp_path / "features.tar"))


def test_an_answer_that_is_not_an_archive(hub, tmp_path):
    hub.archive = tmp_path / "page.tar.gz"
    hub.archive.write_bytes(b"<html>Please log in.</html>")
    with pytest.raises(UserError, match=r"cannot be downloaded \("):
        fetch(hub.url)
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(str(hub.archive))


def test_an_archive_does_not_write_outside(hub, tmp_path):
    with tarfile.open(tmp_path / "bad.tar", "w") as file:
        entry = tarfile.TarInfo("../../outside")
        entry.size = 4
        file.addfile(entry, io.BytesIO(b"evil"))
    with pytest.raises(UserError, match=r"bad.tar cannot be unpacked"):
        fetch(str(tmp_path / "bad.tar"))
    assert not list(tmp_path.rglob("outside")) and not (tmp_path.parent / "outside").exists()


def test_without_the_package(hub, packed, monkeypatch):
    hub.archive = packed
    monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
    with pytest.raises(UserError, match=r"needs TensorFlow Hub, which cannot be imported.*pip install tensorflow-hub"):
        fetch(hub.url)
