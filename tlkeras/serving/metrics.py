"""What the service counts for Prometheus and prints of each request: nothing that a client sent but the path."""

import logging
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

log = logging.getLogger("tlkeras.serving")
MAX_PATH = 100  # characters of a path that are printed
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counts of one service."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("tlkeras_requests", "Requests", ["path", "status"], registry=registry)
        self.seconds = Histogram("tlkeras_request_seconds", "Time", ["path"], registry=registry)
        self.images = Counter("tlkeras_images", "Images by result", ["result"], registry=registry)
        self.batches = Histogram("tlkeras_batch_size", "Images in one call", buckets=SIZES, registry=registry)


class Observed:
    """An ASGI middleware that counts and prints each request, and closes the connection after an error.

    A client that was refused may still be sending what it wanted to.
    """

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def observe(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-content-type-options", b"nosniff"), *[(b"connection", b"close")] * (status >= 400)]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self.app(scope, receive, observe)
        finally:
            seconds = time.perf_counter() - started
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            shown = scope["raw_path"].decode("ascii", "replace")[:MAX_PATH]  # as it was sent, so without line breaks
            log.info("%s %s %d %.0f ms", scope["method"][:10], shown, status, 1000 * seconds)
