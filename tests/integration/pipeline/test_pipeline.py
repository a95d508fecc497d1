"""The loop on a recording and a real Redis: nothing is committed that was not acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
import redis
from msgspec import structs

from consumer.errors import Halt, ServerError, ServerUnavailable
from consumer.events.avro import AvroSchema, Schemas
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Applied, Observer, RecordResult
from consumer.planning.effect import Plan
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource
from tests.support.scenario import load_all
from tests.wire.taken import saved

TOPIC = Partition("trading.trading.live_users", 0)
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]


class Seen(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.results: list[RecordResult] = []
        self.waits: list[float] = []
        self.resumes = 0
        self.drifts: Counter[Drift] = Counter()

    def records_done(self, results: Sequence[RecordResult]) -> None:
        self.results += results

    def waiting(self, error: ServerError, seconds: float) -> None:
        self.waits.append(seconds)

    def servers_available(self) -> None:
        self.resumes += 1

    def drifted(self, drift: Drift, count: int) -> None:
        self.drifts[drift] += count


class FailingSink(RedisSink):
    """A sink which raises what ``faults`` say, call by call, before it does as another."""

    def __init__(self, inner: RedisSink, faults: list[Exception]) -> None:
        self.__dict__.update(inner.__dict__)
        self._faults = faults

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        if self._faults:
            raise self._faults.pop(0)
        yield from super().apply(plans)


def deposits(count: int) -> list[SourceRecord]:
    return [DEPOSIT.record(offset) for offset in range(count)]


def test_what_was_applied_is_committed(sink: RedisSink, client: redis.Redis) -> None:
    source, seen = RecordedSource(deposits(10), step=3), Seen()
    run_all(source, sink, seen)
    assert source.offsets == {TOPIC: 10}
    assert [result.record.offset for result in seen.results] == list(range(10))
    assert client.get("user_balance:live:123") == "10000.50"


def test_a_bad_record_halts_and_everything_before_it_is_committed(sink: RedisSink) -> None:
    records = deposits(10)
    records[6] = structs.replace(records[6], value=b"no JSON")
    source, seen = RecordedSource(records, step=4), Seen()
    with pytest.raises(Halt, match=r"live_users\[0\]@6: 7 bytes that are not JSON"):
        run_all(source, sink, seen)
    assert source.offsets == {TOPIC: 6}
    assert [result.record.offset for result in seen.results] == list(range(6))


def test_a_refused_plan_halts_at_its_record(sink: RedisSink, client: redis.Redis) -> None:
    client.set("user:{live:123}:config", "no hash")
    source = RecordedSource(deposits(3))
    with pytest.raises(Halt, match=r"live_users\[0\]@0: Redis refused the change: WRONGTYPE"):
        run_all(source, sink)
    assert source.offsets == {}


class RefusingSink(RedisSink):
    """A sink whose server refuses, for good, whatever comes after the first ``good`` plans of a call."""

    def __init__(self, inner: RedisSink, good: int) -> None:
        self.__dict__.update(inner.__dict__)
        self._good = good

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        yield from super().apply(plans[: self._good])
        yield self._good, ServerError("Redis", "MOVED 1 elsewhere")


def test_a_refusal_of_more_than_a_plan_halts_and_what_has_no_answer_is_not_committed(sink: RedisSink) -> None:
    source, seen = RecordedSource(deposits(6)), Seen()
    with pytest.raises(Halt, match="MOVED"):
        run_all(source, RefusingSink(sink, 2), seen)
    assert source.offsets == {TOPIC: 2}
    assert [result.record.offset for result in seen.results] == [0, 1]


def test_redis_away_is_waited_for_with_growing_pauses(sink: RedisSink) -> None:
    away: list[Exception] = [ServerUnavailable("Redis", "refused") for _ in range(5)]
    source, seen = RecordedSource(deposits(3)), Seen()
    Pipeline(FailingSink(sink, away), reference(), observer=seen).run(source, lambda: len(seen.results) == 3)
    assert source.offsets == {TOPIC: 3}
    assert len(seen.waits) == 5
    assert seen.waits[-1] > seen.waits[0]
    assert seen.resumes == 1


def test_told_to_stop_while_redis_is_away_nothing_is_committed(sink: RedisSink) -> None:
    source, seen = RecordedSource(deposits(3)), Seen()
    away: list[Exception] = [ServerUnavailable("Redis", "refused") for _ in range(50)]
    Pipeline(FailingSink(sink, away), reference(), observer=seen).run(source, lambda: len(seen.waits) >= 3)
    assert source.offsets == {}


class FailingSchemas:
    """Schemas from a recording, behind a registry that raises what ``faults`` say first."""

    def __init__(self, inner: Schemas, faults: list[Exception]) -> None:
        self._inner = inner
        self._faults = faults

    def schema(self, number: int) -> AvroSchema:
        if self._faults:
            raise self._faults.pop(0)
        return self._inner.schema(number)


def test_a_registry_away_is_waited_for_and_nothing_is_lost(sink: RedisSink, client: redis.Redis) -> None:
    taken = saved("avro-precise-adaptive")
    records = [record for record in taken.records if "live_users" in record.topic][:4]
    away: list[Exception] = [ServerUnavailable("schema registry", "refused") for _ in range(4)]
    source, seen = RecordedSource(records), Seen()
    schemas = FailingSchemas(taken.schemas, away)
    Pipeline(sink, reference(), schemas=schemas, observer=seen).run(source, lambda: len(seen.results) == 4)
    assert source.offsets == {TOPIC: 4}
    assert (len(seen.waits), seen.resumes) == (4, 1)
    assert client.hget("user:{live:1}:config", "group") == "VIP"


def test_told_to_stop_while_the_registry_is_away_nothing_is_committed(sink: RedisSink, client: redis.Redis) -> None:
    taken = saved("avro-precise-adaptive")
    source, seen = RecordedSource(taken.records[:4]), Seen()
    away: list[Exception] = [ServerUnavailable("schema registry", "refused") for _ in range(50)]
    pipeline = Pipeline(sink, reference(), schemas=FailingSchemas(taken.schemas, away), observer=seen)
    pipeline.run(source, lambda: len(seen.waits) >= 3)
    assert source.offsets == {}
    assert client.keys("*") == ["cdc:offsets:"]


def test_a_new_column_is_counted_for_each_change(sink: RedisSink) -> None:
    taken = saved("json-string-isostring")
    seen = Seen()
    run_all(RecordedSource([each for each in taken.records if "_users" in each.topic]), sink, seen)
    told = {(drift.column, drift.kind): count for drift, count in seen.drifts.items()}
    assert told["loyalty", DriftKind.UNKNOWN] == 1
    assert told["tier", DriftKind.UNKNOWN] >= 3
    assert told["sending_orders", DriftKind.MISSING] >= 3
    assert len(told) == 3


def test_ignored_records_move_the_offset_too(sink: RedisSink, client: redis.Redis) -> None:
    tombstones = [structs.replace(record, value=None) for record in deposits(3)]
    source = RecordedSource(tombstones)
    run_all(source, sink)
    assert source.offsets == {TOPIC: 3}
    assert client.keys("*") == ["cdc:offsets:"]


class RevokedInPoll(RecordedSource):
    """A source that loses its partition while it is polled for the second time, as a group's member does."""

    def __init__(self, records: list[SourceRecord], step: int) -> None:
        super().__init__(records, step)
        self.polls = 0
        self.pipeline: Pipeline | None = None
        self.at_revoke: dict[Partition, int] = {}

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        self.polls += 1
        if self.polls == 2 and self.pipeline is not None:
            self.pipeline.revoked([TOPIC])
            self.at_revoke = dict(self.offsets)
            self.offsets.clear()
            return ()
        return super().poll(timeout_s)


def test_a_revoked_partition_is_committed_at_once_then_forgotten(sink: RedisSink) -> None:
    source = RevokedInPoll(deposits(2), step=2)
    source.pipeline = Pipeline(sink, reference(), commit_interval_s=1e9)
    source.pipeline.run(source, lambda: source.polls >= 2)
    assert source.at_revoke == {TOPIC: 2}
    assert source.offsets == {}


def run_all(source: RecordedSource, sink: RedisSink, seen: Seen | None = None) -> None:
    Pipeline(sink, reference(), observer=seen).run(source, lambda: source.is_at_end)
