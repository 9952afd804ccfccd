"""Options of the service."""

from dataclasses import dataclass

from tlkeras.config.fields import Options, option


@dataclass(kw_only=True, repr=False)
class ServeOptions(Options):
    """All options of `scripts/serve.py`."""

    host: str = option("127.0.0.1", "address to listen at; 0.0.0.0 is open to the network, without a password")
    port: int = option(8000, "port to listen at; 0 takes a free one", 0, 65535)
    batch_size: int = option(8, "images that the model takes at once; more for a GPU", 1, 1024)
    batch_wait: float = option(2.0, "milliseconds for which an idle model waits for further images", 0, 1000)
    max_connections: int = option(
        256, "connections at once; for one more the one is closed that has waited longest for its request", 1, 10000
    )
    max_requests: int = option(64, "requests that are answered at once; others are turned away with 503", 1, 10000)
    max_files: int = option(16, "images in one request", 1, 1000)
    max_megabytes: float = option(32.0, "size of one request", 0.001, 1000)
    max_megapixels: float = option(50.0, "size of one image", 0.001, 150)
    receive_seconds: float = option(30.0, "time in which a request must have arrived", 0.1, 3600)
    answer_seconds: float = option(30.0, "time in which it is answered then", 0.1, 3600)
    # [part: drift]
    log: str | None = option(None, "file for drift.py to which counts and features of the images are added, no images")
    # [/part]
