"""Clients that are too large, too slow, too many, or send what is no image: each gets its answer, others theirs."""

import contextlib
import http.client
import io
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from color_service import BOUNDARY, ColorModel, encoded, form
from PIL import Image

MULTIPART = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
IMAGE = ("a.png", encoded("red"))


def assert_fine(client) -> None:
    """Check that another client is answered, and that no one was answered with a 5xx so far."""
    assert client.post("/predict", IMAGE).status == 200
    assert client.metric('tlkeras_requests_total{path="/predict",status="5') == 0


def answer_to(client, sent: bytes, wait: float = 0.0) -> bytes:
    """Return what comes until the connection is closed, also where it is closed hard."""
    with client.connect() as connection:
        connection.sendall(sent)
        time.sleep(wait)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


def bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header promises that many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def many_scans(count: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    written = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    Image.fromarray(noise).save(written, "jpeg", progressive=True)
    content = written.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bomb(100_000, 100_000), "larger than 150 megapixels"),
        (bomb(2000, 1000), "larger than 1 megapixels"),
        (many_scans(200), "a JPEG with more than 50 scans"),
        (encoded("red", (200, 200), "jpeg")[:400], "truncated"),
        (encoded("red")[:60], "truncated"),
        (b"%PDF-1.7 hello", "not a valid JPEG, PNG, WebP, GIF, BMP or TIFF image"),
        (b"", "empty file"),
    ],
    ids=["bomb", "large", "scans", "cut jpeg", "cut png", "pdf", "empty"],
)
def test_files_that_are_no_images(start, content, reason):
    client = start(max_megapixels=1.0)
    answer = client.post("/predict", ("a", content))
    assert answer.status == 422 and reason in answer.json()[0]["error"]
    assert_fine(client)


def test_usual_progressive_images_are_read(start):
    assert start().post("/predict", ("a", many_scans(1))).status == 200


@pytest.mark.parametrize("kind", ["application/json", "image/png", "multipart/mixed; boundary=x", ""])
def test_other_content_types(start, kind):
    client = start()
    answer = client.request("POST", "/predict", b"{}", {"Content-Type": kind})
    assert answer.status == 415 and "multipart/form-data" in answer.json()["detail"]
    assert_fine(client)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data", form([IMAGE]), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", b"this is no form", 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([]), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([IMAGE])[:-60], 200),  # the end is missing, not the image
        (f"multipart/form-data; boundary={'x' * 300}", form([IMAGE]), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([IMAGE] * 4), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([IMAGE]).replace(b"; filename=", b"; other="), 400),
        (f"multipart/form-data; boundary={BOUNDARY}", form([IMAGE]).replace(b"name=", b"nome="), 400),
    ],
)
def test_damaged_forms(start, kind, body, status):
    client = start(max_files=3)
    answer = client.request("POST", "/predict", body, {"Content-Type": kind})
    assert answer.status in (status, 400), answer.body
    assert status == 200 or answer.json()["detail"]
    assert_fine(client)


def test_too_many_bytes_are_not_received(start):
    client = start(max_megabytes=0.1)
    answer = client.post("/predict", ("a", bytes(200_000)))
    assert answer.status == 413 and answer.json()["detail"] == "The request is larger than 0.1 MB."
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}Transfer-Encoding: chunked\r\n\r\n".encode()
    body = form([("a", bytes(200_000))])
    sent = head + b"".join(b"%x\r\n%s\r\n" % (1000, body[at : at + 1000]) for at in range(0, 150_000, 1000))
    assert answer_to(client, sent).startswith(b"HTTP/1.1 413")
    assert_fine(client)


def test_a_slow_upload_ends(start):
    client = start(receive_seconds=0.5)
    body = form([IMAGE])
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}Content-Length: {len(body)}\r\n\r\n".encode()
    began = time.monotonic()
    answer = answer_to(client, head + body[:50])
    assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.5 seconds" in answer
    assert time.monotonic() - began < 3
    assert_fine(client)


