"""Redis that comes back without what it acknowledged: read again, written again, and nobody told twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import redis
from msgspec import structs
from structlog.testing import capture_logs

from consumer.errors import ServerError, ServerUnavailable
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource
from tests.integration.pipeline.test_dead_letters import SOME, Kept
from tests.integration.pipeline.test_dead_letters import records as texts
from tests.integration.pipeline.test_pipeline import TOPIC, FailingSink, Seen
from tests.support.redis_view import Listener, dump
from tests.support.scenario import load_all

SCENARIOS = {each.title: each for each in load_all()}
CONFIG = "user:{live:123}:config"


class Interrupted(RecordedSource):
    """A recording, one record a poll, with something done before the polls that ``at`` names."""

    def __init__(self, records: Sequence[SourceRecord], at: Mapping[int, Callable[[], object]]) -> None:
        super().__init__(records, step=1)
        self._at = at
        self._polls = 0
        self._dry = 0

    @property
    def is_at_end(self) -> bool:
        return self._dry >= 4

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if (act := self._at.get(self._polls)) is not None:
            act()
        self._polls += 1
        found = super().poll(timeout_s)
        self._dry = 0 if found else self._dry + 1
        return found


class Memory:
    """What a server holds at one time, put back as a server does that lost what came after."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._kept: dict[str, bytes] = {}

    def keep(self) -> None:
        self._kept = dump(self._client)

    def lose(self, *, are_cut: bool = True) -> None:
        """``are_cut``: it ends all connections too.

        In one transaction, as a batch that is in flight must not be applied in the middle.
        """
        kwargs = self._client.get_connection_kwargs() | {"decode_responses": False}
        with redis.Redis(connection_pool=redis.ConnectionPool(**kwargs)) as raw, raw.pipeline() as transaction:
            transaction.flushall()
            for key, value in self._kept.items():
                transaction.restore(key, 0, value)
            transaction.execute()
        if are_cut:
            cut_off(self._client)


def cut_off(client: redis.Redis) -> None:
    """Cut all connections but the test's own; nothing is lost."""
    client.client_kill_filter(_type="normal", skipme=True)


def record(beginning: str, offset: int) -> SourceRecord:
    (found,) = (each for title, each in SCENARIOS.items() if title.startswith(beginning))
    return found.changes[0].record(offset)


RECORDS = [
    record("A new live user", 0),
    record("A column outside", 1),
    record("The group", 2),
    record("A deposit", 3),
    record("A column outside", 4),
]


def successor(records: Sequence[SourceRecord], offset: int) -> Interrupted:
    """A member that gets the partition with this offset committed."""
    source = Interrupted(records, {})
    source._next = offset
    source.offsets[TOPIC] = offset
    return source


def event_ids(heard: Listener) -> list[tuple[str, object]]:
    return [(channel, message["event_id"]) for channel, message in heard.heard()]


def actions(lines: Sequence[Mapping[str, object]]) -> list[object]:
    """What was said of Redis, in order."""
    return [line["action"] for line in lines if str(line.get("action", "")).startswith("redis.")]


def run(source: RecordedSource, sink: RedisSink) -> list[dict[str, object]]:
    with capture_logs() as lines:
        Pipeline(sink, reference(), commit_interval_s=0).run(source, lambda: source.is_at_end)
    return [dict(line) for line in lines]


def test_what_was_lost_is_written_again_before_anything_newer(
    sink: RedisSink, client: redis.Redis, heard: Listener
) -> None:
    run(RecordedSource(RECORDS), sink)
    expected = {key: value for key, value in dump(client).items() if not key.startswith("cdc:offsets")}
    client.flushall()
    said, memory = len(heard.heard()), Memory(client)
    source = Interrupted(RECORDS, {2: memory.keep, 4: memory.lose})
    lines = run(source, sink)
    assert {key: value for key, value in dump(client).items() if not key.startswith("cdc:offsets")} == expected
    assert client.hget(CONFIG, "group") == "VIP"
    ids = [(channel, message["event_id"]) for channel, message in heard.heard()[said:]]
    assert len(ids) == len(set(ids)) == said
    assert [line["records"] for line in lines if line.get("action") == "redis.reread"] == [2]
    assert source.offsets == {TOPIC: 5}


def test_a_connection_that_was_only_lost_reads_nothing_again(sink: RedisSink, client: redis.Redis) -> None:
    lines = run(Interrupted(RECORDS, {3: lambda: cut_off(client)}), sink)
    assert actions(lines) == []
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_a_member_that_comes_after_the_loss_finds_it_too(sink: RedisSink, client: redis.Redis, heard: Listener) -> None:
    memory = Memory(client)
    run(Interrupted(RECORDS[:4], {2: memory.keep}), sink)
    said = len(heard.heard())
    memory.lose()
    run(successor(RECORDS, 4), sink)
    assert client.hget(CONFIG, "group") == "VIP"
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"
    assert len(heard.heard()) == said + 2, "of the one record that nobody had read"


