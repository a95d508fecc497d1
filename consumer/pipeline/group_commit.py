"""The group's offsets in Kafka: what is committed, and the commit that Kafka has not answered yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from consumer.events.record import Partition
from consumer.pipeline.protocols import BegunCommit, Source

_NOTHING: Mapping[Partition, int] = {}


class _Open(NamedTuple):
    """A commit without an answer: the offsets it is about, what Kafka gets, and how to ask for the answer."""

    offsets: Mapping[Partition, int]
    to_kafka: Mapping[Partition, int]
    answer: BegunCommit


class GroupCommit:
    """Commits offsets for the group, and never lowers them.

    A record that is read again has an offset below the group's. The group's offset stays, because the next owner must
    see that Redis is behind it.
    """

    def __init__(self) -> None:
        self._committed: dict[Partition, int] = {}
        self._sent: dict[Partition, int] = {}
        """The highest offset that was sent to Kafka. It may be the group's also if no answer came."""
        self._open: _Open | None = None

    @property
    def is_open(self) -> bool:
        """Whether a commit was begun and Kafka has not answered."""
        return self._open is not None

    def start(self, partition: Partition, offset: int) -> None:
        """A partition is assigned, and this is the group's offset."""
        self._committed[partition] = self._sent[partition] = offset

    def forget(self, partition: Partition) -> tuple[int, int]:
        """A partition is revoked. An open commit of it is not waited for any more.

        The group's offset lies between the two answers: commits without an answer may have arrived.
        """
        if self._open is not None and partition in self._open.offsets:
            self._open = None  # the answer would be about an assignment that has ended
        return self._committed.pop(partition), self._sent.pop(partition)

    def commit(self, source: Source, offsets: Mapping[Partition, int]) -> bool:
        """Commit, and wait for the answer: whether Kafka has the offsets."""
        to_kafka = self._raised(offsets)
        self._open = None
        is_committed = source.commit(to_kafka)
        if is_committed:
            self._committed |= to_kafka
        return is_committed

    def begin(self, source: Source, offsets: Mapping[Partition, int]) -> None:
        """Commit without waiting; :meth:`answered` tells when Kafka has the offsets."""
        to_kafka = self._raised(offsets)
        self._open = _Open(offsets, to_kafka, source.begin_commit(to_kafka))

    def answered(self) -> Mapping[Partition, int]:
        """The offsets of the begun commit, once, when Kafka has them; else nothing.

        Raises:
            ServerError: Kafka refuses the commit for ever.
        """
        if self._open is None:
            return _NOTHING
        offsets, to_kafka, answer = self._open
        is_committed = answer()
        if is_committed is None:
            return _NOTHING
        self._open = None
        if not is_committed:
            return _NOTHING
        self._committed |= to_kafka
        return offsets

    def _raised(self, offsets: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """``offsets``, where they are not below an offset that was sent before."""
        to_kafka = {part: max(at, self._sent[part]) for part, at in offsets.items()}
        self._sent |= to_kafka
        return to_kafka
