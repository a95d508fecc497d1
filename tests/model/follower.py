"""Redis, and the members that follow the topic and write it, with the rule to be tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

from consumer.errors import Place
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import Origin, SourcePosition
from consumer.events.record import Partition
from consumer.guard.history import NO_HISTORY, Histories
from consumer.guard.search import Coverage
from consumer.guard.version import Version, compare
from tests.model.lineage_rule import OldVersion, old_is_newer, old_version
from tests.model.world import TOPIC, Change, Record, Topic

CLOCK_MS = 5000
TopicNow: TypeAlias = Callable[[], Topic]


class Rule(Protocol):
    """What decides: which records were sent before, and whether a change is newer than what stands."""

    def member(self, topic: TopicNow) -> Histories | None:
        """What one member knows of the topic's history; None where the rule has none."""
        ...

    def version(self, event: ChangeEvent) -> object:
        """What is kept of a change."""
        ...

    def is_newer(self, candidate: object, stored: object) -> bool:
        """Whether a change may overwrite what stands."""
        ...


class _Earlier:
    """The topic, asked for what lies before."""

    def __init__(self, topic: TopicNow) -> None:
        self._topic = topic

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        records = self._topic().partitions[partition.number]
        return min((at for at, each in records.items() if each.written_ms >= since_ms), default=0)

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[Sequence[ChangeEvent], int]]:
        found = sorted(self._topic().partitions[partition.number].items())
        for at, record in found:
            if begin <= at < end:
                yield ([record.event] if record.event is not None else []), at + 1

    def coverage(self, partition: Partition) -> Coverage:
        topic = self._topic()
        return Coverage(topic.laid_out_ms, 2**62 if partition.number in topic.compacted else 0)


class OffsetRule:
    """The rule of this program."""

    def member(self, topic: TopicNow) -> Histories | None:
        return Histories(_Earlier(topic), CLOCK_MS)

    def version(self, event: ChangeEvent) -> object:
        return Version.of(event, 0)

    def is_newer(self, candidate: object, stored: object) -> bool:
        assert isinstance(candidate, Version)
        assert stored is None or isinstance(stored, Version)
        return compare(candidate, stored).is_accepted


class LineageRule:
    """That of version 0.1."""

    def member(self, topic: TopicNow) -> Histories | None:
        return None

    def version(self, event: ChangeEvent) -> object:
        return old_version(event)

    def is_newer(self, candidate: object, stored: object) -> bool:
        assert isinstance(candidate, OldVersion)
        assert stored is None or isinstance(stored, OldVersion)
        return old_is_newer(candidate, stored)


@dataclass(frozen=True, slots=True)
class Stored:
    """What stands in Redis of a user: the number of the state that was written, None where the user is gone."""

    version: object
    value: int | None
    number: int
    is_read: bool = False


@dataclass(slots=True)
class Redis:
    """The users, and how far the group is, kept together: both are lost together."""

    users: dict[int, Stored] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Redis:
        """As it stands now."""
        return Redis(dict(self.users), dict(self.offsets))


class Told:
    """Every message that went out, by change."""

    def __init__(self) -> None:
        self.times: dict[Change, int] = {}
        self.last: dict[int, Change] = {}
        self.faults: list[str] = []

    def tell(self, change: Change, *, is_excused: bool) -> None:
        """A message."""
        self.times[change] = self.times.get(change, 0) + 1
        last = self.last.get(change.user)
        if not is_excused and self.times[change] > 1:
            self.faults.append(f"told twice: {change}")
        if not is_excused and last is not None and last.number > change.number:
            self.faults.append(f"told {change} after {last}")
        if last is None or last.number < change.number:
            self.last[change.user] = change


@dataclass(slots=True)
class Member:
    """One process: what it knows of the topic, where it reads, and a batch that it has decided about."""

    histories: Histories | None
    positions: dict[int, int] = field(default_factory=dict)
    batch: list[Record] = field(default_factory=list)


