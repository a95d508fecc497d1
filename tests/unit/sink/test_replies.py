"""Replies of a server as they arrive: in pieces, with errors among them, cut off, or after a connection was closed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
import redis
from pydantic import SecretStr

from consumer.settings.sections import Redis
from consumer.sink.client import translate
from consumer.sink.script import Script

Serving = Callable[..., Script]


@pytest.fixture
def script_on() -> Iterator[Serving]:
    """A script on a server that answers the commands of a new connection, and then sends some bytes and closes."""
    opened: list[Script] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(pieces: tuple[bytes, ...]) -> None:
            connection, _ = server.accept()
            with connection:
                while b"PING" not in (sent := connection.recv(65536)):
                    connection.sendall(b"+OK\r\n" * sent.count(b"*"))
                for piece in pieces:
                    connection.sendall(piece)

        def on(*pieces: bytes) -> Script:
            Thread(target=serve, args=(pieces,), daemon=True).start()
            script = Script(Redis(url=SecretStr(f"redis://127.0.0.1:{server.getsockname()[1]}/0")))
            opened.append(script)
            return script

        yield on
        for script in opened:
            script.close()


def test_replies_are_read_across_pieces(script_on: Serving) -> None:
    assert script_on(b":1\r\n:", b"2\r\n:3\r", b"\n").call([("PING",)] * 3) == [1, 2, 3]
    assert script_on(b"*2\r\n$1\r\na\r\n", b":2\r\n$-1\r\n").call([("PING",)] * 2) == [["a", 2], None]


def test_an_error_is_a_reply_among_the_others(script_on: Serving) -> None:
    first, second, third = script_on(b":1\r\n-OOM no memory\r\n:3\r\n").call([("PING",)] * 3)
    assert (first, type(second), third) == (1, redis.OutOfMemoryError, 3)


@pytest.mark.parametrize(
    "sent",
    [
        b":1\r\n:2",
        b"",
        b":1\r\n-LOADING Redis is loading the dataset in memory\r\n",
        b"-NOAUTH Authentication required.\r\n:2\r\n",
        b"-ERR max number of clients reached\r\n",
    ],
)
def test_a_connection_that_can_not_be_used_any_longer(script_on: Serving, sent: bytes) -> None:
    with pytest.raises(redis.ConnectionError):
        script_on(sent).call([("PING",)] * 2)


@pytest.mark.parametrize(
    "refusal",
    [
        "READONLY You can't write against a read only replica.",
        "READONLY You can't write against a read only replica. script: 9cf7, on @user_script:1.",
        "ERR Error running script (call to f_9cf7): @user_script:7: @user_script: 7: -READONLY You can't write",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "MASTERDOWN Link with MASTER is down and slave-serve-stale-data is set to 'no'.",
    ],
)
def test_a_server_that_is_a_replica_now(script_on: Serving, refusal: str) -> None:
    """The refusal is raised for all replies, in the server's words."""
    script = script_on(f":1\r\n-{refusal}\r\n".encode())
    with pytest.raises(redis.ResponseError) as raised:
        script.call([("PING",)] * 2)
    assert translate(raised.value).problem == refusal


def test_what_is_no_reply(script_on: Serving) -> None:
    with pytest.raises(redis.RedisError):
        script_on(b"HTTP/1.1 400\r\n").call([("PING",)])


def test_a_connection_that_is_closed_before_its_replies_are_read(script_on: Serving) -> None:
    """In a cluster, the reply of one node may show that another one is a replica now: then its connection is closed."""
    script = script_on(b":1\r\n")
    script.send([("PING",)])
    script.close()
    with pytest.raises(redis.ConnectionError):
        script.receive()
