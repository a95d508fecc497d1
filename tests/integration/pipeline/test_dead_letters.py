"""The loop with records that can't be applied, on a recording and a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
import redis
from msgspec import structs
from structlog.testing import capture_logs

from consumer.errors import Halt, ServerError, ServerUnavailable
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.dead_letter_limit import Limit
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.planning.shape import changed_shape
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource
from tests.integration.pipeline.test_pipeline import TOPIC, Seen
from tests.support.redis_view import Listener
from tests.support.scenario import load_all

SCENARIOS = {each.title: each for each in load_all()}
CONFIG = "user:{live:123}:config"
SOME = Limit(in_a_row=3, share=0.5)


class Kept:
    """Dead letters in a list, each once; ``faults`` are raised first, call by call."""

    def __init__(self, faults: Sequence[Exception] = ()) -> None:
        self.letters: list[DeadLetter] = []
        self.faults = list(faults)

    def send(self, letters: Sequence[DeadLetter]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.letters += letters

    @property
    def offsets(self) -> list[int]:
        return [letter.record.offset for letter in self.letters]


def record(beginning: str, offset: int) -> SourceRecord:
    (found,) = (each for title, each in SCENARIOS.items() if title.startswith(beginning))
    return found.changes[0].record(offset)


def records(text: str) -> list[SourceRecord]:
    """``d`` a deposit, ``x`` one that can't be read, ``h`` a tombstone."""
    found = [record("A deposit", offset) for offset in range(len(text))]
    values = {"x": b"no JSON", "h": None}
    return [structs.replace(each, value=values.get(kind, each.value)) for kind, each in zip(text, found, strict=True)]


