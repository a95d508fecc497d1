"""Redis has lost what it acknowledged, and the connection lives on: a proxy hides it, or a replica is master again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.integration.pipeline.test_resume import CONFIG, RECORDS, Interrupted, Memory, actions
from tests.support.accepting import accepting, port_of


class Proxy:
    """Forwards requests and replies. It answers the next requests itself, as Envoy without a Redis behind it."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._refusals = 0
        self._said = ""
        self._socket = accepting(self._serve)
        self.port = port_of(self._socket)

    def refuse(self, count: int, said: str) -> None:
        """The next ``count`` requests do not reach Redis; ``said`` is the error reply to them."""
        self._refusals, self._said = count, said

    def close(self) -> None:
        self._socket.close()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            threading.Thread(target=_forward, args=(server, client.sendall), daemon=True).start()
            _forward(client, lambda data: self._pass_on(data, client, server))

    def _pass_on(self, data: bytes, client: socket.socket, server: socket.socket) -> None:
        if self._refusals:
            self._refusals -= 1
            client.sendall(f"-{self._said}\r\n".encode())
        else:
            server.sendall(data)


def _forward(source: socket.socket, send: Callable[[bytes], object]) -> None:
    try:
        while data := source.recv(1 << 20):
            send(data)
    except OSError:
        return


@pytest.fixture
def proxy(client: redis.Redis) -> Iterator[Proxy]:
    kwargs = client.get_connection_kwargs()
    proxy = Proxy((str(kwargs["host"]), int(kwargs["port"])))
    yield proxy
    proxy.close()


@pytest.fixture
def behind(proxy: Proxy) -> Iterator[RedisSink]:
    """A sink that reaches Redis through the proxy."""
    url = SecretStr(f"redis://127.0.0.1:{proxy.port}/0")
    sink = RedisSink(Redis(url=url, tracking=False), Guard(), reference())
    sink.reach()
    yield sink
    sink.close()


def test_what_was_lost_is_found_by_the_next_look(sink: RedisSink, client: redis.Redis) -> None:
    memory, now = Memory(client), [0.0]

    def lose() -> None:
        memory.lose(are_cut=False)
        now[0] += 2.0  # a look is due

    source = Interrupted(RECORDS, {2: memory.keep, 4: lose})
    with capture_logs() as lines:
        Pipeline(sink, reference(), commit_interval_s=0, clock=lambda: now[0]).run(source, lambda: source.is_at_end)
    assert "redis.reread" in actions(lines)
    assert client.hget(CONFIG, "wallet_balance") == "10000.50", "record 3, a deposit"
    assert client.hget(CONFIG, "group") == "VIP"


@pytest.mark.parametrize(
    "said",
    [
        "ERR upstream failure",
        "ERR Connection refused",
        "upstream failure",
        "no upstream host",
        "upstream protocol error",
    ],
)
def test_a_proxy_that_reaches_no_redis_is_as_a_lost_connection(
    behind: RedisSink, proxy: Proxy, client: redis.Redis, said: str
) -> None:
    memory = Memory(client)

    def lose() -> None:
        memory.lose(are_cut=False)
        proxy.refuse(1, said)

    source = Interrupted(RECORDS, {2: memory.keep, 4: lose})
    with capture_logs() as lines:
        # Nothing is looked at while the time stands still.
        Pipeline(behind, reference(), commit_interval_s=0, clock=lambda: 0.0).run(source, lambda: source.is_at_end)
    assert {"redis.waiting", "redis.reread"} <= set(actions(lines))
    assert client.hget(CONFIG, "wallet_balance") == "10000.50", "record 3, a deposit"
