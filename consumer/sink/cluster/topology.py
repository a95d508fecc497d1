"""Which node of a Redis Cluster is the master of which slot, as its nodes say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import redis

from consumer.settings.sections import Redis
from consumer.sink.client import NoClusterNode, address_of, connect, lacks_command
from consumer.sink.cluster.plan_slots import SLOTS

_UNKNOWN = "?"
"""What a node calls one whose host name it has to tell and does not know."""


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def named(host: str | None, port: int, teller: Node, address: str = "") -> Node:
    """The node that ``teller`` speaks of.

    Without a host it is where ``teller`` was found; one of unknown name too, unless its ``address`` is told.

    Raises:
        redis.ConnectionError: the host is no name.

    """
    if host == _UNKNOWN:
        host = address
    try:
        (host or "").encode("idna")
    except UnicodeError:
        raise redis.ConnectionError(f"a node of the cluster calls itself {host!r}, which is no host name") from None
    return Node(host or teller.host, port)


def is_known(host: str | None) -> bool:
    """Whether a node that another one speaks of can be told by that host."""
    return host != _UNKNOWN


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

    def at(self, port: int) -> Node | None:
        """The node that listens on that port, if one does and only one."""
        found = [node for node in (*self.masters, *self.replicas) if node.port == port]
        return found[0] if len(found) == 1 else None

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
                self._take(self.client(node).execute_command("CLUSTER SLOTS"), node)
                return
            except redis.ResponseError as error:
                failure = NoClusterNode(str(error)) if lacks_command(error) else error
            except redis.RedisError as error:
                failure = error
        raise failure

    def _known(self, doubted: frozenset[Node], first: Node | None) -> Iterator[Node]:
        every = dict.fromkeys((*([first] if first else []), *self.masters, *sorted(self.replicas), *self._seeds))
        yield from (node for node in every if node not in doubted)
        yield from (node for node in every if node in doubted)

    def _take(self, told: Any, asked: Node) -> None:
        owners: list[Node | None] = [None] * SLOTS
        replicas = set()
        for first, last, *nodes in told:
            master, *others = (named(host, port, asked, _address(*more[1:2])) for host, port, *more in nodes)
            owners[first : last + 1] = [master] * (last + 1 - first)
            replicas.update(others)
        self._owners = owners
        self.masters = tuple(sorted({each for each in owners if each is not None}))
        self.replicas = frozenset(replicas)


def _address(metadata: Any = ()) -> str:
    """The IP address of a node, if its entry in CLUSTER SLOTS tells that beside the name: from Redis 7 on."""
    pairs = metadata if isinstance(metadata, dict) else dict(zip(metadata[::2], metadata[1::2], strict=False))
    return str(pairs.get("ip", ""))
