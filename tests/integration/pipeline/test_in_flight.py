"""Two batches in flight: the next one is read and decided about while Redis works on the one before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import redis
from msgspec import structs

from benchmarks.envelopes import changes
from consumer.errors import Halt, ServerError, ServerUnavailable, Undecodable
from consumer.events.avro import AvroSchema
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource
from tests.integration.pipeline.test_dead_letters import SOME, Kept
from tests.integration.pipeline.test_resume import Memory, cut_off
from tests.support.redis_view import Listener

TOPIC = "t.trading.live_users"
STEP = 150
USERS = 200
BATCHES = 4


def records(count: int = BATCHES * STEP, partitions: int = 2) -> list[SourceRecord]:
    """Each user is changed in several batches; offsets count in each partition."""
    ends: Counter[int] = Counter()
    found = []
    for partition, key, value in changes(count, USERS, partitions):
        found.append(SourceRecord(TOPIC, partition, ends[partition], 1, key, value))
        ends[partition] += 1
    return found


ALL = {Partition(TOPIC, 0): BATCHES * STEP // 2, Partition(TOPIC, 1): BATCHES * STEP // 2}


def number_of(event_id: str) -> int:
    """Which change an event is of: the number of its GTID."""
    return int(event_id.partition("/")[0].rpartition(":")[2])


class Told:
    """What happened, in order: ``polled``, ``sent``, ``answered``."""

    def __init__(self) -> None:
        self.words: list[str] = []


class NotingSink(RedisSink):
    """The same, and tells."""

    def __init__(self, inner: RedisSink, told: Told) -> None:
        self.__dict__.update(inner.__dict__)
        self._told = told

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        self._told.words.append("sent")
        answers = super().apply(plans)

        def noted() -> Iterator[tuple[int, Applied | ServerError]]:
            self._told.words.append("answered")
            yield from answers

        return noted()


class NotingSource(RecordedSource):
    """A recording that tells, and does something before the polls that ``at`` names."""

    def __init__(
        self,
        records: Sequence[SourceRecord],
        told: Told | None = None,
        at: Mapping[int, Callable[[], object]] | None = None,
        step: int = STEP,
    ) -> None:
        super().__init__(records, step)
        self._told = told or Told()
        self._at = dict(at or {})
        self._polls = 0
        self._dry = 0
        self.gone: set[Partition] = set()

    @property
    def is_over(self) -> bool:
        """Whether several polls in a row brought nothing."""
        return self._dry >= 4

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        self._told.words.append("polled")
        if (act := self._at.pop(self._polls, None)) is not None:
            act()
        self._polls += 1
        found = super().poll(timeout_s)
        self._dry = 0 if found else self._dry + 1
        return [each for each in found if Partition(each.topic, each.partition) not in self.gone]

    def assignment(self) -> Mapping[Partition, int]:
        return {part: number for part, number in super().assignment().items() if part not in self.gone}


def content(client: redis.Redis) -> dict[str, object]:
    """Without the order of a hash's fields, which tells in how many steps it was written."""
    keys = [key for key in client.scan_iter(count=1000) if not key.startswith("cdc:offsets")]
    return {key: client.hgetall(key) if client.type(key) == "hash" else client.get(key) for key in keys}


def run(sink: RedisSink, source: NotingSource, **options: object) -> None:
    Pipeline(sink, reference(), commit_interval_s=0, **options).run(source, lambda: source.is_over)  # type: ignore[arg-type]


def test_the_next_batch_is_read_before_the_answers_of_the_one_before(sink: RedisSink) -> None:
    told = Told()
    source = NotingSource(records(3 * STEP, 1), told)
    run(NotingSink(sink, told), source)
    turn = ["polled", "answered", "sent"]
    assert told.words[:9] == ["polled", "sent", *turn, *turn, "polled"]
    assert told.words[9:11] == ["answered", "polled"]
    assert source.offsets == {Partition(TOPIC, 0): 3 * STEP}


def test_few_records_have_their_answers_at_once(sink: RedisSink) -> None:
    told = Told()
    run(NotingSink(sink, told), NotingSource(records(60, 1), told, step=30))
    assert told.words[:6] == ["polled", "sent", "answered"] * 2


def test_told_to_stop_it_takes_what_is_under_way_to_its_end(sink: RedisSink, client: redis.Redis) -> None:
    told = Told()
    source = NotingSource(records(2 * STEP, 1), told)
    Pipeline(NotingSink(sink, told), reference()).run(source, lambda: told.words.count("sent") == 1)
    assert told.words == ["polled", "sent", "answered"]
    assert source.offsets == {Partition(TOPIC, 0): STEP}
    assert len(client.keys("user_balance:*")) == STEP


