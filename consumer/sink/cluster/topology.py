"""Which node of a Redis Cluster is the master of which slot, as the nodes report it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import redis

from consumer.settings.sections import Redis
from consumer.sink.client import NoClusterNode, address_of, connect, lacks_command
from consumer.sink.cluster.plan_slots import SLOTS

_UNKNOWN = "?"
"""A node reports this text in place of another node's host name that it does not know."""


class Node(NamedTuple):
    """The address of a node."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def named(host: str | None, port: int, teller: Node, address: str = "") -> Node:
    """The address of a node that ``teller`` reports.

    If the host name is unknown, ``address`` is used. Without a host and an address, the host of ``teller`` is used.

    Raises:
        redis.ConnectionError: the host is not a host name.

    """
    if host == _UNKNOWN:
        host = address
    try:
        (host or "").encode("idna")
    except UnicodeError:
        raise redis.ConnectionError(f"a node of the cluster calls itself {host!r}, which is no host name") from None
    return Node(host or teller.host, port)


def is_known(host: str | None) -> bool:
    """Whether a reported host name is known to the node that reports it."""
    return host != _UNKNOWN


class Topology:
    """The slot map at the time of the last :meth:`look`. If it is out of date, the nodes answer with MOVED or ASK.

    Several threads may use it.
    """

    def __init__(self, server: Redis) -> None:
        self._server = server
        self._seeds = [Node(*host) for host in address_of(server).hosts]
        self._lock = threading.Lock()
        self._owners: list[Node | None] = [None] * SLOTS
        self._clients: dict[Node, redis.Redis] = {}
        self.masters: tuple[Node, ...] = ()
        """The nodes that have slots."""
        self.replicas: frozenset[Node] = frozenset()

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def owner(self, slot: int) -> Node | None:
        """The master of ``slot``, if one is known."""
        return self._owners[slot]

    def at(self, port: int) -> Node | None:
        """The node with this port; None if there is none, or more than one."""
        found = [node for node in (*self.masters, *self.replicas) if node.port == port]
        return found[0] if len(found) == 1 else None

    def client(self, node: Node) -> redis.Redis:
        """A client for one node."""
        with self._lock:
            if node not in self._clients:
                self._clients[node] = connect(self._server, node)
            return self._clients[node]

    def moved(self, slot: int, to: Node) -> None:
        """A node answered that ``slot`` is now on another node."""
        self._owners[slot] = to
        self.replicas -= {to}

    def look(self, doubted: frozenset[Node] = frozenset(), first: Node | None = None) -> None:
        """Ask a node for the slot map: ``first`` before all others, the nodes in ``doubted`` last.

        A node that was reset does not know all slots, so the next one is asked. If none knows all, the map with the
        most slots is taken.

        Raises:
            redis.RedisError: no node answers, or none knows a master.

        """
        failure: redis.RedisError = redis.ConnectionError("no node of the cluster answers")
        best = _SlotMap([], frozenset(), 0)
        for node in self._known(doubted, first):
            try:
                found = _slot_map(self.client(node).execute_command("CLUSTER SLOTS"), node)
                if found.served > best.served:
                    best = found
                if best.served == SLOTS:
                    break
                failure = redis.exceptions.ClusterDownError("no node of the cluster knows a master")
            except redis.ResponseError as error:
                failure = NoClusterNode(str(error)) if lacks_command(error) else error
            except redis.RedisError as error:
                failure = error
        if not best.served:
            raise failure
        self._owners = best.owners
        self.masters = tuple(sorted({each for each in best.owners if each is not None}))
        self.replicas = best.replicas

    def _known(self, doubted: frozenset[Node], first: Node | None) -> Iterator[Node]:
        every = dict.fromkeys((*([first] if first else []), *self.masters, *sorted(self.replicas), *self._seeds))
        yield from (node for node in every if node not in doubted)
        yield from (node for node in every if node in doubted)


class _SlotMap(NamedTuple):
    """What a node reports: the master of each slot, the replicas, and how many slots have a master."""

    owners: list[Node | None]
    replicas: frozenset[Node]
    served: int


def _slot_map(told: Any, asked: Node) -> _SlotMap:
    owners: list[Node | None] = [None] * SLOTS
    replicas = set()
    for first, last, *nodes in told:
        master, *others = (named(host, port, asked, _address(*more[1:2])) for host, port, *more in nodes)
        owners[first : last + 1] = [master] * (last + 1 - first)
        replicas.update(others)
    return _SlotMap(owners, frozenset(replicas), SLOTS - owners.count(None))


def _address(metadata: Any = ()) -> str:
    """The IP address in a node's entry of CLUSTER SLOTS, which Redis 7 reports beside the name; "" if missing."""
    pairs = metadata if isinstance(metadata, dict) else dict(zip(metadata[::2], metadata[1::2], strict=False))
    return str(pairs.get("ip", ""))