def test_a_member_finds_the_loss_of_a_partition_in_which_nothing_new_comes(
    sink: RedisSink, client: redis.Redis
) -> None:
    memory = Memory(client)
    run(Interrupted(RECORDS[:4], {2: memory.keep}), sink)
    memory.lose()
    run(successor(RECORDS[:4], 4), sink)
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_a_loss_is_found_in_a_partition_that_rests_since_a_connection_was_lost(
    sink: RedisSink, client: redis.Redis
) -> None:
    memory = Memory(client)
    pings = [structs.replace(RECORDS[0], partition=1, offset=offset, value=None) for offset in range(6)]
    cut = {2: memory.keep, 5: lambda: cut_off(client), 7: memory.lose}
    run(Interrupted([*RECORDS[:4], *pings], cut), sink)
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_a_loss_before_anything_was_committed_is_found(sink: RedisSink, client: redis.Redis) -> None:
    memory = Memory(client)
    memory.keep()
    source = Interrupted(RECORDS, {4: memory.lose})
    Pipeline(sink, reference(), commit_interval_s=1000).run(source, lambda: source.is_at_end)
    assert client.hget(CONFIG, "group") == "VIP"
    assert source.offsets == {TOPIC: 5}


def test_a_member_that_goes_on_with_reading_again_tells_nobody_either(
    sink: RedisSink, client: redis.Redis, heard: Listener
) -> None:
    memory = Memory(client)
    run(Interrupted(RECORDS[:4], {2: memory.keep}), sink)
    memory.lose()
    first = successor(RECORDS, 4)
    Pipeline(sink, reference(), commit_interval_s=0).run(first, lambda: first._polls >= 3)
    assert first.offsets[TOPIC] >= 4, "the group's offset does not go back"
    run(successor(RECORDS, first.offsets[TOPIC]), sink)
    assert client.hget(CONFIG, "group") == "VIP"
    ids = event_ids(heard)
    assert len(ids) == len(set(ids))


def test_what_was_answered_before_the_loss_is_not_told_again(
    sink: RedisSink, client: redis.Redis, heard: Listener
) -> None:
    memory = Memory(client)
    run(Interrupted(RECORDS[:2], {}), sink)
    memory.keep()

    class LosingOnce(RedisSink):
        def __init__(self) -> None:
            self.__dict__.update(sink.__dict__)
            self.is_done = False

        def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
            for at, answer in super().apply(plans):
                yield at, answer
                if not self.is_done:
                    self.is_done = True
                    memory.lose()

    source = successor(RECORDS, 2)
    source._step = 100
    run(source, LosingOnce())
    ids = event_ids(heard)
    assert len(ids) == len(set(ids))
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_done_records_are_committed_though_the_connection_was_lost_before(sink: RedisSink, client: redis.Redis) -> None:
    now = [0.0]

    def cut_when_a_commit_is_due() -> None:
        cut_off(client)
        now[0] = 2.0

    source = Interrupted(RECORDS[:4], {3: cut_when_a_commit_is_due})
    Pipeline(sink, reference(), commit_interval_s=1.0, clock=lambda: now[0]).run(source, lambda: source.is_at_end)
    assert source.offsets == {TOPIC: 4}


def test_a_copy_is_applied_if_its_first_record_was_compacted_away_before_it_was_read_again(
    sink: RedisSink, client: redis.Redis
) -> None:
    """Found by the model: the first record was decided about, and then dropped with the connection."""
    copy = structs.replace(RECORDS[3], offset=4)

    def compact() -> None:
        source._records[3] = copy

    source = Interrupted(RECORDS[:4], {3: lambda: cut_off(client), 4: compact})
    histories = Histories(None, 5000)
    Pipeline(sink, reference(), history=histories, commit_interval_s=0).run(source, lambda: source.is_at_end)
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_a_copy_is_applied_if_its_first_record_was_dropped_with_its_partition(
    sink: RedisSink, client: redis.Redis
) -> None:
    """The partition is revoked while the topic can't be searched, and given back. Then the record is compacted away."""

    class GivenBack(RecordedSource):
        generation = 1

        def assignment(self) -> Mapping[Partition, int]:
            return {TOPIC: self.generation}

        def compact(self) -> None:
            self._records[0] = structs.replace(RECORDS[0], offset=1)
            self._next = 0

    class Away(Histories):
        def first_sent(self, event: ChangeEvent, value: bytes | None = None) -> int | None:
            if source.generation == 1:
                pipeline.revoked([TOPIC])
                source.generation = 2
                source.compact()
                raise ServerUnavailable("Kafka", "away")
            return super().first_sent(event, value)

    source = GivenBack(RECORDS[:1])
    pipeline = Pipeline(sink, reference(), history=Away(None, 5000), commit_interval_s=0)
    pipeline.run(source, lambda: source.generation == 2 and source.is_at_end)
    assert client.exists(CONFIG)


