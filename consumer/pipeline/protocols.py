"""The interfaces of the pipeline: a source of records, a sink for plans, and an observer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from consumer.errors import ServerError
from consumer.events.record import Partition, SourceRecord
from consumer.guard.version import Verdict
from consumer.mapping.schema_drift import Drift
from consumer.pipeline.dead_letter import DeadLetter
from consumer.planning.decision import Decision
from consumer.planning.effect import Plan


class Start(NamedTuple):
    """Where reading of a partition starts.

    ``oldest``: the offset of the oldest record that Kafka still has. ``is_first_time``: the group has no offset.
    ``is_committed``: false if the group's offset is out of range and has to be replaced.
    """

    offset: int
    oldest: int
    is_first_time: bool
    is_committed: bool = True


class Polled(NamedTuple):
    """Records, and the generations of their partitions when they were polled."""

    records: Sequence[SourceRecord]
    generations: Mapping[Partition, int]

    def and_then(self, later: Polled) -> Polled:
        """Both in order; records of this poll are dropped if their partition was assigned again in between."""
        kept = self.records
        if later.generations != self.generations:
            same = self.generations.items() & later.generations.items()
            current = {part for part, _ in same}
            kept = [record for record in kept if Partition.of(record) in current]
        return Polled([*kept, *later.records], later.generations)


BegunCommit: TypeAlias = Callable[[], bool | None]
"""Asks for the answer to a commit: True if Kafka has the offsets, False as for :meth:`Source.commit`, None if there is
no answer yet. It raises what that method raises."""


class Source(Protocol):
    """Records in the order of each partition, and the commit of offsets.

    Assignments change only within :meth:`poll` and :meth:`idle`. An assigned partition starts at the group's offset,
    and records that were fetched before are not returned. Every source passes the tests in ``tests/integration/kafka``.
    """

    def assignment(self) -> Mapping[Partition, int]:
        """The assigned partitions, each with its generation: a number that grows with every assignment."""
        ...

    def starts(self, partitions: Collection[Partition]) -> Mapping[Partition, Start]:
        """Where the group resumes in each partition.

        Raises:
            ServerUnavailable: Kafka can't be asked now.

        """
        ...

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        """The next records, or none after ``timeout_s`` seconds.

        Raises:
            ServerError: reading can't continue.

        """
        ...

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commit the next offset of each partition. False: not now, or not assigned any more; no record is lost.

        Raises:
            ServerError: Kafka refuses it for ever.
        """
        ...

    def begin_commit(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        """As :meth:`commit`, without waiting: :meth:`poll` receives the answer."""
        ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Resume at these offsets in assigned partitions; records that were already fetched are dropped."""
        ...

    def idle(self, seconds: float) -> None:
        """Wait without returning records and without losing the membership of the group."""
        ...

    def lag(self) -> Mapping[Partition, int | None]:
        """The number of records between the position and the end of each assigned partition.

        None: it is not known now, because a broker does not answer. Partitions without a known position are missing.
        """
        ...

    def close(self) -> None:
        """Leave the group and close the connections."""
        ...


class Applied(msgspec.Struct, frozen=True, gc=False):
    """Redis' answer to a plan.

    ``config_created``: None if the plan wrote no config hash. ``updated``: None if the plan had nothing for a hash that
    is only updated if it exists, False if that hash did not exist. ``stored``: the version that the guard held before;
    "" if it held none, or if the script did not send it, as for a usual change. ``differed``: how many fields and keys
    a fill or a rebuild changed.
    """

    verdict: Verdict
    config_created: bool | None
    updated: bool | None
    cleared: int
    receivers: int
    stored: str = ""
    differed: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether the plan was applied, and not refused as old."""
        return self.verdict.is_accepted


class Sink(Protocol):
    """Applies plans to Redis, and stores offsets there."""

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        """Apply ``plans``. A plan waits until the previous plan of the same user and table is acknowledged.

        Everything that can be sent at once is sent before this returns. No other method may be called before the
        answers are read.

        Yields the index of each plan with its answer, as answers arrive. If the server refuses a plan, its answer is a
        ServerError, and later plans of that user and table are not tried. The same holds after UNHEALED.

        Raises:
            ServerUnavailable: the connection failed. Plans without an answer may or may not have been applied, and can
                be applied again.
            Reconnected: the connection was lost since the last call; nothing was applied.

        """
        ...

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        """Store the next offset of each partition beside the applied plans: if the data is lost, the offsets are too.

        ``replay_key`` names a key that was created before a rebuild. With it, only offsets of unknown partitions are
        stored. False: Redis was emptied since, and nothing was stored.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        """Store higher offsets of partitions that Redis knows. False: Redis was emptied and lacks some of them, and
        nothing was stored.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def stored_offsets(self) -> Mapping[Partition, int]:
        """The offsets that Redis holds of each partition, stored by any member of the group.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None:
        """Store the offsets at which lost partitions resume: a rebuild need not contain records from there on.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None:
        """The partitions are read again: remove what :meth:`store_stop_offsets` stored.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def accept_new_connection(self) -> None:
        """After Reconnected: accept the new connection. The caller resumes at the :meth:`stored_offsets`."""
        ...


class Rebuild(Protocol):
    """Rebuilds partitions in Redis from the topics, without publishing messages, beside the loop."""

    def start(self, ends: Mapping[Partition, int]) -> None:
        """Begin a rebuild up to these offsets. A running rebuild is stopped."""
        ...

    def finished(self) -> tuple[str, Collection[int]]:
        """The replay key for :meth:`Sink.store_offsets`, and the numbers of the finished partitions.

        A number stands for the partitions of all topics.

        Raises:
            ServerError: the rebuild can't continue.

        """
        ...

    def stop(self) -> None:
        """Stop a running rebuild."""
        ...


class DeadLetters(Protocol):
    """The topic for records that can't be applied."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Write the letters; returns when all are acknowledged. A second call with the same letters continues.

        Raises:
            ServerUnavailable: not acknowledged yet; try again.
            ServerError: a letter is refused permanently.

        """
        ...


class RecordResult(msgspec.Struct, frozen=True):
    """One record, the decision about it, and Redis' answer if there was a plan.

    ``is_dead``: the record can't be applied. ``letter``: its dead letter, if it was written in this batch.
    """

    record: SourceRecord
    decision: Decision
    applied: Applied | None
    is_dead: bool = False
    letter: DeadLetter | None = None


class Observer:
    """Is called for each event of the pipeline: for metrics, traces and the demo. The methods here do nothing."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """The group has rebalanced, and these partitions were assigned to this member."""

    def batch_started(self, records: Sequence[SourceRecord]) -> None:
        """Work on a batch with these records begins."""

    def records_done(self, results: Sequence[RecordResult]) -> None:
        """These records are done, in this order."""

    def waiting(self, error: ServerError, seconds: float) -> None:
        """Redis, Kafka's dead letter topic or the registry is unavailable; the next attempt is in ``seconds``."""

    def servers_available(self) -> None:
        """All of these servers are available again."""

    def emptied(self, reason: str) -> None:
        """Redis has less than it acknowledged, and nothing is applied; ``reason`` says what the program waits for.
        "": the wait is over.
        """

    def interrupted(self, error: ServerError, seconds: float) -> None:
        """The source can't be read; the next attempt is in ``seconds``."""

    def source_available(self) -> None:
        """The source can be read again."""

    def jumped(self, partition: Partition, wanted: int, to: int) -> None:
        """The record at offset ``wanted`` does not exist any more; reading continued at ``to``."""

    def refused(self, topics: Sequence[str]) -> None:
        """These topics with the prefix are not consumed, because they are of another database."""

    def drifted(self, drift: Drift, count: int) -> None:
        """``count`` changes had something unexpected about a column."""

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """These offsets were committed."""

    def uncommitted(self, error: ServerError) -> None:
        """A commit failed; no record is lost by that."""

    def tick(self, source: Source) -> None:
        """Called between polls, at most once a second."""
