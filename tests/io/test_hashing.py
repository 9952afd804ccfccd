"""Hashes: the same bits give the same one, and what was saved with earlier ones is still known."""

import hashlib

import numpy as np
import pytest

from tlkeras.io.hashing import array_digest, file_hash, json_hash, stream_hash, tree_hash


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_files(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert file_hash(tmp_path / "file") == sha256(b"content")
    assert file_hash(tmp_path / "file", "md5") == hashlib.md5(b"content").hexdigest()


def test_files_of_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("b.txt", "a/c.txt"):
        (tmp_path / name).write_text(name)
    found = tree_hash(tmp_path, sorted(tmp_path.rglob("*")), b"first")
    assert found == sha256(b"firsta/c.txt\0a/c.txtb.txt\0b.txt")


def test_json_without_the_order_of_its_keys():
    assert json_hash({"a": 1, "b": [2.5]}) == json_hash({"b": [2.5], "a": 1}) == sha256(b'{"a": 1, "b": [2.5]}')


def test_arrays_by_their_bits_dtype_and_shape():
    array = np.arange(6, dtype="float32").reshape(2, 3)
    assert array_digest([array], "of") == sha256(b"offloat32(2, 3)" + array.tobytes())
    others = [array.T, array.reshape(3, 2), array.view("int32"), np.where(array == 0, np.float32(-0.0), array)]
    assert len({array_digest([other]) for other in [array, *others]}) == 5
    assert array_digest([array[:, ::2]]) == array_digest([array[:, ::2].copy()])


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 0)])
def test_scalars_and_empty_arrays(shape):
    assert array_digest([np.zeros(shape)]) == sha256(f"float64{shape}".encode() + np.zeros(shape).tobytes())


def test_variables():
    keras = pytest.importorskip("keras")
    value = np.array([1, -2], "float32")
    assert array_digest([keras.Variable(value)]) == array_digest([value])
    half = keras.Variable(value, dtype="bfloat16")
    assert array_digest([half]) == sha256(b"bfloat16(2,)" + b"\x80\x3f\x00\xc0")


def test_a_stream_of_pieces():
    texts = np.array(["a", "\u00e9"], object)
    assert stream_hash(["x", b"y"], [np.zeros(2, "uint8"), texts]) == sha256(b"xy\0\0" + "['a', '\u00e9']".encode())
