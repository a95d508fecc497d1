"""Redis that comes back without what it acknowledged: read again, written again, and nobody told twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
import redis
from structlog.testing import capture_logs

from consumer.pipeline import Pipeline
from consumer.record import SourceRecord
from consumer.recording import RecordedSource
from consumer.reference import reference
from consumer.sink import RedisSink
from tests.pipeline.test_pipeline import TOPIC
from tests.redis_view import Listener, dump
from tests.scenario import load_all

SCENARIOS = {each.title: each for each in load_all()}
CONFIG = "user:{live:123}:config"


class Interrupted(RecordedSource):
    """A recording, one record a poll, with something done before the polls that ``at`` names."""

    def __init__(self, records: Sequence[SourceRecord], at: Mapping[int, Callable[[], object]]) -> None:
        super().__init__(records, step=1)
        self._at = at
        self._polls = 0
        self._is_dry = False

    @property
    def is_at_end(self) -> bool:
        return self._is_dry

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if (act := self._at.get(self._polls)) is not None:
            act()
        self._polls += 1
        found = super().poll(timeout_s)
        self._is_dry = not found
        return found


class Memory:
    """What a server holds at one time, put back as a server does that lost what came after, and cut all connections."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._kept: dict[str, bytes] = {}

    def keep(self) -> None:
        self._kept = dump(self._client)

    def lose(self) -> None:
        self._client.flushall()
        kwargs = self._client.get_connection_kwargs() | {"decode_responses": False}
        with redis.Redis(connection_pool=redis.ConnectionPool(**kwargs)) as raw:
            for key, value in self._kept.items():
                raw.restore(key, 0, value)
        self._client.client_kill_filter(_type="normal", skipme=True)


@pytest.fixture
def heard(client: redis.Redis) -> Iterator[Listener]:
    listener = Listener(client)
    yield listener
    listener.close()


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
    cut = {3: lambda: client.client_kill_filter(_type="normal", skipme=True)}
    lines = run(Interrupted(RECORDS, cut), sink)
    assert [line for line in lines if line.get("action") == "redis.reread"] == []
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_a_member_that_comes_after_the_loss_finds_it_too(sink: RedisSink, client: redis.Redis, heard: Listener) -> None:
    memory = Memory(client)
    run(Interrupted(RECORDS[:4], {2: memory.keep}), sink)
    said = len(heard.heard())
    memory.lose()
    successor = Interrupted(RECORDS, {})
    successor._next = 4
    run(successor, sink)
    assert client.hget(CONFIG, "group") == "VIP"
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"
    assert len(heard.heard()) == said + 2, "of the one record that nobody had read"


def test_a_server_that_comes_back_empty_is_said_and_what_comes_is_applied(sink: RedisSink, client: redis.Redis) -> None:
    memory = Memory(client)
    lines = run(Interrupted(RECORDS, {3: memory.lose}), sink)
    (line,) = (each for each in lines if each.get("action") == "redis.emptied")
    assert line["log_level"] == "error"
    assert client.hget(CONFIG, "wallet_balance") == "10000.50"


def test_dead_letters_that_are_safe_are_not_written_again(sink: RedisSink, client: redis.Redis) -> None:
    from tests.pipeline.test_dead_letters import SOME, Kept

    records = [*RECORDS[:2], replace(RECORDS[2], value=b"no JSON"), *RECORDS[3:]]
    memory, kept = Memory(client), Kept()
    source = Interrupted(records, {1: memory.keep, 4: memory.lose})
    pipeline = Pipeline(sink, reference(), dead_letters=kept, limit=SOME, commit_interval_s=0)
    pipeline.run(source, lambda: source.is_at_end)
    assert kept.offsets == [2]
    assert source.offsets == {TOPIC: 5}
