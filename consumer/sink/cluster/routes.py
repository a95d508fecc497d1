"""Sends commands to the masters of their slots, to all nodes at once; if a slot has moved, to its new node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from consumer.errors import Reconnected
from consumer.settings.sections import Redis
from consumer.sink.cluster.topology import Node, Topology, is_known, named
from consumer.sink.replies import lacks_replicas
from consumer.sink.script import Call, Script

_ROUNDS = 8
"""A command is sent at most so many times while slots move. Then it fails, and is tried again later."""
_ASKING: Call = ("ASKING",)


@dataclass(slots=True)
class _NodeCommand:
    """A command without a reply yet. ``to``: the node that has the key now (ASK), if it is not the slot's master."""

    at: int
    slot: int
    call: Call
    to: Node | None = None

    def calls(self) -> tuple[Call, ...]:
        return (_ASKING, self.call) if self.to else (self.call,)


class Routes:
    """One connection to each master.

    ``is_guarded``: a reconnect raises Reconnected before anything is sent, unless nothing was written there before.
    """

    def __init__(self, server: Redis, topology: Topology, *, is_guarded: bool) -> None:
        self._server = server
        self._topology = topology
        self._is_guarded = is_guarded
        self._links: dict[Node, Script] = {}
        self._first: frozenset[Node] | None = None

    def close(self) -> None:
        """Close the connections."""
        for link in self._links.values():
            link.close()

    def accept_new_connection(self) -> None:
        """After Reconnected: accept the new connections."""
        for link in self._links.values():
            link.accept_new_connection()

    def send_to_masters(self, calls: Sequence[tuple[int, Call]]) -> list[Any]:
        """Send calls, each with its slot, and answer the replies in order. Calls of one slot are carried out in order.

        A failure is an exception in the list: an error reply; redis.ConnectionError or a similar error if the call may
        have been carried out; Reconnected if it was not.
        """
        self._close_replicas()  # others may have looked since, with the same topology
        replies: list[Any] = [None] * len(calls)
        left = [_NodeCommand(at, slot, call) for at, (slot, call) in enumerate(calls)]
        for _ in range(_ROUNDS):
            left = self._go(left, replies)
            if not left:
                break
        for errand in left:
            replies[errand.at] = redis.exceptions.ClusterError("slots are moving faster than they can be followed")
        return replies

    def _go(self, errands: Sequence[_NodeCommand], replies: list[Any]) -> list[_NodeCommand]:
        """Send each command once; answers those that must be sent to another node."""
        lost: set[Node] = set()
        under_way = []
        for node, load in self._loads(errands, replies).items():
            try:
                link = self._link(node)
                link.send([call for errand in load for call in errand.calls()])
            except (redis.RedisError, Reconnected) as error:
                _fail(load, error, replies)
                if not isinstance(error, Reconnected):
                    lost.add(node)
            else:
                under_way.append((node, link, load))
        onward: list[_NodeCommand] = []
        for node, link, load in under_way:
            try:
                onward += self._told(node, load, iter(link.receive()), replies, lost)
            except (redis.RedisError, Reconnected) as error:
                _fail(load, error, replies)
                lost.add(node)
        if lost:
            self._look(frozenset(lost))
        return onward

    def _loads(self, errands: Sequence[_NodeCommand], replies: list[Any]) -> dict[Node, list[_NodeCommand]]:
        if any(errand.to is None and self._topology.owner(errand.slot) is None for errand in errands):
            self._look()
        loads: dict[Node, list[_NodeCommand]] = {}
        for errand in errands:
            node = errand.to or self._topology.owner(errand.slot)
            if node is None:
                replies[errand.at] = redis.exceptions.ClusterDownError(f"no master has slot {errand.slot}")
            else:
                loads.setdefault(node, []).append(errand)
        return loads

    def _told(
        self, by: Node, load: Sequence[_NodeCommand], told: Iterator[Any], replies: list[Any], lost: set[Node]
    ) -> Iterator[_NodeCommand]:
        for errand in load:
            if errand.to:
                next(told)  # the reply to ASKING
            reply = next(told)
            if not isinstance(reply, redis.exceptions.AskError):
                replies[errand.at] = reply
                if isinstance(reply, redis.exceptions.ClusterDownError) or lacks_replicas(reply):
                    lost.add(by)  # it may be cut off from the others, which serve its slots by another node
                continue
            to = named(reply.host, int(reply.port), by)
            errand.to = to
            if isinstance(reply, redis.exceptions.MovedError):
                errand.to = None
                if not is_known(reply.host):
                    self._look(first=by)  # the slot map of ``by`` has an address
                else:
                    if to not in self._topology.masters:
                        self._look(first=to)
                    self._topology.moved(errand.slot, to)
            elif not is_known(reply.host):
                errand.to = self._topology.at(to.port) or to
            yield errand

    def _look(self, doubted: frozenset[Node] = frozenset(), first: Node | None = None) -> None:
        try:
            self._topology.look(doubted, first)
        except redis.RedisError:
            return  # the next command to a node reports it
        self._close_replicas()

    def _close_replicas(self) -> None:
        for node in self._links.keys() & self._topology.replicas:
            # A former master may have dropped writes that it acknowledged. If it becomes a master again, the new
            # connection must report that.
            self._links.pop(node).close()

    def _link(self, node: Node) -> Script:
        if self._first is None:
            self._first = frozenset(self._topology.masters)
        if node not in self._links:
            is_first = node in self._first
            self._links[node] = Script(self._server, node, is_first=is_first, is_guarded=self._is_guarded)
            self._first -= {node}
        return self._links[node]


def _fail(load: Sequence[_NodeCommand], error: Exception, replies: list[Any]) -> None:
    for errand in load:
        replies[errand.at] = error
