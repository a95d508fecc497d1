"""The loop with topics of other names and rows of another database, on recordings and a real Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import redis
from msgspec import structs
from structlog.testing import capture_logs

from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.observability.batch_counts import count_batch
from consumer.pipeline.dead_letter_limit import Limit
from consumer.pipeline.loop import Pipeline
from consumer.sink.redis_sink import RedisSink
from consumer.source import recording
from consumer.source.recording import RecordedSource
from tests.integration.pipeline.test_dead_letters import Kept
from tests.integration.pipeline.test_pipeline import Seen
from tests.support.redis_view import Listener, dump
from tests.support.scenario import load_all

FIELD = Path(__file__).parents[2] / "recordings" / "field"
CONFIG = "user:{live:7}:config"
PRODUCTION = replace(reference(), databases=frozenset({"trading"}))
ROUTED = "cdc.users"
each_step = pytest.mark.parametrize("step", [1, 2, 1000])


def recorded(name: str, topic: str = "") -> list[SourceRecord]:
    """The recording; with ``topic`` all of it in that one, one record after the other."""
    found = list(recording.read(FIELD / f"{name}.jsonl"))
    return [structs.replace(each, topic=topic, offset=at) for at, each in enumerate(found)] if topic else found


def run(records: Sequence[SourceRecord], sink: RedisSink, rules: Rules, step: int = 1000) -> tuple[Kept, Seen]:
    source, kept, seen = RecordedSource(records, step=step), Kept(), Seen()
    limit = Limit(in_a_row=3, share=0.5)
    Pipeline(sink, rules, dead_letters=kept, limit=limit, group="g", observer=seen).run(
        source, lambda: source.is_at_end
    )
    ends = {Partition(each.topic, each.partition): each.offset + 1 for each in records}
    assert source.offsets == ends, "everything is done"
    return kept, seen


@each_step
@pytest.mark.parametrize("topic", ["", ROUTED], ids=["a topic of its own", "the same topic"])
def test_rows_of_a_restored_backup_are_neither_applied_nor_published(
    sink: RedisSink, client: redis.Redis, step: int, topic: str
) -> None:
    records = recorded("u-two-databases", topic)
    listener = Listener(client)
    kept, seen = run(records, sink, PRODUCTION, step)
    assert client.hget(CONFIG, "wallet_balance") == "1000.00"
    assert client.hget(CONFIG, "group") == "Standard"
    assert client.get("user_balance:live:7") == "1000.00"
    assert [body["updated_fields"]["wallet_balance"] for _, body in listener.heard(7)] == ["1000.00"]
    assert kept.letters == [], "what is another's is no fault of a row"
    assert dict(count_batch(seen.results).changes) == {
        ("live_users", "applied"): 1,
        ("live_users", "other_database"): 1,
    }
    listener.close()


def test_they_are_told_once_by_name_and_halt_nothing_however_many(sink: RedisSink, client: redis.Redis) -> None:
    production, restored = recorded("u-two-databases", ROUTED)
    many = [structs.replace(restored, offset=1 + at) for at in range(3000)]
    later = msgspec.json.decode(production.value or b"")
    later["op"], later["before"] = "u", later["after"] | {}
    later["after"] = later["after"] | {"wallet_balance": "1001.000000"}
    later["source"] |= {"pos": 5000, "gtid": "42defe75-e752-11f1-b211-02fc00000001:28"}
    last = structs.replace(production, offset=3001, value=msgspec.json.encode(later))
    with capture_logs() as lines:
        run([production, *many, last], sink, PRODUCTION, 100)
    assert client.hget(CONFIG, "wallet_balance") == "1001.00", "the right one goes on"
    (line,) = (each for each in lines if each.get("action") == "record.other_database")
    assert (line["log_level"], line["topic"], line["database"]) == ("error", ROUTED, "trading_restore")
    assert line["first"] == "cdc.users[0]@1"
    assert not any(each.get("action") == "record.dead_letter" for each in lines)


def test_a_table_that_was_emptied_in_another_database_is_no_dead_letter(sink: RedisSink) -> None:
    (_, restored) = recorded("u-two-databases", ROUTED)
    emptied = msgspec.json.decode(restored.value or b"") | {"op": "t", "after": None}
    kept, _ = run([structs.replace(restored, value=msgspec.json.encode(emptied))], sink, PRODUCTION)
    assert kept.letters == []


def test_a_row_that_does_not_say_its_database_is_a_dead_letter(sink: RedisSink, client: redis.Redis) -> None:
    (production, _) = recorded("u-two-databases")
    silent = msgspec.json.decode(production.value or b"")
    del silent["source"]["db"]
    kept, _ = run([structs.replace(production, value=msgspec.json.encode(silent))], sink, PRODUCTION)
    assert [str(each.error) for each in kept.letters] == ["trading.trading.live_users[0]@0: source.db: missing"]
    assert not client.exists(CONFIG)


@each_step
def test_what_could_not_be_read_in_a_routed_topic_is_healed_by_the_next_change(
    sink: RedisSink, client: redis.Redis, step: int
) -> None:
    kept, seen = run(recorded("y2-unreadable-in-routed-topic"), sink, reference(), step)
    assert client.hget(CONFIG, "wallet_balance") == "2000.00"
    assert client.hget(CONFIG, "leverage") == "50"
    assert client.hget("cdc:{live:7}", "!live_users") is None
    assert [(each.users, each.tables) for each in kept.letters] == [(kept.letters[0].users, ("live_users",))]
    assert [str(user) for user in kept.letters[0].users] == ["live:7"]
    assert dict(count_batch(seen.results).dead_letters) == {("live_users", "undecodable"): 1}


def test_of_a_topic_with_several_tables_the_user_is_marked_in_each(sink: RedisSink, client: redis.Redis) -> None:
    live, bad, better = recorded("y2-unreadable-in-routed-topic")
    new_demo = next(each for each in load_all() if each.title.startswith("A new demo user")).changes[0]
    assert new_demo.after is not None
    row = replace(new_demo, user_id=7, after=new_demo.after | {"id": 7}).record(0)
    demo = structs.replace(row, topic=ROUTED, offset=1)
    lost = [structs.replace(each, offset=each.offset + 1) for each in (bad, better)]
    kept, _ = run([live, demo, *lost], sink, reference())
    assert client.hget(CONFIG, "wallet_balance") == "2000.00"
    assert client.hget("cdc:{live:7}", "!live_users") is None
    assert client.hget("cdc:{demo:7}", "!demo_users") == "cdc.users|0|2", "the next change of the demo user heals them"
    assert [list(map(str, each.users)) for each in kept.letters] == [["demo:7", "live:7"]]
    assert [each.tables for each in kept.letters] == [("demo_users", "live_users")]


@each_step
def test_a_mark_among_several_is_not_moved_back_by_an_earlier_one(
    sink: RedisSink, client: redis.Redis, step: int
) -> None:
    """Two records of a user that can't be read: the change between them heals the first only."""
    live, bad, better = recorded("y2-unreadable-in-routed-topic")
    again = structs.replace(bad, offset=3)
    new_demo = next(each for each in load_all() if each.title.startswith("A new demo user")).changes[0].record(0)
    demo = structs.replace(new_demo, topic=ROUTED, offset=4)
    before = dump(client)
    assert before == {}
    run([live, bad, better, again, demo], sink, reference(), step)
    assert client.hget("cdc:{live:7}", "!live_users") == "cdc.users|0|3"
