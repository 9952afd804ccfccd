"""Listen, load the model, answer until Ctrl-C."""

import ipaddress
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import uvicorn

from tlkeras.config.serve import ServeOptions
from tlkeras.errors import UserError
from tlkeras.run.load_run import load_run
from tlkeras.run.predict import Watch
from tlkeras.run.predictor import Predictor, load_predictor
from tlkeras.serving.app import create_app
from tlkeras.serving.batching import Batcher
from tlkeras.serving.metrics import Metrics
from tlkeras.serving.protocol import bounded_protocol
from tlkeras.serving.service import Service

CHATTY = ("python_multipart", "PIL")  # they warn of each damaged upload, with bytes of it


def serve(run_path: str | Path, options: ServeOptions) -> None:
    """Answer requests with the model of a run or an artifact until the program is stopped."""
    run = load_run(run_path)
    if len(run.modality.shape) != 3:
        raise UserError(f"{run.path} is a run of {run.modality.plural}; only models of images can be served.")
    with bind(options.host, options.port) as listener, start_service(load_predictor(run), options) as service:
        host, port = listener.getsockname()[:2]
        log = logging.getLogger("tlkeras.serving")
        log.addHandler(logging.StreamHandler(sys.stdout))
        log.setLevel(logging.INFO)
        shown = f"[{host}]" if ":" in host else host
        listener.listen(2048)
        log.info("Serving %s at http://%s:%d; Ctrl-C stops it.", run.path, shown, port)
        if not ipaddress.ip_address(host).is_loopback:
            log.info("Note: whoever reaches this machine can use it; there is no password and no encryption.")
        try:
            make_server(service, options).run(sockets=[listener])
        except KeyboardInterrupt as stop:
            raise type(stop)("what had arrived was answered.") from None


@contextmanager
def start_service(predictor: Predictor, options: ServeOptions) -> Iterator[Service]:
    """Yield what answers with a model, which has run before, so that no request waits for its graph."""
    metrics, modality = Metrics(), predictor.run.modality
    watchers: list[Watch] = []
    for count in (1, 2):
        predictor.outputs(np.zeros((count, *modality.shape), modality.dtype))

    def observe(outputs: np.ndarray, features: np.ndarray | None, unsure: list[bool | None]) -> None:
        metrics.batches.observe(len(outputs))
        for watch in watchers:
            watch(outputs, features, unsure)

    with ExitStack() as stack:
        # [part: drift]
        if options.log:
            from tlkeras.serving.usage import usage_log

            watchers.append(stack.enter_context(usage_log(Path(options.log).expanduser(), predictor.run)).add)
        # [/part]
        wait = options.batch_wait / 1000
        batcher = stack.enter_context(Batcher(predictor, options.batch_size, wait, observe))
        yield Service(predictor.run, batcher, metrics, options)


def make_server(service: Service, options: ServeOptions) -> uvicorn.Server:
    """Return a server that closes slow connections, and logs nothing itself but what fails inside it."""
    seconds = options.receive_seconds + options.answer_seconds
    config = uvicorn.Config(
        create_app(service), http=bounded_protocol(seconds, options.max_connections), ws="none", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=round(seconds),
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each request that is no HTTP
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return uvicorn.Server(config)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket at an address, on which nothing is answered yet; refuse an address that cannot be had."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{host}:{port} cannot be used: {reason}. Give another --host or --port.") from None
    return listener
