"""A slot of a cluster that moves from one master to another, key by key, as a resharding moves it."""

from __future__ import annotations

from typing import Protocol

import redis

_MIGRATE_MS = 5000


class Node(Protocol):
    """A node of this machine."""

    port: int

    def connect(self) -> redis.Redis: ...


class MovingSlot:
    """The move begins when this is made. Until :meth:`end`, the two nodes have some of the keys each."""

    def __init__(self, number: int, source: Node, target: Node) -> None:
        self._number, self._source, self._target = number, source, target
        with source.connect() as giver, target.connect() as taker:
            self._owner = taker.execute_command("CLUSTER MYID")
            taker.execute_command("CLUSTER SETSLOT", number, "IMPORTING", giver.execute_command("CLUSTER MYID"))
            giver.execute_command("CLUSTER SETSLOT", number, "MIGRATING", self._owner)

    def move(self, count: int) -> bool:
        """Move so many keys; whether there were any."""
        with self._source.connect() as giver:
            keys = giver.execute_command("CLUSTER GETKEYSINSLOT", self._number, count)
            if keys:
                address = "127.0.0.1", self._target.port
                giver.execute_command("MIGRATE", *address, "", 0, _MIGRATE_MS, "KEYS", *keys)
        return bool(keys)

    def end(self) -> None:
        """All keys are moved: the slot is the target's."""
        for node in (self._target, self._source):
            with node.connect() as client:
                client.execute_command("CLUSTER SETSLOT", self._number, "NODE", self._owner)
