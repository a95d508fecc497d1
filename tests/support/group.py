"""A consumer group in memory: what Kafka's broker and its client do on assignment, seek, commit and revocation.

``tests/integration/kafka/test_source.py`` checks it and the real source by the same tests. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from consumer.events.record import Partition, SourceRecord
from consumer.pipeline.protocols import BegunCommit, Start


class Group:
    """The broker's half: the records of each partition, the committed offsets, and which member has what.

    ``on_commit`` is called with each commit before it is kept.
    """

    def __init__(self, records: Iterable[SourceRecord] = (), partitions: Iterable[Partition] = ()) -> None:
        self.log: dict[Partition, list[SourceRecord]] = {each: [] for each in partitions}
        self.committed: dict[Partition, int] = {}
        self.on_commit: Callable[[Mapping[Partition, int]], None] = lambda _: None
        self._members: list[GroupSource] = []
        self._rejoining: set[GroupSource] = set()
        self._wanted: Mapping[GroupSource, Collection[Partition]] | None = None
        self.send(records)

    def send(self, records: Iterable[SourceRecord]) -> None:
        """Append, each to its partition; a record's offset has to be the partition's next."""
        for record in records:
            log = self.log.setdefault(Partition(record.topic, record.partition), [])
            assert record.offset == len(log)
            log.append(record)

    def member(self, on_revoked: Callable[[Sequence[Partition]], None], step: int = 500) -> GroupSource:
        """A source that has not joined yet."""
        return GroupSource(self, on_revoked, step)

    def rebalance(self, wanted: Mapping[GroupSource, Collection[Partition]] | None = None) -> None:
        """Every member gives up what it has, at its next poll, and then gets anew: ``wanted``, or its even share."""
        self._wanted = wanted
        self._rejoining = set(self._members)

    def join(self, member: GroupSource) -> None:
        self._members.append(member)
        self.rebalance()

    def leave(self, member: GroupSource) -> None:
        self._members.remove(member)
        self.rebalance()

    def is_rejoining(self, member: GroupSource) -> bool:
        """Whether it has to give up its partitions and join again."""
        return member in self._rejoining

    def rejoined(self, member: GroupSource) -> None:
        """It has given up its partitions. When all have, each gets its share."""
        self._rejoining.discard(member)
        if self._rejoining:
            return
        parts = sorted(self.log)
        for at, each in enumerate(self._members):
            share = parts[at :: len(self._members)] if self._wanted is None else self._wanted.get(each, ())
            each.was_given(share)


class GroupSource:
    """A member, as a :class:`consumer.pipeline.protocols.Source`."""

    def __init__(self, group: Group, on_revoked: Callable[[Sequence[Partition]], None], step: int) -> None:
        self._group = group
        self._on_revoked = on_revoked
        self._step = step
        self._given: list[Partition] | None = None
        self._positions: dict[Partition, int] = {}
        self._generations: dict[Partition, int] = {}
        self._assignments = 0
        self._polls = 0

    def subscribe(self) -> None:
        """Join the group."""
        self._group.join(self)

    def close(self) -> None:
        """Leave it; nobody is told, and nothing is committed."""
        self._positions.clear()
        self._generations.clear()
        self._group.leave(self)

    def was_given(self, partitions: Collection[Partition]) -> None:
        """The group's answer, which is taken note of by the next poll."""
        self._given = list(partitions)

    def assignment(self) -> Mapping[Partition, int]:
        return dict(self._generations)

    def starts(self, partitions: Collection[Partition]) -> Mapping[Partition, Start]:
        committed = self._group.committed
        return {each: Start(committed.get(each, 0), 0, each not in committed) for each in partitions}

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        self._polls += 1
        self._take_part()
        found: list[SourceRecord] = []
        for part, position in self._positions.items():
            records = self._group.log[part][position : position + self._step - len(found)]
            self._positions[part] += len(records)
            found += records
        return found

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        ours = {part: offset for part, offset in offsets.items() if part in self._generations}
        if ours:
            self._group.on_commit(ours)
            self._group.committed.update(ours)
        return bool(ours) or not offsets

    def begin_commit(self, offsets: Mapping[Partition, int]) -> BegunCommit:
        is_done, begun_at = self.commit(offsets), self._polls
        return lambda: is_done if not is_done or self._polls > begun_at else None

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._positions.update({part: offset for part, offset in offsets.items() if part in self._positions})

    def idle(self, seconds: float) -> None:
        self._take_part()

    def lag(self) -> Mapping[Partition, int | None]:
        return {part: len(self._group.log[part]) - position for part, position in self._positions.items()}

    def _take_part(self) -> None:
        """What a client does for its group within a poll: give up its partitions, and take note of the new ones."""
        if self._group.is_rejoining(self):
            if self._generations:
                self._on_revoked(list(self._generations))
            self._positions.clear()
            self._generations.clear()
            self._group.rejoined(self)
        if self._given is None:
            return
        given, self._given = self._given, None
        self._assignments += 1
        for part in given:
            self._positions[part] = self._group.committed.get(part, 0)
            self._generations[part] = self._assignments
