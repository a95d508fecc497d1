"""Access to keys without a plan, on one server or a cluster: read them, find them by pattern, clear them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

import redis

from consumer.errors import ServerError
from consumer.settings.sections import Redis
from consumer.sink.address import Kind
from consumer.sink.client import address_of, ask, ask_one, connect, connect_anew, is_refusal, translate
from consumer.sink.cluster.plan_slots import slot, tags
from consumer.sink.cluster.routes import Routes
from consumer.sink.cluster.topology import Node, Topology
from consumer.sink.replies import is_of_replica, lacks_replicas, raise_first_error
from consumer.sink.script import Command

_SCAN_COUNT = 1000
_PARTS = 64
"""The number of parts into which a cluster's slots are divided. Each part has a hash with the group's offsets."""


class Keyspace(Protocol):
    """The keys of one server or of a cluster's masters. All but :meth:`close` raise redis.RedisError.

    ``parts``: for each part of the slots, a text that puts a key into this part if the key's name contains it.
    """

    @property
    def parts(self) -> Sequence[str]: ...

    def ask(self, questions: Sequence[Command]) -> list[Any]:
        """The replies to commands (name, one key, arguments). An error reply is an exception in the list."""
        ...

    def scan(self, pattern: str) -> Iterator[str]:
        """Every key that matches and existed during the whole scan. A key may appear twice."""
        ...

    def unlink(self, keys: Sequence[str]) -> None:
        """Remove these keys."""
        ...

    def clients(self) -> Sequence[redis.Redis]:
        """A client for each master."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class OneKeyspace:
    """The keys of one server."""

    parts: Sequence[str] = ("",)

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def ask(self, questions: Sequence[Command]) -> list[Any]:
        pipeline: Any = self._client.pipeline(transaction=False)
        for question in questions:
            pipeline.execute_command(*question)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        self._look_elsewhere(*replies)
        return replies

    def scan(self, pattern: str) -> Iterator[str]:
        try:
            yield from self._client.scan_iter(match=pattern, count=_SCAN_COUNT)
        except redis.ResponseError as error:
            self._look_elsewhere(error)
            raise

    def unlink(self, keys: Sequence[str]) -> None:
        try:
            self._client.unlink(*keys)
        except redis.ResponseError as error:
            self._look_elsewhere(error)
            raise

    def _look_elsewhere(self, *replies: object) -> None:
        """Connect anew after a refusal that another server may not give: else the same server is asked for ever."""
        if any(is_of_replica(reply) or lacks_replicas(reply) for reply in replies):
            connect_anew(self._client)

    def clients(self) -> Sequence[redis.Redis]:
        return [self._client]

    def close(self) -> None:
        self._client.close()


class ClusterKeyspace:
    """The keys of a cluster. Several threads may use it."""

    def __init__(self, server: Redis, topology: Topology | None = None) -> None:
        self.parts = tuple(f"{{{tag}}}:" for tag in tags(_PARTS))
        self._topology = topology or Topology(server)
        self._routes = Routes(server, self._topology, is_guarded=False)
        self._lock = threading.Lock()

    def ask(self, questions: Sequence[Command]) -> list[Any]:
        with self._lock:
            return self._routes.send_to_masters([(slot(str(question[1])), question) for question in questions])

    def scan(self, pattern: str) -> Iterator[str]:
        self._topology.look()
        for node in self._topology.masters:
            yield from self._topology.client(node).scan_iter(match=pattern, count=_SCAN_COUNT)

    def unlink(self, keys: Sequence[str]) -> None:
        raise_first_error(self.ask([("UNLINK", key) for key in keys]))

    def clients(self) -> Sequence[redis.Redis]:
        self._topology.look()
        return [self._topology.client(node) for node in self._topology.masters]

    def close(self) -> None:
        self._routes.close()
        self._topology.close()


class NodeKeyspace(OneKeyspace):
    """The keys of one master of a cluster. Keys are cleared on the whole cluster, because they may have moved."""

    def __init__(self, cluster: Keyspace, topology: Topology, node: Node) -> None:
        super().__init__(topology.client(node))
        self._cluster = cluster

    def unlink(self, keys: Sequence[str]) -> None:
        self._cluster.unlink(keys)


def keyspace(server: Redis) -> Keyspace:
    """The keys of the Redis in the settings.

    Raises:
        ConfigError: the URL can't be used.

    """
    if address_of(server).kind is Kind.CLUSTER:
        return ClusterKeyspace(server)
    return OneKeyspace(connect(server))


def runs(keys: Keyspace) -> str:
    """The run ids of all masters; the text changes when one of them starts again.

    Raises:
        ServerUnavailable, ConfigError: as :func:`consumer.sink.client.ask`.
        redis.RedisError: the cluster's nodes can't be asked.

    """
    ask_node = ask_one if isinstance(keys, OneKeyspace) else ask
    return " ".join(ask_node(client).run for client in keys.clients())


def within(server: Redis, most_ms: int) -> Redis:
    """``server`` with a timeout of at most ``most_ms``: a server that hangs must not delay who asks."""
    return server.model_copy(update={"timeout_ms": min(server.timeout_ms, most_ms)})


def write(server: Redis, *commands: Command) -> None:
    """Send commands over a connection of their own.

    Raises:
        ServerUnavailable: Redis can't serve now.
        ServerError: Redis refuses a command.
    """
    try:
        with closing(keyspace(server)) as keys:
            raise_first_error(keys.ask(commands))
    except redis.RedisError as error:
        found = translate(error, is_of_plan=False)
        if isinstance(error, redis.ResponseError) and is_refusal(error):
            raise ServerError(found.server, found.problem, found.advice, found.cause) from None
        raise found from None