def test_redis_serves_again_only_when_it_does(sink: RedisSink) -> None:
    """What succeeds elsewhere meanwhile, such as deciding, says nothing of Redis."""
    away = FailingSink(sink, [ServerUnavailable("Redis", "away") for _ in range(3)])
    source, seen = RecordedSource(RECORDS), Seen()
    with capture_logs() as lines:
        Pipeline(away, reference(), commit_interval_s=0, observer=seen).run(source, lambda: len(seen.results) == 5)
    assert actions(lines) == ["redis.waiting", "redis.resumed"]
    assert seen.resumes == 1


def test_dead_letters_that_are_safe_are_not_written_again(sink: RedisSink, client: redis.Redis) -> None:
    records = [*RECORDS[:2], structs.replace(RECORDS[2], value=b"no JSON"), *RECORDS[3:]]
    memory, kept = Memory(client), Kept()
    source = Interrupted(records, {1: memory.keep, 4: memory.lose})
    pipeline = Pipeline(sink, reference(), dead_letters=kept, limit=SOME, commit_interval_s=0)
    pipeline.run(source, lambda: source.is_at_end)
    assert kept.offsets == [2]
    assert source.offsets == {TOPIC: 5}


def test_dead_letters_with_held_offsets_are_neither_written_nor_counted_again(
    sink: RedisSink, client: redis.Redis
) -> None:
    kept = Kept()
    source = Interrupted(texts("dxxdd"), {3: lambda: cut_off(client)})
    pipeline = Pipeline(sink, reference(), dead_letters=kept, limit=SOME, commit_interval_s=0)
    pipeline.run(source, lambda: source.is_at_end)
    assert kept.offsets == [1, 2]
    assert source.offsets == {TOPIC: 5}


def test_a_partition_that_is_behind_leaves_the_others_as_they_are(sink: RedisSink, client: redis.Redis) -> None:
    """The offset of its dead letter stays held."""
    other = Partition(TOPIC.topic, 1)
    sink.store_offsets({other: 5})
    late = [structs.replace(each, partition=1, offset=5 + at) for at, each in enumerate(texts("hhhhh"))]
    seen: list[int] = []

    class Assigned(Interrupted):
        """The other partition comes when half of this one is read."""

        def assignment(self) -> Mapping[Partition, int]:
            return {TOPIC: 1} if self._polls < 3 else {TOPIC: 1, other: 2}

    source = Assigned([*texts("dxh"), *late], {})
    source.offsets[other] = 9
    kept = Kept()
    pipeline = Pipeline(sink, reference(), dead_letters=kept, limit=SOME, commit_interval_s=0)

    def should_stop() -> bool:
        seen.append(source.offsets.get(TOPIC, 0))
        return source.is_at_end

    pipeline.run(source, should_stop)
    assert max(seen) == 1
    assert kept.offsets == [1]
    assert source.offsets == {TOPIC: 3, other: 10}


def test_a_partition_that_is_behind_may_be_revoked_while_redis_is_away(
    sink: RedisSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a long run: the member ended with KeyError when it said what is read again."""
    other, store, revoked = Partition(TOPIC.topic, 1), sink.store_offsets, list[Partition]()
    store({other: 5})

    class Assigned(Interrupted):
        def assignment(self) -> Mapping[Partition, int]:
            return {TOPIC: 1} if revoked else {TOPIC: 1, other: 1}

    def away(offsets: Mapping[Partition, int]) -> None:
        if not revoked:
            revoked.append(other)
            pipeline.revoked(revoked)
            raise ServerUnavailable("Redis", "away")
        store(offsets)

    monkeypatch.setattr(sink, "store_offsets", away)
    late = [structs.replace(each, partition=1, offset=5 + at) for at, each in enumerate(RECORDS)]
    source = Assigned([*RECORDS, *late], {})
    source.offsets[other] = 9
    pipeline = Pipeline(sink, reference(), commit_interval_s=0)
    with capture_logs() as lines:
        pipeline.run(source, lambda: source.is_at_end)
    assert source.offsets == {TOPIC: 5, other: 9}
    assert "redis.reread" not in actions(lines)
