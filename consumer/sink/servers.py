"""The interface of Redis for the sink, the same for one server and for a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeAlias

from consumer.errors import ServerError
from consumer.events.record import Partition
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.sink.client import Server
from consumer.sink.index.scan_index import KeyIndex

Answers: TypeAlias = Callable[[], Sequence[Applied | ServerError]]
"""Waits for the answers to plans, in the order of the plans. Call it once."""


class Servers(Protocol):
    """One server or several. All methods except :meth:`reach` also raise redis.RedisError."""

    index: KeyIndex
    """Finds the keys of the prefixes that plans clear."""

    def reach(self) -> Server:
        """Connect; answers the information of the server.

        Raises:
            ServerUnavailable: a server does not answer yet.
            ConfigError: a server refuses these credentials, or can't hold the keys of this mapping.

        """
        ...

    def is_reachable(self) -> bool:
        """Whether all servers answer now."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...

    def send(self, plans: Sequence[Plan], derived: Sequence[Sequence[str]]) -> Answers:
        """Send plans, no two of them of one user and table. ``derived``: for each plan, the existing keys of its
        prefixes, which are to be cleared.

        The caller must read the answers before any other call. The work may begin only then. If only some of the plans
        failed, their answer is the error, which may be Reconnected.

        Raises:
            Reconnected: nothing was done. Reading the answers may raise this too.

        """
        ...

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        """Store ``offsets`` beside the data that was applied before. With a ``replay_key``, store only unknown
        partitions.

        False: the ``replay_key`` does not exist any more, and nothing was stored.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        """Store offsets of known partitions; without offsets, only check the connection. False: some are unknown.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def stored_offsets(self) -> Mapping[Partition, int]:
        """The stored offsets of the partitions that all servers know.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """Store the offsets at which members have stopped, for a rebuild of Redis.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None:
        """Remove the offsets that :meth:`store_stop_offsets` stored.

        Raises:
            Reconnected: what was applied may be lost.

        """
        ...

    def accept_new_connection(self) -> None:
        """After Reconnected: accept the new connection."""
        ...
