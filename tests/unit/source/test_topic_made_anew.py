"""A topic is deleted and made anew: no offset of the old one counts in the new one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

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
from tests.unit.pipeline.lossy_redis import PART, TOPIC, LossyRedis


class Broker:
    def __init__(self) -> None:
        self.log: list[SourceRecord] | None = []
        self.committed: int | None = None

    def send(self, first: int, count: int) -> None:
        made = list(changes(first + count, 1000, 1))[first:]
        assert self.log is not None
        for _, key, value in made:
            self.log.append(SourceRecord(TOPIC, 0, len(self.log), 1, key, value))

    def delete(self) -> None:
        self.log, self.committed = None, None  # Kafka removes the group's offsets with the topic


class FakeMember:
    def __init__(self, broker: Broker) -> None:
        self.broker, self.at, self.is_in = broker, 0, False
        self.before_poll: Callable[[], None] = lambda: None

    def subscribe(self, topics: object, pattern: object, assigned: OnPartitions, revoked: OnPartitions) -> None:
        self._assigned = assigned

    def read(self, timeout_s: float) -> list[SourceRecord]:
        self.before_poll()
        if not self.is_in:
            self.is_in, self.at = True, self.broker.committed or 0
            self._assigned([PART])
        log = self.broker.log
        if log is None:
            return []
        if self.at > len(log):
            raise OffsetOutOfRangeError({PART: self.at})
        found, self.at = log[self.at :], len(log)
        return found

    def is_connected(self) -> bool:
        return True

    def assignment(self) -> frozenset[Partition]:
        return frozenset([PART]) if self.is_in else frozenset()

    def committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int | None]:
        return {PART: self.broker.committed}

    def extents(self, partitions: Collection[Partition]) -> Mapping[Partition, Extent]:
        if self.broker.log is None:
            raise UnknownTopicOrPartitionError
        return {PART: Extent(0, len(self.broker.log))}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        if self.broker.log is None:
            raise UnknownTopicOrPartitionError
        self.broker.committed = offsets[PART]

    def begin_commit(self, offsets: Mapping[Partition, int]) -> Callable[[], bool]:
        def is_done() -> bool:
            self.commit(offsets)
            return True

        return is_done

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self.at = offsets[PART]

    def pause(self, partitions: object) -> None: ...
    def resume(self) -> None: ...
    def topics(self) -> Collection[str]:
        return {TOPIC}

    def readings(self) -> Mapping[Partition, Reading]:
        return {}

    def begin_again(self, partitions: Collection[Partition]) -> None: ...

    def close(self) -> None: ...


def consume(
    monkeypatch: pytest.MonkeyPatch,
    broker: Broker,
    sink: LossyRedis,
    steps: Sequence[Callable[[], None]],
    out_of_range: str,
) -> None:
    member = FakeMember(broker)
    monkeypatch.setattr(group_consumer, "_open", lambda _: member)
    left = list(steps)
    idle = [0]

    def before_poll() -> None:
        if left:
            left.pop(0)()
        else:
            idle[0] += 1

    member.before_poll = before_poll
    pipeline = Pipeline(sink, reference(), commit_interval_s=0)
    source = KafkaSource(Kafka(topic_prefix="t", topics=[TOPIC], out_of_range=out_of_range), (), pipeline.revoked)
    member.subscribe((), "", source._assigned, source._revoked)
    pipeline.run(source, lambda: idle[0] >= 4)


def nothing() -> None: ...


@pytest.mark.parametrize("is_committed", [True, False], ids=["committed before", "uncommitted"])
@pytest.mark.parametrize("out_of_range", ["halt", "earliest"])
def test_after_a_restart_every_record_of_the_new_topic_is_told(
    monkeypatch: pytest.MonkeyPatch, out_of_range: str, is_committed: bool
) -> None:
    broker, sink = Broker(), LossyRedis(breaks_after=-1)

    def make_anew() -> None:
        broker.log = []

    broker.send(0, 50)
    # The last records are done, and the topic is gone before they are committed.
    with suppress(ServerError):  # halt: the program ends and says why; the supervisor starts it again
        consume(
            monkeypatch,
            broker,
            sink,
            [nothing, *[nothing] * (3 * is_committed), broker.delete, nothing, make_anew, nothing],
            out_of_range,
        )
    assert len(sink.told) == 50
    print("the group's offset in the new, empty topic:", broker.committed, "in Redis:", sink.offsets)
    broker.send(50, 80)  # of other users: a snapshot, or the application goes on, while the consumer is away
    consume(monkeypatch, broker, sink, [], out_of_range)
    assert broker.committed == 80
    print("applied:", len(sink.versions), "told:", len(sink.told))
    assert len(sink.versions) == 50 + 80
    assert len(sink.told) == 50 + 80


def test_records_of_the_old_topic_do_not_pass_for_those_of_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    broker.send(0, 50)
    old = list(broker.log or ())
    member = FakeMember(broker)
    monkeypatch.setattr(group_consumer, "_open", lambda _: member)
    source = KafkaSource(Kafka(topic_prefix="t", topics=[TOPIC], out_of_range="earliest"), (), lambda _: None)
    member.subscribe((), "", source._assigned, source._revoked)
    polls = itertools.count()

    def make_anew_at_the_second_poll() -> None:
        if next(polls) == 1:
            broker.log = []

    member.before_poll = make_anew_at_the_second_poll
    source.idle(1.0)  # two steps: records that were fetched before the pause, then the new topic is noticed
    assert source.assignment() == {PART: 2}, "a new generation, so that records of the old topic are dropped"
    assert not set(source.poll(0)) & set(old)
