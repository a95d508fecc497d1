"""The interface of a Kafka client as a member of a consumer group, for :mod:`consumer.source.group_consumer`.

There are two implementations: kafka-python, and confluent-kafka if it is installed and selected. Both raise
kafka-python's exceptions, because the table of failures has their names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from consumer.events.record import Partition, SourceRecord

OnPartitions = Callable[[Sequence[Partition]], None]

LOOK_UP_TIMEOUT_MS = 5000


class Extent(NamedTuple):
    """The offset of a partition's oldest record, and of the next record that will be written."""

    oldest: int
    end: int


class Reading(NamedTuple):
    """The offset of the next record of a partition to read, and the partition's end at the last answer, if known."""

    position: int | None
    end: int | None


class Member(Protocol):
    """A connected client, in the group after :meth:`subscribe`. Offsets are those of the next record to read."""

    def subscribe(self, topics: Sequence[str], pattern: str, assigned: OnPartitions, revoked: OnPartitions) -> None:
        """Join the group for ``topics``; if empty, for all topics that match ``pattern``, also those created later.

        :meth:`read` calls ``assigned`` and ``revoked``. It calls ``revoked`` while offsets can still be committed, if
        that is allowed. :meth:`read` raises what they raise. :meth:`close` calls neither.
        """
        ...

    def read(self, timeout_s: float) -> list[SourceRecord]:
        """The next records, or none after ``timeout_s``.

        Raises:
            NoOffsetForPartitionError: the group has no offset for the partitions in ``args[0]``; raised again until
                :meth:`seek`.
            OffsetOutOfRangeError: the record at the offset does not exist, for the partitions in ``args[0]``.
            Exception: any other error of the client; no record is skipped by it.

        """
        ...

    def is_connected(self) -> bool:
        """Whether there is a connection to the group's coordinator, if the client knows."""
        ...

    def assignment(self) -> frozenset[Partition]: ...

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        """The group's committed offsets."""
        ...

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]: ...

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit. Raises CommitFailedError if the partitions are assigned to another member."""
        ...

    def begin_commit(self, offsets: Mapping[Partition, int]) -> Callable[[], bool]:
        """As :meth:`commit`, without waiting: :meth:`read` receives the answer.

        The result tells whether the commit is done. It raises what :meth:`commit` raises; this method itself does not.
        """
        ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Resume assigned partitions at these offsets; records that were already fetched are dropped."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None: ...

    def resume(self) -> None:
        """Resume all paused partitions."""
        ...

    def topics(self) -> Collection[str]:
        """The topics of the cluster in the client's metadata; all topics if it subscribed to a pattern."""
        ...

    def readings(self) -> Mapping[Partition, Reading]:
        """How far each assigned partition is read. It asks no broker."""
        ...

    def begin_again(self, partitions: Collection[Partition]) -> None:
        """Read on at the same positions, with new requests: the partitions are not read, for an unknown reason."""
        ...

    def close(self) -> None: ...
