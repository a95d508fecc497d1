"""Recordings made after what users of such systems reported in public, each with its right end."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource, read
from tests.support.redis_view import Listener

FOLDER = Path(__file__).parents[2] / "recordings" / "field"
CONFIG = "user:{live:7}:config"
CLOCK_MS = 5000


def play(name: str, sink: RedisSink, step: int) -> None:
    """Follow a recording to its end, so many records a poll."""
    source = RecordedSource(list(read(FOLDER / f"{name}.jsonl")), step=step)
    pipeline = Pipeline(sink, reference(), history=Histories(None, CLOCK_MS), commit_interval_s=0)
    pipeline.run(source, lambda: source.is_at_end)


def balances(heard: Listener) -> list[str]:
    """What each message of a balance says, in order."""
    return [
        message["updated_fields"]["wallet_balance"]
        for channel, message in heard.heard()
        if channel == "user_updates" and "wallet_balance" in message["updated_fields"]
    ]


@pytest.fixture(params=[1, 500], ids=["one by one", "together"])
def step(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def test_the_last_change_before_a_failover_is_read_from_the_new_primarys_log_at_a_lower_place(
    sink: RedisSink, client: redis.Redis, heard: Listener, step: int
) -> None:
    play("ae-failover-to-replica-lower", sink, step)
    assert client.hmget(CONFIG, "wallet_balance", "margin", "group") == ["2000.00", "500.00", "VIP"]
    assert len([channel for channel, _ in heard.heard() if channel == "user_updates"]) == 4


def test_with_two_writers_a_tail_that_is_sent_again_neither_sets_back_nor_tells(
    sink: RedisSink, client: redis.Redis, heard: Listener, step: int
) -> None:
    play("p-two-server-ids-resent", sink, step)
    assert client.hget(CONFIG, "wallet_balance") == "3000.00"
    assert balances(heard) == ["1000.00", "2000.00", "3000.00"]


def test_rows_of_a_compressed_transaction_share_a_place_and_none_is_lost(
    sink: RedisSink, client: redis.Redis, step: int
) -> None:
    play("o-mysql-compressed-txn", sink, step)
    assert client.hmget(CONFIG, "wallet_balance", "margin") == ["1500.00", "250.00"]


def test_a_user_deleted_and_inserted_in_one_compressed_transaction_is_there(
    sink: RedisSink, client: redis.Redis, step: int
) -> None:
    play("o3-mysql-compressed-delete-insert", sink, step)
    assert client.hmget(CONFIG, "wallet_balance", "margin") == ["1500.00", "250.00"]
    assert client.get("user_balance:live:7") == "1500.00"


def test_a_tombstone_whose_delete_was_compacted_away_removes_the_user(
    sink: RedisSink, client: redis.Redis, heard: Listener, step: int
) -> None:
    play("q-compacted-tombstone-only", sink, step)
    assert client.keys("user*live*7*") == []
    assert [message["event_type"] for _, message in heard.heard() if message["user_id"] == 7] == [
        "user_created",
        "user_deleted",
    ]
