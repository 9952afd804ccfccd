"""A model of a few lines of NumPy to be served, and a client that sends whatever it is told."""

import contextlib
import http.client
import io
import json
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlkeras.modalities.image import ImageModality
from tlkeras.run.load_run import Run
from tlkeras.run.predictor import Predictor

CLASSES = ["red", "green", "blue"]
COLORS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250), "gray": (128, 128, 128)}
BOUNDARY = "0123456789abcdef"


@dataclass
class ColorModel:
    """A model that knows three colors; `seconds` make it slow, `batches` tell how many images each call had."""

    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)

    def predictor(self, path: Path = Path("colors")) -> Predictor:
        run = Run(path, "single_label", CLASSES, {"batch_size": 8}, ImageModality(16), reject_threshold=0.5)
        return Predictor(run, self.outputs, None)

    def outputs(self, images: np.ndarray) -> tuple[np.ndarray, None]:
        time.sleep(self.seconds)
        self.batches.append(len(images))
        levels = np.exp(images.mean(axis=(1, 2)) / 50)
        return (levels / levels.sum(axis=1, keepdims=True)).astype("float32"), None


def encoded(color: str, size: tuple[int, int] = (20, 20), format: str = "png", **options) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size, COLORS[color]).save(written, format, **options)
    return written.getvalue()


def form(files: list[tuple[str, bytes]], name: str = "files") -> bytes:
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'.encode()
             + content + b"\r\n" for file, content in files]  # fmt: skip
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Client:
    """Sends requests to a port of this machine."""

    port: int

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, *files: tuple[str, bytes], name: str = "files") -> Answer:
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.request("POST", path, form(list(files), name), headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