class Follower:
    """Redis and the members."""

    def __init__(self, rule: Rule, topic: TopicNow) -> None:
        self._rule = rule
        self._topic = topic
        self.redis = Redis()
        self.told = Told()
        self.excused: set[int] = set()
        """Users of whom what was sent again can't be told from what is new: their records are gone."""
        self.faults: list[str] = []
        self.silent_until: dict[int, int] = {}
        self.uncommitted: set[tuple[int, int, int]] = set()
        """Records that were applied and not committed: partition, offset, user."""
        self.member = Member(rule.member(topic))
        self.committed: dict[int, int] = {}

    def poll(self, partition: int, count: int) -> None:
        """Read so many records, and decide about them."""
        member, topic = self.member, self._topic()
        if partition >= len(topic.partitions):
            return
        at = member.positions.setdefault(partition, self.committed.get(partition, 0))
        found = sorted(each for each in topic.partitions[partition].items() if each[0] >= at)[:count]
        if found:
            member.positions[partition] = found[-1][0] + 1
            member.batch += self.decided(member.histories, [record for _, record in found])

    def decided(self, histories: Histories | None, records: Sequence[Record]) -> list[Record]:
        """Those of the records that are to be applied."""
        history = histories or NO_HISTORY
        found = []
        for record in records:
            if record.event is None:
                place = Partition(TOPIC, record.partition)
                if histories is not None and histories._history(place).is_delete_missing(record.offset, (record.user,)):
                    found.append(replace(record, event=_removal(record)))
            elif history.first_sent(record.event) is None:
                found.append(record)
        return found

    def flush(self, batch: Sequence[Record], *, publishes: bool = True) -> None:
        """Write a batch."""
        for record in batch:
            is_silent = record.offset < self.silent_until.get(record.partition, 0)
            self.write(record, publishes=publishes and not is_silent)
            self.uncommitted.add((record.partition, record.offset, record.user))

    @property
    def is_behind(self) -> bool:
        """Whether Redis lacks something that was applied once."""
        return any(self.redis.offsets.get(part, 0) < at for part, at in self.committed.items())

    def commit(self) -> None:
        """The group's offsets, in Redis and in Kafka."""
        for partition, at in self.member.positions.items():
            self.redis.offsets[partition] = at
            self.committed[partition] = max(at, self.silent_until.get(partition, 0))

    def write(self, record: Record, *, publishes: bool = True) -> None:
        """One change through the guard."""
        event = record.event
        assert event is not None
        user, redis = record.user, self.redis
        stored = redis.users.get(user)
        version = self._rule.version(event)
        if event.position.origin is Origin.INCREMENTAL and stored is not None:
            return  # it fills what is missing, and nothing is
        if not self._rule.is_newer(version, stored.version if stored else None):
            return
        value = event.after["value"] if event.after is not None else None
        assert value is None or isinstance(value, int)
        is_back = stored is not None and stored.number > record.number and not stored.is_read
        if is_back and user not in self.excused:
            self.faults.append(f"back from {stored} to {record}")
        is_read = event.position.origin is Origin.INCREMENTAL
        redis.users[user] = Stored(version, value, record.number, is_read)
        if publishes and record.change is not None:
            self.told.tell(record.change, is_excused=user in self.excused)

    def write_read(self, user: int, seen: Stored | None, value: int | None, number: int) -> None:
        """A row that was read in the database, if the version still stands that was seen before the read."""
        if self.redis.users.get(user) == seen:
            version = seen.version if seen is not None else None
            if version is not None:
                self.redis.users[user] = Stored(version, value, number)

    def restart(self) -> None:
        """The process ends, and another begins where the group is."""
        behind = {part: there for part, at in self.committed.items() if (there := self.redis.offsets.get(part, 0)) < at}
        for part in behind:
            self.silent_until[part] = max(self.silent_until.get(part, 0), self.committed[part])
        self.member = Member(self._rule.member(self._topic), {**self.committed, **behind})

    def lose(self, before: Redis) -> None:
        """Redis comes back without what it acknowledged last; the member goes back to where Redis says it is."""
        old = self.member.positions
        # A kill before the commit, and then Redis without its last second: nobody knows that it was told.
        self.excused |= {user for part, at, user in self.uncommitted if at >= self.committed.get(part, 0)}
        self.redis = before.copy()
        if self.member.histories is not None:
            self.member.histories.forget([Partition(TOPIC, partition) for partition in old])
        for partition, at in old.items():
            there = self.redis.offsets.get(partition, 0)
            if there < at:
                done = max(self.committed.get(partition, 0), 0)
                self.silent_until[partition] = max(self.silent_until.get(partition, 0), done)
                self.member.positions[partition] = there
        self.member.batch = []

    def begin_topic_anew(self) -> None:
        """The topic was deleted: so are the group's offsets in it, and what is read is out of range."""
        self.committed, self.redis.offsets, self.silent_until = {}, {}, {}
        self.member = Member(self._rule.member(self._topic))


def _removal(record: Record) -> ChangeEvent:
    place = f"{record.partition}/{record.offset}"
    position = SourcePosition("kafka", "0", place, place, record.written_ms, Origin.STREAMED)
    where = Place(TOPIC, record.partition, record.offset)
    return ChangeEvent(
        table="live_users",
        op=Operation.DELETE,
        key={"id": record.user},
        before=None,
        after=None,
        position=position,
        transaction_id=None,
        place=where,
        schema={},
        written_ms=record.written_ms,
    )