@pytest.mark.parametrize("poll", range(1, BATCHES + 1))
@pytest.mark.parametrize("what", ["cut off", "lost"])
def test_a_connection_lost_between_two_batches(
    sink: RedisSink, client: redis.Redis, heard: Listener, poll: int, what: str
) -> None:
    """All is there in the end, each message was sent once. Where Redis lost what it had not even acknowledged, those of
    the batch that was under way may have gone out before.
    """
    run(sink, NotingSource(records()))
    expected = content(client)
    wanted = Counter(message["event_id"] for _, message in heard.heard())
    client.flushall()
    before, memory = len(heard.heard()), Memory(client)
    acts: dict[int, Callable[[], object]] = {poll: lambda: cut_off(client)}
    if what == "lost":
        acts = {max(1, poll - 2): memory.keep, poll: memory.lose}  # what it held before the first is test_emptied.py
    source = NotingSource(records(), at=acts)
    run(sink, source)
    assert content(client) == expected
    told = Counter(message["event_id"] for _, message in heard.heard()[before:])
    assert told.keys() == wanted.keys()
    twice = {number_of(each) // STEP for each in told if told[each] != wanted[each]}
    assert twice <= ({poll - 1} if what == "lost" else set())
    assert source.offsets == ALL


def test_what_is_under_way_is_committed_before_its_partition_goes(sink: RedisSink) -> None:
    gone = Partition(TOPIC, 1)

    def revoke() -> None:
        pipeline.revoked([gone])
        committed.update(source.offsets)
        source.gone.add(gone)

    committed: dict[Partition, int] = {}
    source = NotingSource(records(), at={2: revoke})
    pipeline = Pipeline(sink, reference(), commit_interval_s=60)
    pipeline.run(source, lambda: source.is_over)
    assert committed == dict.fromkeys(ALL, STEP), "two batches, of which each partition has a half"
    assert source.offsets == {Partition(TOPIC, 0): ALL[Partition(TOPIC, 0)], gone: STEP}


def test_redis_away_while_partitions_go_and_nothing_that_stays_is_passed_over(
    sink: RedisSink, client: redis.Redis
) -> None:
    """The batch in flight can't be finished then: it is later, without the records of the partition that went."""
    gone = Partition(TOPIC, 1)
    faults = [ServerUnavailable("Redis", "away")] * 2

    class Away(NotingSink):
        def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
            for number, answer in super().apply(plans):
                if is_away and faults:
                    raise faults.pop()
                yield number, answer

    def revoke() -> None:
        is_away.append(True)
        pipeline.revoked([gone])
        committed.update(source.offsets)
        source.gone.add(gone)

    is_away: list[bool] = []
    committed: dict[Partition, int] = {}
    source = NotingSource(records(), at={1: revoke})
    pipeline = Pipeline(Away(sink, Told()), reference(), commit_interval_s=0)
    pipeline.run(source, lambda: source.is_over)
    assert committed == {}
    assert source.offsets == {Partition(TOPIC, 0): ALL[Partition(TOPIC, 0)]}


def test_a_dead_letter_in_a_batch_under_way(sink: RedisSink) -> None:
    bad = records()
    bad[STEP + 7] = structs.replace(bad[STEP + 7], value=b"no JSON")
    source, kept = NotingSource(bad), Kept()
    run(sink, source, dead_letters=kept, limit=SOME)
    assert [letter.record for letter in kept.letters] == [bad[STEP + 7]]
    assert source.offsets == ALL


def test_a_halt_in_a_batch_under_way_leaves_the_next_one_alone(sink: RedisSink, client: redis.Redis) -> None:
    bad = records(3 * STEP, 1)
    bad[STEP + 7] = structs.replace(bad[STEP + 7], value=b"no JSON")
    source = NotingSource(bad)
    with pytest.raises(Halt, match=rf"\[0\]@{STEP + 7}"):
        run(sink, source)
    assert source.offsets == {Partition(TOPIC, 0): STEP + 7}
    last = bad[2 * STEP]
    assert last.key is not None
    user = last.key.partition(b":")[2].rstrip(b"}").decode()
    assert client.get(f"user_balance:live:{user}") != f"{2 * STEP}.00"


def test_a_registry_that_is_away_keeps_nothing_up_that_is_under_way(sink: RedisSink) -> None:
    told = Told()

    class Away:
        """Answers, the third time, that there is no such schema."""

        def __init__(self) -> None:
            self._left = 2

        def schema(self, number: int) -> AvroSchema:
            told.words.append("asked")
            self._left -= 1
            if self._left >= 0:
                raise ServerUnavailable("schema registry", "away")
            raise Undecodable("no such schema")

    found = records(2 * STEP, 1)
    found[STEP] = structs.replace(found[STEP], value=b"\0\0\0\0\x01x")
    source, kept = NotingSource(found, told), Kept()
    run(NotingSink(sink, told), source, schemas=Away(), dead_letters=kept, limit=SOME)
    assert told.words[:7] == ["polled", "sent", "polled", "asked", "answered", "asked", "asked"]
    assert len(kept.letters) == 1
    assert source.offsets == {Partition(TOPIC, 0): 2 * STEP}
