"""A tracking connection on which a message ends in the middle: look-ups go on, and the index connects again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import hiredis
import pytest
import redis

from consumer.sink.index.key_index import TrackedIndex
from consumer.sink.index.tracking import Tracking
from tests.support.accepting import accepting, port_of
from tests.support.redis_view import eventually

_PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$34\r\nfinancial_"
_PREFIX = "financial_summary:live:7:"


class Stalling:
    """Answers what an index asks. When told to, it sends the first half of a push to the first tracking connection."""

    def __init__(self) -> None:
        self.trackers: list[socket.socket] = []
        self._socket = accepting(self._serve)
        self.port = port_of(self._socket)

    def stall(self) -> None:
        self.trackers[0].sendall(_PUSH)

    def close(self) -> None:
        self._socket.close()

    def _serve(self, client: socket.socket) -> None:
        reader = hiredis.Reader()
        with client, suppress(OSError):
            while data := client.recv(65_536):
                reader.feed(data)
                while (words := reader.gets()) is not False:
                    client.sendall(self._answer(client, [bytes(word).upper() for word in words]))

    def _answer(self, client: socket.socket, words: Sequence[bytes]) -> bytes:
        if words[:2] == [b"CLIENT", b"TRACKING"]:
            self.trackers.append(client)
        if words[0] == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        if words[0] == b"SCAN":
            return b"*2\r\n$1\r\n0\r\n*0\r\n"
        return b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n"


@pytest.fixture
def server() -> Iterator[Stalling]:
    server = Stalling()
    yield server
    server.close()


def test_a_message_that_ends_in_the_middle_stops_nothing_and_is_a_lost_connection(server: Stalling) -> None:
    client = redis.Redis(port=server.port, decode_responses=True)
    index = TrackedIndex(client, ["financial_summary:"])
    index.start()
    try:
        eventually(lambda: index.is_warm)
        server.stall()
        ended = threading.Event()

        def look_up() -> None:
            for _ in range(3):
                index.matching([_PREFIX])
                index.close_windows([_PREFIX], {_PREFIX})
            ended.set()

        threading.Thread(target=look_up, daemon=True).start()
        assert ended.wait(30), "a look-up waits for the rest of the message"
        eventually(lambda: len(server.trackers) == 2 and index.is_warm)
    finally:
        index.close()
        client.close()


def test_a_closed_connection_is_not_opened_by_a_look_for_news(server: Stalling) -> None:
    """A connection that redis-py opens by itself tracks nothing."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        tracking = Tracking(client, ["financial_summary:"], lambda _: None)
        tracking.open()
        assert not tracking.has_news()
        tracking.close()
        with pytest.raises(redis.ConnectionError, match="closed"):
            tracking.has_news()
