"""What the pipeline needs of the world: a source of records, a sink for plans, and somebody who watches."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from consumer.errors import ServerError
from consumer.events.record import Partition, SourceRecord
from consumer.guard.version import Verdict
from consumer.mapping.columns import Drift
from consumer.pipeline.dead_letter import DeadLetter
from consumer.planning.decision import Decision
from consumer.planning.effect import Plan


class Start(NamedTuple):
    """Where the reading of a partition begins. ``oldest`` is the first record that there still is."""

    offset: int
    oldest: int
    is_first_time: bool


class Polled(NamedTuple):
    """Records, and the generations of the partitions when they were polled."""

    records: Sequence[SourceRecord]
    generations: Mapping[Partition, int]

    def followed_by(self, later: Polled) -> Polled:
        """Both; of these only records whose partition has not been assigned anew in between."""
        kept = self.records
        if later.generations != self.generations:
            same = self.generations.items() & later.generations.items()
            current = {part for part, _ in same}
            kept = [record for record in kept if Partition.of(record) in current]
        return Polled([*kept, *later.records], later.generations)


class Source(Protocol):
    """Records in the order of each partition, and the offsets that are done.

    Assignments change only within :meth:`poll` and :meth:`idle`. A partition that is assigned begins at the group's
    offset, and nothing is handed out that was fetched before. ``tests/contract/test_source.py`` holds every source to
    this.
    """

    def assignment(self) -> Mapping[Partition, int]:
        """The partitions that are ours now, each with its generation: a number that grows with every assignment."""
        ...

    def starts(self, partitions: Collection[Partition]) -> Mapping[Partition, Start]:
        """Where the group goes on in each partition.

        Raises:
            ServerUnavailable: it can't be asked now.

        """
        ...

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        """The next records, or none after ``timeout_s``.

        Raises:
            ServerError: reading can't go on.

        """
        ...

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commit the next offset of each partition. False: not now, or no longer ours; nothing is lost by that."""
        ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Go on from these offsets, where the partitions are ours; what was fetched of them is dropped."""
        ...

    def idle(self, seconds: float) -> None:
        """Let time pass without taking records and without losing the membership of the group."""
        ...

    def lag(self) -> Mapping[Partition, int]:
        """Records behind the end of each assigned partition, as far as known."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Applied(msgspec.Struct, frozen=True):
    """What Redis answered to a plan.

    ``config_created`` is None where the plan wrote no config hash; ``updated`` is None where it had nothing for a hash
    that is only updated, and False where that hash did not exist. ``stored`` is the guard's version before, or "".
    ``differed`` is how much a fill or a rebuild changed.
    """

    verdict: Verdict
    config_created: bool | None
    updated: bool | None
    cleared: int
    receivers: int
    stored: str
    differed: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether the plan was carried out, rather than refused as old."""
        return self.verdict.is_accepted


class Sink(Protocol):
    """Where plans go."""

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        """Apply ``plans``; of those of one user and table, each only after the one before it was acknowledged.

        What can be sent at once is under way when this returns, and nothing else may be asked of the sink before the
        answers were taken.

        Yields the index of each plan with its answer as answers come in. A plan that was refused by the server yields
        a ServerError, and the later plans of that user and table are not tried; nor are they after UNHEALED.

        Raises:
            ServerUnavailable: the connection failed; plans without an answer may or may not have been applied, and
                can be applied again.
            Reconnected: the connection was lost since the last call; nothing was done.

        """
        ...

    def remember(self, offsets: Mapping[Partition, int], canary: str = "") -> bool:
        """Keep, beside the plans that were applied, how far each partition is done: it is lost if they are.

        ``canary`` names a key that was made before a rebuild. Then those of partitions that are not known are kept, and
        False is answered, and nothing kept, if Redis was emptied since.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        """The same for partitions of which something is remembered. False: of some nothing is any more, and nothing was
        kept, for Redis was emptied.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def recall(self) -> Mapping[Partition, int]:
        """What was remembered last of each partition, by any member of the group.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def stop_at(self, offsets: Mapping[Partition, int]) -> None:
        """Say where partitions go on that Redis has lost: what a rebuild need not contain.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def go_on_with(self, partitions: Collection[Partition]) -> None:
        """They go on: what :meth:`stop_at` said holds no more.

        Raises:
            ServerUnavailable, Reconnected: as :meth:`apply`.

        """
        ...

    def go_on(self) -> None:
        """After Reconnected: the caller will begin again at what :meth:`recall` answers."""
        ...


class Rebuild(Protocol):
    """Partitions written to Redis anew, from the topics and without a message, beside the loop."""

    def start(self, ends: Mapping[Partition, int]) -> None:
        """Begin, up to these offsets. What was under way is given up."""
        ...

    def finished(self) -> tuple[str, Collection[int]]:
        """The numbers of the partitions that are done, all topics together, and what :meth:`Sink.remember` needs.

        Raises:
            ServerError: it can't go on.

        """
        ...

    def stop(self) -> None:
        """Give up what is under way."""
        ...


class DeadLetters(Protocol):
    """Where records go that can't be applied."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Returns once all are safe. Called again with the same letters, it goes on where it was.

        Raises:
            ServerUnavailable: not yet; try again.
            ServerError: a letter is refused for good.

        """
        ...


class Step(msgspec.Struct, frozen=True):
    """One record, what was decided about it, and what Redis answered where there was a plan.

    ``is_dead``: it can't be applied; ``letter`` is there where its dead letter was written now, and not before.
    """

    record: SourceRecord
    decision: Decision
    applied: Applied | None
    is_dead: bool = False
    letter: DeadLetter | None = None


class Observer:
    """Told of what the pipeline does; for metrics, traces and the demo. Does nothing by itself."""

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """The group has shared out the partitions anew, and these came to us."""

    def took(self, records: Sequence[SourceRecord]) -> None:
        """These records are a batch, and work on them begins."""

    def stepped(self, steps: Sequence[Step]) -> None:
        """These records are done, in this order."""

    def waiting(self, error: ServerError, seconds: float) -> None:
        """The sink or the registry can't serve; the next attempt is ``seconds`` away."""

    def resumed(self) -> None:
        """It serves again."""

    def emptied(self, reason: str) -> None:
        """Redis lacks what it had acknowledged, and nothing is applied; ``reason`` says what is waited for. "": it has
        it again.
        """

    def interrupted(self, error: ServerError, seconds: float) -> None:
        """The source can't be read; the next attempt is ``seconds`` away."""

    def continued(self) -> None:
        """The source can be read again."""

    def jumped(self, partition: Partition, wanted: int, to: int) -> None:
        """The record at offset ``wanted`` is not there, and reading went on at ``to``."""

    def refused(self, topics: Sequence[str]) -> None:
        """These topics are there under the prefix, and are not followed: they are of another database."""

    def drifted(self, drift: Drift, count: int) -> None:
        """``count`` changes had something unexpected about a column."""

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """These offsets were committed."""

    def uncommitted(self, error: ServerError) -> None:
        """A commit did not work; nothing is lost by that."""

    def looked(self, source: Source) -> None:
        """Called between polls, at most once a second."""
