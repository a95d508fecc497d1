"""Which node of a Redis Cluster is the master of which slot, as its nodes say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import redis

from consumer.redis_client import address_of, connect
from consumer.sections import Redis
from consumer.spread import SLOTS

_NOT_A_NODE = "cluster support disabled"


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Topology:
    """The map of the slots, as of the last look; what is wrong in it the nodes tell whoever asks them.

    Several threads may use it.
    """

    def __init__(self, server: Redis) -> None:
        self._server = server
        self._seeds = [Node(*host) for host in address_of(server).hosts]
        self._lock = threading.Lock()
        self._owners: list[Node | None] = [None] * SLOTS
        self._clients: dict[Node, redis.Redis] = {}
        self.masters: tuple[Node, ...] = ()
        """Those that have slots."""
        self.replicas: frozenset[Node] = frozenset()

    def close(self) -> None:
        """Let the connections go."""
        for client in self._clients.values():
            client.close()

    def owner(self, slot: int) -> Node | None:
        """The master of ``slot``, if one is known."""
        return self._owners[slot]

    def client(self, node: Node) -> redis.Redis:
        """A client of one node."""
        with self._lock:
            if node not in self._clients:
                self._clients[node] = connect(self._server, node)
            return self._clients[node]

    def moved(self, slot: int, to: Node) -> None:
        """A node said that ``slot`` is another's now."""
        self._owners[slot] = to

    def look(self, doubted: frozenset[Node] = frozenset(), first: Node | None = None) -> None:
        """Ask anew, ``first`` before all others and those in doubt last.

        Raises:
            redis.RedisError: no node answers.

        """
        failure: redis.RedisError = redis.ConnectionError("no node of the cluster answers")
        for node in self._known(doubted, first):
            try:
                told: Any = self.client(node).execute_command("CLUSTER SLOTS")
            except redis.RedisError as error:
                failure = error
            else:
                self._take(told, node)
                return
        raise failure

    def _known(self, doubted: frozenset[Node], first: Node | None) -> Iterator[Node]:
        every = dict.fromkeys((*([first] if first else []), *self.masters, *sorted(self.replicas), *self._seeds))
        yield from (node for node in every if node not in doubted)
        yield from (node for node in every if node in doubted)

    def _take(self, told: Any, asked: Node) -> None:
        owners: list[Node | None] = [None] * SLOTS
        replicas = set()
        for first, last, *nodes in told:
            master, *others = (Node(host or asked.host, port) for host, port, *_ in nodes)
            owners[first : last + 1] = [master] * (last + 1 - first)
            replicas.update(others)
        self._owners = owners
        self.masters = tuple(sorted({each for each in owners if each is not None}))
        self.replicas = frozenset(replicas)


def is_no_node(error: redis.RedisError) -> bool:
    """Whether a server that was asked says that it is no node of any cluster."""
    return _NOT_A_NODE in str(error)