def run(
    source: RecordedSource,
    sink: RedisSink,
    kept: Kept,
    limit: Limit = SOME,
    seen: Seen | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    pipeline = Pipeline(sink, reference(), dead_letters=kept, limit=limit, group="g", observer=seen, clock=clock)
    pipeline.run(source, lambda: source.is_at_end)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_a_bad_record_is_a_dead_letter_and_the_others_are_applied(
    sink: RedisSink, client: redis.Redis, step: int
) -> None:
    source, kept, seen = RecordedSource(records("ddxdd"), step=step), Kept(), Seen()
    run(source, sink, kept, seen=seen)
    assert source.offsets == {TOPIC: 5}
    assert [(letter.record, *map(str, letter.users), letter.group) for letter in kept.letters] == [
        (records("ddx")[2], "live:123", "g")
    ]
    assert sorted(result.record.offset for result in seen.results) == [0, 1, 2, 3, 4]
    assert [result.letter is not None for result in sorted(seen.results, key=lambda each: each.record.offset)] == [
        False,
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("step", [1, 100])
def test_the_next_good_change_of_the_user_writes_everything(sink: RedisSink, client: redis.Redis, step: int) -> None:
    lost = structs.replace(record("The group", 1), value=b"no JSON")
    source = RecordedSource([record("A new live user", 0), lost, record("A column outside", 2)], step=step)
    listener = Listener(client)
    run(source, sink, Kept())
    assert client.hget(CONFIG, "group") == "Standard"
    assert client.hget("cdc:{live:123}", "!live_users") is None
    assert "group_updates" in [channel for channel, _ in listener.heard()]
    listener.close()


def test_read_again_dead_letters_write_nothing(sink: RedisSink, client: redis.Redis) -> None:
    run(RecordedSource(records("ddxddx")), sink, Kept())
    before = {key: client.dump(key) for key in client.keys("*")}
    run(RecordedSource(records("ddxddx")), sink, Kept())
    assert {key: client.dump(key) for key in client.keys("*")} == before


@pytest.mark.parametrize("step", [1, 2, 100])
def test_too_many_in_a_row_halt_and_none_of_the_row_is_committed(sink: RedisSink, step: int) -> None:
    source, kept = RecordedSource(records("ddxhxhxhxd"), step=step), Kept()
    with pytest.raises(Halt, match=r"4 records of \S+ in a row can't be applied; the first: .* not JSON"):
        run(source, sink, kept)
    assert source.offsets == {TOPIC: 2}
    if step == 100:
        assert kept.offsets == [], "what is a deployment's fault is no dead letter"


def test_a_share_of_the_last_records_halts(sink: RedisSink) -> None:
    source, kept = RecordedSource(records("dx" * 8), step=5), Kept()
    with pytest.raises(Halt, match=r"6 of the last 11 records of"):
        run(source, sink, kept, Limit(in_a_row=3, share=0.5, window=11))
    assert source.offsets == {TOPIC: 11}
    assert kept.offsets == [1, 3, 5, 7, 9]


def test_dead_letters_at_the_end_are_committed_when_it_stays_quiet(sink: RedisSink) -> None:
    now = [0.0]

    class Quiet(RecordedSource):
        polls = 0

        def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
            found = super().poll(timeout_s)
            if not found:
                self.polls += 1
                now[0] += 4.0
                history.append(dict(self.offsets))
            return found

        @property
        def is_at_end(self) -> bool:
            return self.polls > 5

    history: list[dict[object, int]] = []
    run(Quiet(records("dx")), sink, Kept(), clock=lambda: now[0])
    assert history[1] == {TOPIC: 1}
    assert history[-1] == {TOPIC: 2}


def test_the_offset_waits_for_the_acknowledgement(sink: RedisSink) -> None:
    away = [ServerUnavailable("Kafka", "no acknowledgement") for _ in range(3)]
    source, kept, seen = RecordedSource(records("dxd")), Kept(away), Seen()
    pipeline = Pipeline(sink, reference(), dead_letters=kept, limit=SOME, observer=seen)
    pipeline.run(source, lambda: len(seen.results) == 3)
    assert kept.offsets == [1]
    assert len(seen.waits) == 3
    assert source.offsets == {TOPIC: 3}


def test_told_to_stop_before_a_letter_is_safe_it_is_not_committed(sink: RedisSink) -> None:
    away = [ServerUnavailable("Kafka", "no acknowledgement") for _ in range(50)]
    source, kept, seen = RecordedSource(records("dxd")), Kept(away), Seen()
    Pipeline(sink, reference(), dead_letters=kept, limit=SOME, observer=seen).run(source, lambda: len(seen.waits) >= 3)
    assert source.offsets == {TOPIC: 1}, "the record before it is applied"


@pytest.mark.parametrize("step", [1, 100])
def test_a_letter_that_is_refused_ends_it_uncommitted(sink: RedisSink, step: int) -> None:
    source = RecordedSource(records("dxd"), step=step)
    with pytest.raises(Halt, match="too large"):
        run(source, sink, Kept([ServerError("Kafka", "too large")]))
    assert source.offsets == {TOPIC: 1}


def test_a_key_of_the_wrong_type_is_a_dead_letter_for_that_user_and_heals(sink: RedisSink, client: redis.Redis) -> None:
    client.set(CONFIG, "no hash")
    kept = Kept()
    run(RecordedSource([record("The group", 0)]), sink, kept)
    assert [(letter.reason, *map(str, letter.users)) for letter in kept.letters] == [("redis_wrongtype", "live:123")]
    client.delete(CONFIG)
    client.hset(CONFIG, "group", "before")
    run(RecordedSource([record("A deposit", 1)]), sink, kept)
    assert client.hget(CONFIG, "group") == "Standard", "everything is written"
    assert len(kept.letters) == 1


def test_every_change_that_meets_the_wrong_type_is_a_dead_letter_of_its_own(
    sink: RedisSink, client: redis.Redis
) -> None:
    client.set(CONFIG, "no hash")
    source, kept = RecordedSource(records("ddd")), Kept()
    run(source, sink, kept)
    assert kept.offsets == [0, 1, 2]
    assert source.offsets == {TOPIC: 3}


def test_a_guard_of_the_wrong_type_is_a_dead_letter_without_a_mark(sink: RedisSink, client: redis.Redis) -> None:
    client.set("cdc:{live:123}", "no hash")
    source, kept = RecordedSource(records("d")), Kept()
    run(source, sink, kept)
    assert kept.offsets == [0]
    assert source.offsets == {TOPIC: 1}


class Unexplained(RedisSink):
    """A sink whose server answers with an error that nobody knows to balances that are to be kept no time."""

    def __init__(self, inner: RedisSink, offsets: Sequence[int]) -> None:
        self.__dict__.update(inner.__dict__)
        self._offsets = offsets
        self.tries = 0

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        return super().apply([self._spoilt(plan) for plan in plans])

    def _spoilt(self, plan: Plan) -> Plan:
        if not plan.shape.balance or plan.version.offset not in self._offsets:
            return plan
        self.tries += 1
        return structs.replace(plan, shape=changed_shape(plan.shape, balance_ttl_s=0))


def test_an_error_that_nobody_knows_is_a_dead_letter_after_some_attempts(sink: RedisSink, client: redis.Redis) -> None:
    """It was waited for as long as it took, which was for ever."""
    source, kept, seen = RecordedSource(records("ddd")), Kept(), Seen()
    spoilt = Unexplained(sink, [1])
    pipeline = Pipeline(spoilt, reference(), dead_letters=kept, limit=SOME, attempts=3, observer=seen)
    pipeline.run(source, lambda: len(seen.results) == 3)
    assert spoilt.tries == 3
    assert len(seen.waits) == 2
    (letter,) = kept.letters
    assert (letter.record.offset, letter.reason, [str(each) for each in letter.users]) == (1, "redis_err", ["live:123"])
    assert "invalid expire" in str(letter.error)
    assert "10000" not in str(letter.headers())
    assert source.offsets == {TOPIC: 3}
    assert client.hget("cdc:{live:123}", "!live_users") is None, "the change behind it wrote everything"
    assert client.get("user_balance:live:123") == "10000.50"


def test_each_dead_letter_is_one_log_line_without_the_value(sink: RedisSink) -> None:
    with capture_logs() as lines:
        run(RecordedSource(records("dxd")), sink, Kept())
    (line,) = (each for each in lines if each.get("action") == "record.dead_letter")
    assert line["place"] == "trading.trading.live_users[0]@1"
    assert line["user"] == "live:123"
    assert "no JSON" not in str(line)


def test_a_limit_without_a_place_for_dead_letters_is_refused(sink: RedisSink) -> None:
    """They were logged, passed and committed: lost."""
    with pytest.raises(ValueError, match="a limit of dead letters needs a place for them"):
        Pipeline(sink, reference(), limit=SOME)
