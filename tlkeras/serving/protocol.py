"""HTTP for clients that may be slow, silent or hostile: uvicorn's protocol, with bounds on time and connections."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


def bounded_protocol(seconds: float, max_connections: int) -> type[asyncio.Protocol]:
    """Return a protocol that closes a connection on which one request and its answer take more than so many seconds.

    uvicorn itself waits for ever for the header of a request, and for a client to read the answer. Where there are too
    many connections, the one is closed that has waited longest for its client.
    """

    opened: set[Any] = set()

    class BoundedProtocol(H11Protocol):
        """A connection whose every exchange has a deadline."""

        def connection_made(self, transport: Any) -> None:
            """Begin the first exchange, and make room for it."""
            super().connection_made(transport)
            self.begin_exchange()
            opened.add(self)
            if len(opened) > max_connections:
                min(opened, key=lambda one: (one.is_working(), one.began)).transport.abort()

        def begin_exchange(self) -> None:
            """Start the clock of a request and its answer."""
            self.began = self.loop.time()
            self.deadline = self.loop.call_later(seconds, self.transport.abort)

        def is_working(self) -> bool:
            """Return whether a request has arrived and is not answered yet."""
            return self.is_underway() and not self.cycle.more_body

        def on_response_complete(self) -> None:
            """Begin the next exchange, also for a client that has yet to read the answer."""
            self.deadline.cancel()
            self.begin_exchange()
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            """Stop the clock."""
            self.deadline.cancel()
            opened.discard(self)
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Answer what is no HTTP, or close the connection where another answer is under way."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.is_underway():
                super().send_400_response(msg)
            else:
                self.transport.abort()

        def is_underway(self) -> bool:
            """Return whether the application has a request that it has not answered."""
            return self.cycle is not None and not self.cycle.response_complete

    return BoundedProtocol
