"""Commits that are refused, offsets out of range and deleted topics, with several partitions and batches in flight."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pytest
from kafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError

from benchmarks.envelopes import changes
from consumer.errors import ServerError
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.settings.sections import Kafka
from consumer.source import group_consumer
from consumer.source.clients.member import Extent, OnPartitions, Reading
from consumer.source.group_consumer import KafkaSource
from tests.unit.pipeline.lossy_redis import TOPIC, LossyRedis

A, B, OTHER = Partition(TOPIC, 0), Partition(TOPIC, 1), Partition("t.trading.other", 0)


class Broker:
    """Partitions with their records (None: its topic is deleted), and the group's offsets."""

    def __init__(self, *parts: Partition) -> None:
        self.logs: dict[Partition, list[SourceRecord] | None] = {part: [] for part in parts}
        self.oldest = dict.fromkeys(parts, 0)
        self.committed: dict[Partition, int | None] = dict.fromkeys(parts)
        self.made = 0

    def send(self, part: Partition, count: int) -> None:
        """So many changes, each of a user of its own."""
        made = list(changes(self.made + count, 100_000, 1))[self.made :]
        self.made += count
        log = self.logs[part]
        assert log is not None
        log += [SourceRecord(*part, len(log) + at, 1, key, value) for at, (_, key, value) in enumerate(made)]


class FakeMember:
    """A client of the broker that has all partitions from its first poll on; ``before`` is called with each poll."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.polls = 0
        self.before: Callable[[int], object] = lambda _: None
        self.refusals: list[Collection[Partition]] = []
        """Of the next commits, the partitions whose part of the commit is refused."""
        self._at: dict[Partition, int] = {}

    def subscribe(self, topics: object, pattern: object, assigned: OnPartitions, revoked: OnPartitions) -> None:
        self._assigned, self._revoked = assigned, revoked

    def read(self, timeout_s: float) -> list[SourceRecord]:
        self.polls += 1
        self.before(self.polls)
        if not self._at:
            self._assign()
            return []  # the poll ends before the fetch is answered
        for part, log in self.broker.logs.items():
            if log is None:
                continue
            if not self.broker.oldest[part] <= (at := self._at[part]) <= len(log):
                raise OffsetOutOfRangeError({part: at})
            if found := log[at : at + 150]:
                self._at[part] += len(found)
                return found
        return []

    def rebalance(self) -> None:
        """The deleted topics are noticed."""
        self._revoked([*self._at])
        self.broker.logs = {part: log for part, log in self.broker.logs.items() if log is not None}
        self._assign()

    def _assign(self) -> None:
        self._at = {part: self.broker.committed[part] or 0 for part in self.broker.logs}
        self._assigned([*self.broker.logs])

    def is_connected(self) -> bool:
        return True

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._at)

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        return {part: self.broker.committed.get(part) for part in partitions}

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]:
        found = {}
        for part in partitions:
            if (log := self.broker.logs.get(part)) is None:
                raise UnknownTopicOrPartitionError
            found[part] = Extent(self.broker.oldest[part], len(log))
        return found

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        refused = set(self.refusals.pop(0) if self.refusals else ()) & offsets.keys()
        refused |= {part for part in offsets if self.broker.logs.get(part) is None}
        self.broker.committed |= {part: at for part, at in offsets.items() if part not in refused}
        if refused:
            raise UnknownTopicOrPartitionError

    def begin_commit(self, offsets: Mapping[Partition, int]) -> Callable[[], bool]:
        failures: list[Exception] = []
        try:
            self.commit(offsets)
        except UnknownTopicOrPartitionError as error:
            failures.append(error)

        def is_done() -> bool:
            if failures:
                raise failures[0]
            return True

        return is_done

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._at |= offsets

    def pause(self, partitions: object) -> None: ...

    def resume(self) -> None: ...

    def topics(self) -> Collection[str]:
        return {part.topic for part in self.broker.logs}

    def readings(self) -> Mapping[Partition, Reading]:
        return {}

    def begin_again(self, partitions: Collection[Partition]) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Consume with a member for so many polls."""

    def consume(
        member: FakeMember, sink: LossyRedis, polls: int, out_of_range: str = "halt", interval_s: float = 0
    ) -> None:
        monkeypatch.setattr(group_consumer, "_open", lambda _: member)
        monkeypatch.setattr("consumer.pipeline.retry.backoff_s", lambda *_: 0.001)
        pipeline = Pipeline(sink, reference(), commit_interval_s=interval_s)
        settings = Kafka.model_validate({"topic_prefix": "t", "topics": [TOPIC], "out_of_range": out_of_range})
        source = KafkaSource(settings, (), pipeline.revoked)
        member.subscribe((), "", source._assigned, source._revoked)
        pipeline.run(source, lambda: member.polls > polls)

    return consume


