"""Recordings with values that users of such systems reported in public: what a real Redis holds in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from msgspec import structs
from structlog.testing import capture_logs

from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.mapping import file as mapping
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.pipeline.dead_letter_limit import NONE, Limit
from consumer.pipeline.loop import Pipeline
from consumer.sink.redis_sink import RedisSink
from consumer.source.recording import RecordedSource, read
from tests.integration.pipeline.test_dead_letters import Kept
from tests.integration.pipeline.test_pipeline import Seen
from tests.support.redis_view import Listener
from tests.unit.events.test_decimals import ZERO, precise, record

FOLDER = Path(__file__).parents[2] / "recordings" / "field"
TIME = "copytrading_alloted_time"
PARTITIONS = mapping.load(FOLDER / "k-partitions.toml")
CLOCK_MS = 5000


def records(name: str) -> list[SourceRecord]:
    return list(read(FOLDER / f"{name}.jsonl"))


def play(
    found: list[SourceRecord], sink: RedisSink, step: int = 500, rules: Rules | None = None, kept: Kept | None = None
) -> Seen:
    source, seen = RecordedSource(found, step=step), Seen()
    pipeline = Pipeline(
        sink,
        rules or reference(),
        history=Histories(None, CLOCK_MS),
        dead_letters=kept,
        limit=NONE if kept is None else Limit(100, 1.0),
        observer=seen,
        commit_interval_s=0,
    )
    pipeline.run(source, lambda: source.is_at_end)
    return seen


def of_users(client: redis.Redis, field: str, numbers: range) -> list[object]:
    return [client.hget(f"user:{{live:{number}}}:config", field) for number in numbers]


def test_the_end_of_time_is_no_time_of_the_seventies(sink: RedisSink, client: redis.Redis) -> None:
    seen = play(records("a-date-9999"), sink)
    assert of_users(client, TIME, range(7, 16)) == [
        "9999-12-31T23:59:59.000Z",  # milliseconds
        "9999-12-31T23:59:59.999Z",  # microseconds
        "9999-12-31T23:59:59.000Z",  # ISO
        "9999-12-31T23:59:59.000Z",  # with schema
        None,  # the year 5138 or 1973
        "1900-01-01T00:00:00.000Z",
        "5138-11-16T09:46:39.999Z",
        "1970-01-01T00:00:00.000Z",
        "1972-09-27T00:00:00.000Z",
    ]
    assert of_users(client, "wallet_balance", range(7, 16)) == ["1000.00"] * 9
    assert seen.drifts == {Drift("live_users", TIME, DriftKind.UNREADABLE): 1}


@pytest.mark.parametrize("step", [1, 500])
def test_infinity_is_no_date_and_costs_its_column_alone(sink: RedisSink, client: redis.Redis, step: int) -> None:
    client.hset("user:{live:14}:config", mapping={TIME: "2030-01-01T00:00:00.000Z", "wallet_balance": "1000.00"})
    with capture_logs() as logs:
        seen = play(records("b-pg-infinity"), sink, step)
    assert of_users(client, TIME, range(7, 14)) == [None] * 7
    assert of_users(client, "wallet_balance", range(7, 15)) == ["1000.00"] * 7 + ["2000.00"]
    assert of_users(client, "group", range(7, 14)) == ["Standard"] * 7
    assert client.get("user_balance:live:14") == "2000.00"
    assert of_users(client, TIME, range(14, 15)) == ["2030-01-01T00:00:00.000Z"], "left as it is"
    assert seen.drifts == {Drift("live_users", TIME, DriftKind.UNREADABLE): 8}
    (told,) = [line for line in logs if line["action"] == "column.unreadable"]
    assert (told["table"], told["column"], told["log_level"]) == ("live_users", TIME, "warning")
    assert "infinity" not in str(logs)


def test_a_user_that_was_marked_is_healed_though_a_column_can_not_be_read(sink: RedisSink, client: redis.Redis) -> None:
    first, *_, update = records("b-pg-infinity")
    first = structs.replace(first, key=update.key, value=b"broken")
    play([first, structs.replace(update, offset=8)], sink, kept=Kept())
    assert of_users(client, "wallet_balance", range(14, 15)) == ["2000.00"]
    assert client.hkeys("cdc:{live:14}") == ["live_users"], "no mark is left"


def test_decimals_without_a_scale_are_told_once(sink: RedisSink) -> None:
    some = [record(ZERO, ZERO | {"wallet_balance": precise(amount)}) for amount in (10_050, 10_060, 10_070)]
    with capture_logs() as logs:
        play([structs.replace(each, offset=at) for at, each in enumerate(some)], sink, step=1)
    (told,) = [line for line in logs if line["action"] == "decimals.assumed"]
    assert (told["table"], told["log_level"]) == ("live_users", "warning")


def test_whole_numbers_as_text_are_amounts(sink: RedisSink, client: redis.Redis) -> None:
    play(records("d-pg-numeric-unscaled-text"), sink, step=1)
    assert of_users(client, "wallet_balance", range(7, 11)) == ["2000.00", "1000.00", "10000.00", "12345678.00"]
    assert of_users(client, "margin", range(7, 11)) == ["2500.00", "0.00", "2500.00", "2500.00"]
    assert client.get("user_balance:live:10") == "12345678.00"


def test_bits_with_a_schema_are_a_number_and_without_one_refused(sink: RedisSink, client: redis.Redis) -> None:
    kept = Kept()
    play(records("f-bit-columns"), sink, kept=kept)
    assert kept.offsets == [0, 1, 3]
    assert client.hmget("user:{live:8}:config", "status", "is_active") == ["5", "1"]
    assert client.exists("user:{live:7}:config", "user:{live:9}:config") == 0


def test_ids_as_decimals_and_as_text(sink: RedisSink, client: redis.Redis) -> None:
    kept = Kept()
    play(records("g-bigint-unsigned-precise"), sink, kept=kept)
    assert kept.offsets == [0]
    assert client.hmget("user:{live:7}:config", "wallet_balance", "last_transaction_id") == ["1000.00", "TXN0001"]


def test_null_in_json_is_a_tombstone(sink: RedisSink, client: redis.Redis) -> None:
    kept = Kept()
    play(records("h-other-converters"), sink, kept=kept)
    assert kept.offsets == [0, 1, 2, 3, 4, 5, 7]
    assert client.hget("user:{live:7}:config", "wallet_balance") == "1000.00"


def test_partitions_of_one_table_that_are_routed_to_one_topic(sink: RedisSink, client: redis.Redis) -> None:
    play(records("k-partition-names"), sink, rules=PARTITIONS)
    found = [client.hget(f"user:{{live:{number}}}:config", "wallet_balance") for number in (7, 1007)]
    assert found == ["2000.00", "2000.00"]
    assert client.hkeys("cdc:{live:7}") == ["live_users"]


@pytest.mark.parametrize("step", [1, 500])
def test_a_row_that_moves_to_another_partition_stays(
    sink: RedisSink, client: redis.Redis, heard: Listener, step: int
) -> None:
    moves, end = records("k-partition-move"), ["800.00", "70.00"]
    play(moves, sink, step, PARTITIONS)
    assert client.hmget("user:{live:7}:config", "wallet_balance", "margin") == end
    assert client.hkeys("cdc:{live:7}") == ["live_users"], "one version for all partitions"
    told = heard.heard()
    assert [message["event_type"] for channel, message in told if channel == "user_updates"] == [
        *("user_created", "user_deleted") * 2,
        "user_created",
        "balance_change",
    ]
    # Once more by a group that knows nothing, as far as any record.
    for count in range(1, len(moves) + 1):
        play(moves[:count], sink, step, PARTITIONS)
        assert client.hmget("user:{live:7}:config", "wallet_balance", "margin") == end
    assert heard.heard() == told


def test_a_delete_in_one_partition_that_comes_after_the_insert_in_another_removes_nobody(
    sink: RedisSink, client: redis.Redis
) -> None:
    """As a dead letter that is released: the row was in the other partition already."""
    created, deleted, _, moved, *_ = records("k-partition-move")
    play([created, moved], sink, rules=PARTITIONS)
    play([deleted], sink, rules=PARTITIONS)
    assert client.hget("user:{live:7}:config", "wallet_balance") == "9000.00"


def test_padding_is_no_difference_and_an_unknown_value_is_told_once(sink: RedisSink, client: redis.Redis) -> None:
    kept, found = Kept(), records("m-char-padding")
    # An insert a second time is another row: the recording gives them all one key.
    with capture_logs() as logs:
        seen = play([found[6], *found[:6], structs.replace(found[1], offset=7)], sink, kept=kept)
    assert kept.offsets == [5], "a user_type that is a number is no text"
    assert client.hmget("user:{live:7}:config", "group", "last_transaction_id") == ["VIP", "TXN0001"]
    assert {drift for drift in seen.drifts if drift.kind is DriftKind.VALUE} == {
        Drift("user_transactions", "user_type", DriftKind.VALUE),
        Drift("user_transactions", "status", DriftKind.VALUE),
    }
    told = [(line["table"], line["column"]) for line in logs if line["action"] == "column.unknown_value"]
    assert sorted(told) == [("user_transactions", "status"), ("user_transactions", "user_type")]
    assert "LIVE" not in str(logs)
