"""A Kafka client as a member of a consumer group: the little that :mod:`consumer.source.group_consumer` needs of one.

There are two: kafka-python, and confluent-kafka where that is installed and asked for. Their failures are those of
kafka-python, whichever it is: the table of failures has its names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from consumer.events.record import Partition, SourceRecord

OnPartitions = Callable[[Sequence[Partition]], None]

LOOK_UP_TIMEOUT_MS = 5000


class Extent(NamedTuple):
    """What there is of a partition: the offset of its oldest record, and of the next that will be written."""

    oldest: int
    end: int


class Member(Protocol):
    """A connected client, in the group once it has subscribed. Offsets are those of the next record to read."""

    def subscribe(self, topics: Sequence[str], pattern: str, assigned: OnPartitions, revoked: OnPartitions) -> None:
        """Join, for ``topics``, else for those that match ``pattern``, later ones too.

        ``assigned`` and ``revoked`` are called within :meth:`read`, ``revoked`` while offsets may still be committed,
        if they may; :meth:`read` raises what they raise. Neither is called by :meth:`close`.
        """
        ...

    def read(self, timeout_s: float) -> list[SourceRecord]:
        """The next records, or none after ``timeout_s``.

        Raises:
            NoOffsetForPartitionError: the group has no offset of the partitions in ``args[0]``; again, until
                :meth:`seek`.
            OffsetOutOfRangeError: so it is with those in ``args[0]``: the record at the offset is not there.
            Exception: whatever else the client says; no record is passed over by that.

        """
        ...

    def is_connected(self) -> bool:
        """Whether there is a connection to the group's coordinator, as far as the client knows."""
        ...

    def assignment(self) -> frozenset[Partition]: ...

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        """The group's offsets."""
        ...

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]: ...

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Raises CommitFailedError if the partitions are another member's now."""
        ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Of assigned partitions. What was fetched of them is dropped."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None: ...

    def resume(self) -> None:
        """All that are paused."""
        ...

    def topics(self) -> Collection[str]:
        """The topics of the cluster, as far as the client has heard; all of them where it follows a pattern."""
        ...

    def lag(self) -> Mapping[Partition, int]:
        """Records behind the end, as far as known."""
        ...

    def close(self) -> None: ...
