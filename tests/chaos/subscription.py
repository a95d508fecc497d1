"""A subscriber of every channel that keeps up with tens of thousands of messages a second.

The client's own takes some 40 µs a message, on a machine where the servers and the consumers need the time.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any

import hiredis
import msgspec

from tests.schemas.validation import Invalid, validate
from tests.support.redis_view import MARK, OF_SENTINELS, Client, eventually, publish_marks
from tests.support.stack.stack import AnyRedis

_CHUNK = 2**18
_CONNECT_S = 5.0


class Subscription:
    """Subscribed when it is made. A connection that ends by itself is an error: messages would be missed."""

    def __init__(self, server: AnyRedis, check_every: int) -> None:
        """``check_every``: one of so many messages is checked against its channel's schema."""
        self._check_every = check_every
        self._heard: list[tuple[str, dict[str, Any], float]] = []
        self._count = 0
        self._marks: set[str] = set()
        self._failure: Exception | None = None
        self._client: Client = server.connect()
        self._socket = socket.create_connection(server.listening_address(), timeout=_CONNECT_S)
        self._socket.settimeout(None)
        self._socket.sendall(b"PSUBSCRIBE *\r\n")
        self._is_closed = False
        self._thread = threading.Thread(target=self._listen, name="subscription", daemon=True)
        self._thread.start()
        self.caught_up()
        self._heard.clear()

    def caught_up(self) -> None:
        """Return when everything that was published before this call has arrived."""
        marks = publish_marks(self._client)
        eventually(lambda: self._failure or marks <= self._marks, 60, "the subscriber does not hear")
        self._raise()

    def take(self) -> list[tuple[str, dict[str, Any], float]]:
        """(channel, message, UTC seconds of its arrival) in the order of arrival: those since the last time."""
        self._raise()
        count = len(self._heard)
        taken = self._heard[:count]
        del self._heard[:count]
        return taken

    def close(self) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        self._client.close()

    def _listen(self) -> None:
        reader = hiredis.Reader()
        try:
            while data := self._socket.recv(_CHUNK):
                reader.feed(data)
                now = time.time()
                while (reply := reader.gets()) is not False:
                    if reply[0] == b"pmessage":
                        self._hear(reply[2].decode(), reply[3], now)
            raise ConnectionError("Redis closed the subscriber's connection")
        except Exception as error:  # it is raised where the messages are taken
            if not self._is_closed:
                self._failure = error

    def _hear(self, channel: str, data: bytes, at: float) -> None:
        if channel == MARK:
            self._marks.add(data.decode())
        elif not channel.startswith(OF_SENTINELS):
            message = msgspec.json.decode(data)
            self._count += 1
            if self._count % self._check_every == 0:
                try:
                    validate(channel, message)
                except Invalid as problem:
                    raise AssertionError(f"{problem} in {message}") from None
            self._heard.append((channel, message, at))

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