@pytest.mark.parametrize("refusals", [[], [[A]], [[A], [A]]], ids=["none", "one", "two"])
def test_a_refused_commit_of_a_topic_that_is_there_loses_nothing(
    run: Callable[..., None], refusals: list[Sequence[Partition]]
) -> None:
    """A broker that has just been restarted may answer so. Batches of 100 records and more are in flight."""
    broker, sink = Broker(A), LossyRedis(-1)
    broker.send(A, 900)
    member = FakeMember(broker)

    def before(poll: int) -> None:
        if poll == 4:
            member.refusals += refusals

    member.before = before
    run(member, sink, 30)
    assert len(sink.versions) == 900
    assert broker.committed == {A: 900}


def test_if_the_commit_of_one_topic_is_refused_the_other_goes_on(run: Callable[..., None]) -> None:
    broker, sink = Broker(OTHER, A), LossyRedis(-1)
    broker.send(OTHER, 5)
    broker.send(A, 900)
    member = FakeMember(broker)
    member.refusals = [[], [OTHER]]

    def before(poll: int) -> None:
        if poll < 12:
            broker.send(A, 150)
        if poll == 5:
            broker.send(OTHER, 5)

    member.before = before
    run(member, sink, 60)
    assert len(sink.versions) == broker.made
    assert broker.committed == {OTHER: 10, A: 900 + 11 * 150}


def test_a_topic_that_is_deleted_does_not_stop_the_others(run: Callable[..., None]) -> None:
    broker, sink = Broker(A, OTHER), LossyRedis(-1)
    broker.send(A, 50)
    broker.send(OTHER, 5)
    member = FakeMember(broker)

    def before(poll: int) -> None:
        if poll == 4:
            broker.send(OTHER, 3)
        if poll == 5:
            broker.logs[OTHER], broker.committed[OTHER] = None, None
            broker.send(A, 5)
        if poll == 12:
            member.rebalance()
            broker.send(A, 50)

    member.before = before
    run(member, sink, 40)
    assert broker.committed[A] == sink.offsets[A] == 105


def test_halt_keeps_the_groups_offset_and_halts_at_each_start(run: Callable[..., None]) -> None:
    broker, sink = Broker(A, B), LossyRedis(-1)
    for part in (A, B):
        broker.send(part, 50)
        broker.oldest[part], broker.committed[part], sink.offsets[part] = 30, 10, 10
    for _ in range(3):
        with pytest.raises(ServerError, match="out of range"):
            run(FakeMember(broker), sink, 30)
        assert broker.committed == {A: 10, B: 10}


def test_a_topic_made_anew_before_the_first_commit_is_told(run: Callable[..., None]) -> None:
    broker, sink = Broker(A), LossyRedis(-1)
    broker.send(A, 50)
    member = FakeMember(broker)

    def before(poll: int) -> None:
        if poll == 5:
            broker.logs[A], broker.committed[A] = [], None
        if poll == 8:
            broker.send(A, 40)

    member.before = before
    run(member, sink, 30, out_of_range="earliest", interval_s=1000)
    assert len(sink.told) == len(sink.versions) == 90


@pytest.mark.parametrize("named", [A, B])
def test_of_a_topic_made_anew_nothing_is_committed_also_of_partitions_that_no_error_names(
    run: Callable[..., None], named: Partition
) -> None:
    broker, sink = Broker(named, *({A, B} - {named})), LossyRedis(-1)
    for part in (A, B):
        broker.send(part, 50)
    member = FakeMember(broker)

    def before(poll: int) -> None:
        if poll == 8:
            broker.logs, broker.committed = {part: [] for part in broker.logs}, dict.fromkeys(broker.logs)

    member.before = before
    with pytest.raises(ServerError, match="out of range"):
        run(member, sink, 30, interval_s=1000)
    assert broker.committed == {A: None, B: None}