def test_a_slow_header_ends_in_a_closed_connection_and_hurts_nobody(start):
    client = start(receive_seconds=0.5, answer_seconds=0.5, max_connections=20)
    slow = [client.connect() for _ in range(40)]
    for connection in slow:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert_fine(client)
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        for connection in slow:
            try:
                connection.send(b"a")
            except OSError:
                continue
        time.sleep(0.1)
    for connection in slow:
        with connection, contextlib.suppress(OSError):
            assert connection.recv(100) == b""
    assert_fine(client)


def test_one_connection_too_many_closes_the_one_that_has_waited_longest(start):
    client = start(ColorModel(seconds=0.5), max_connections=3)
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        working = pool.submit(client.post, "/predict", IMAGE)
        time.sleep(0.2)  # it came first, but it waits for the model, not for its client
        slow = [stack.enter_context(client.connect()) for _ in range(3)]
        time.sleep(0.1)
        slow[0].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert slow[0].recv(100) == b""
        slow[1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            slow[1].recv(100)
        assert working.result().status == 200
    assert_fine(client)


def test_a_client_that_does_not_read_its_answer_is_dropped(start, monkeypatch):
    page = type("Page", (), {"read_text": lambda **_: "x" * 50_000_000})
    monkeypatch.setattr("tlkeras.serving.app.PAGE", page)
    client = start(receive_seconds=0.5, answer_seconds=0.5)
    with client.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2)
        received = 0
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                received += len(chunk)
        assert received < 50_000_000
    assert_fine(client)


@pytest.mark.parametrize("cut", [20, 200, 5000])
def test_vanishing_clients(start, caplog, cut):
    client = start()
    body = form([("a", encoded("red", (600, 600), "bmp"))])
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}Content-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(5):
        with client.connect() as connection:
            connection.sendall((head + body)[:cut])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    with client.connect() as connection:
        connection.sendall(head + body)  # all of it, and then it does not wait
    time.sleep(0.2)
    assert_fine(client)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n", b"GET /\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
        f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}Transfer-Encoding: chunked\r\n\r\nXYZ\r\n".encode(),
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http(start, caplog, sent):
    client = start(receive_seconds=0.5, answer_seconds=0.5)
    answer = answer_to(client, sent)
    assert not answer.startswith(b"HTTP/1.1 5")
    assert_fine(client)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_too_many_requests_at_once_are_turned_away(start):
    client = start(ColorModel(seconds=0.3), max_requests=2, batch_size=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/predict", IMAGE), range(8)))
    statuses = sorted(answer.status for answer in answers)
    assert set(statuses) == {200, 503} and statuses.count(200) >= 2
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.headers["retry-after"] == "1" and "Too many requests at once" in refused.json()["detail"]
    assert client.get("/health").status == 200 and client.post("/predict", IMAGE).status == 200


def test_an_answer_that_takes_too_long_is_given_up(start):
    model = ColorModel()
    client = start(model, answer_seconds=0.5, batch_size=1)
    model.seconds = 0.3
    answer = client.post("/predict", *[IMAGE] * 8)
    assert answer.status == 503 and "took more than 0.5 seconds" in answer.json()["detail"]
    time.sleep(0.5)
    assert len(model.batches) < 8  # what nobody waits for is not predicted
    assert client.post("/predict", IMAGE).status == 200


def test_slow_uploads_leave_the_places_for_requests_to_others(start):
    client = start(max_requests=1)
    body = form([IMAGE])
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\n{MULTIPART}Content-Length: {len(body)}\r\n\r\n".encode()
    with client.connect() as slow:
        slow.sendall(head + body[:50])
        assert_fine(client)
        slow.sendall(body[50:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200")


def test_one_connection_serves_many_requests(start):
    client = start()
    connection = http.client.HTTPConnection("127.0.0.1", client.port)
    with contextlib.closing(connection):
        for _ in range(20):
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            assert connection.sock  # it was not closed
