"""A service on a free port, whose model is a few lines of NumPy."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from color_service import Client, ColorModel

from tlkeras.config.serve import ServeOptions
from tlkeras.run.predictor import Predictor
from tlkeras.serving.server import bind, make_server, start_service


@pytest.fixture
def start() -> Iterator[Callable[..., Client]]:
    """Return `start(model, max_files=3)`, which starts a service with these options and returns a client of it."""
    with contextlib.ExitStack() as stack:

        def begin(model: Any = None, **options: Any) -> Client:
            predictor = model if isinstance(model, Predictor) else (model or ColorModel()).predictor()
            chosen = dataclasses.replace(ServeOptions(port=0), **options)
            listener = stack.enter_context(bind(chosen.host, chosen.port))
            listener.listen(100)
            server = make_server(stack.enter_context(start_service(predictor, chosen)), chosen)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join()

            stack.callback(stop)
            return Client(listener.getsockname()[1])

        yield begin
