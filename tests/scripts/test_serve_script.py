"""serve.py: a run's folder becomes a service, which answers as predict.py does; mistakes are sentences."""

import json
import re
import signal
import urllib.request
from io import BytesIO
from urllib.error import HTTPError

import numpy as np
import pytest
from PIL import Image

import tlkeras


def post(url: str, name: str, *paths) -> bytes:
    parts = [b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
             % (name.encode(), str(path).encode(), path.read_bytes()) for path in paths]  # fmt: skip
    return send(url, b"".join([*parts, b"--b--\r\n"]))


def send(url: str, body: bytes) -> bytes:
    request = urllib.request.Request(url, body)
    request.add_header("Content-Type", "multipart/form-data; boundary=b")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return answer.read()


@pytest.fixture
def url(start_script, trained, tmp_path):
    """Start the script on a free port, and return its address."""
    process = start_script("serve.py", trained.path, "--port", "0", cwd=tmp_path)
    line = process.stdout.readline()
    match = re.fullmatch(r"Serving .*/first at (http://127\.0\.0\.1:\d+); Ctrl-C stops it\.\n", line)
    assert match, process.communicate(timeout=60)
    yield match[1]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "POST /predict 200" in out
    assert err.splitlines()[-1:] == ["serve.py: stopped by SIGTERM; what had arrived was answered."]
    assert "boundary" not in err and "Traceback" not in err


def test_it_answers_as_predict_does_and_explains_as_explain_does(url, call, trained, colors):
    paths = [colors / "red" / "1.png", colors / "blue" / "2.png", colors / "red" / "broken.png"]
    answered = json.loads(post(f"{url}/predict", "files", *paths))
    printed = json.loads(call("predict.py", trained.path, *paths, "--json").out)
    assert [one["path"] for one in answered] == [one["path"] for one in printed]
    for mine, theirs in zip(answered, printed, strict=True):
        assert mine.get("error") == theirs.get("error") and mine.get("unsure") == theirs.get("unsure")
        for score, other in zip(mine.get("predictions", []), theirs.get("predictions", []), strict=True):
            assert score["label"] == other["label"] and score["score"] == pytest.approx(other["score"], abs=1e-5)
    over = np.asarray(Image.open(BytesIO(post(f"{url}/explain?label=blue", "file", paths[0])))).astype(int)
    (explained,) = tlkeras.explain(trained.path, paths[0], class_name="blue")
    assert np.abs(over - tlkeras.overlay(explained.image[None], explained.map[None])[0]).max() <= 2
    with pytest.raises(HTTPError, match="422"):
        post(f"{url}/explain", "file", paths[2])
    with pytest.raises(HTTPError, match="400"):
        send(f"{url}/predict", b"this is no form")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--port", "1"), "127.0.0.1:1 cannot be used: "),
        (("--host", "nowhere.invalid"), "nowhere.invalid:8000 cannot be used: "),
        (("--port", "70000"), "--port was 70000; it must be a whole number from 0 to 65535."),
        (("--max-megapixels", "many"), "--max-megapixels was many; it must be a number from 0.001 to 150."),
    ],
)
def test_mistakes_are_sentences(call, trained, monkeypatch, words, message):
    if words == ("--port", "1"):  # root may use it
        monkeypatch.setattr("socket.socket.bind", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    answer = call("serve.py", trained.path, *words)
    assert answer.code == 2 and message in answer.err and answer.err.count("\n") == 1


def test_a_port_in_use_is_said_before_the_model_is_loaded(call, trained, monkeypatch):
    import socket

    monkeypatch.setattr("tlkeras.run.predictor.load_model", lambda *_: pytest.fail("it was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = call("serve.py", trained.path, "--port", taken.getsockname()[1])
    assert answer.code == 2 and "cannot be used: Address already in use. Give another --host or --port." in answer.err


def test_a_missing_package_is_a_sentence(call, trained, monkeypatch):
    monkeypatch.setattr("tlkeras.commands.serve.find_spec", lambda name: None if name == "uvicorn" else name)
    answer = call("serve.py", trained.path)
    assert answer.code == 2 and "The service needs uvicorn. Run: pip install 'tlkeras[serve]'" in answer.err


def test_open_to_the_network_is_told(start_script, trained, tmp_path):
    process = start_script("serve.py", trained.path, "--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert " at http://0.0.0.0:" in process.stdout.readline()
    assert process.stdout.readline().startswith("Note: whoever reaches this machine can use it; there is no password")
