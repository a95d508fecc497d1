"""`cdc-consumer replay` on a real broker and a real Redis, with topics that the test writes."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from msgspec import structs

from consumer.events.record import SourceRecord
from tests.e2e.replaying import DELETED, DEPOSIT, GROUP, NEW_DEMO, Ground, of_transaction, of_user
from tests.e2e.topic import EITHER_CLIENT
from tests.support.redis_view import Listener, dump, eventually

pytestmark = pytest.mark.stack
ALL = ("--from", "beginning", "--to", "end")


@pytest.fixture
def listener(redis_client: redis.Redis) -> Iterator[Listener]:
    listener = Listener(redis_client)
    yield listener
    listener.close()


@EITHER_CLIENT
def test_a_rebuild_writes_each_user_once_as_the_log_ends(ground: Ground, listener: Listener) -> None:
    """Deleted users stay away, transactions are folded in, what Debezium sent again counts for nothing."""
    records = [of_user(DEPOSIT, user, user) for user in range(60)]
    records += [of_user(GROUP, user, 100 + user, leverage=user) for user in range(60)]
    records += [of_user(DELETED, user, 200 + user) for user in range(0, 60, 10)]
    records += records[5:70]
    ground.send([*records, *(of_transaction(user, 300 + user) for user in range(60))])
    found = ground.replayed(*ALL, "--rebuild", "--yes")
    assert (found["records"], found["unusable"]) == (len(records) + 60, 0)
    assert (found["counted"], sum(found["counts"].values())) == ("users", 60), "each has a row and a transaction"
    assert ground.users() == {user for user in range(60) if user % 10}
    assert ground.config(7)["leverage"] == "7"
    assert ground.config(7)["group"] == "VIP"
    assert ground.config(7)["last_transaction_id"] == "TXN307"
    assert listener.heard() == []
    before = dump(ground.redis)
    again = ground.replayed(*ALL, "--rebuild", "--yes", "--workers", "2")
    assert dump(ground.redis) == before
    assert set(again["counts"]) == {"right already"}


@EITHER_CLIENT
def test_applied_in_order_it_is_the_same_and_tells_only_who_is_to_be_told(ground: Ground, listener: Listener) -> None:
    ground.send([of_user(DEPOSIT, user, user) for user in range(9)])
    assert ground.replayed(*ALL)["counts"] == {"would be written": 9}
    assert ground.users() == set()
    found = ground.replayed(*ALL, "--yes")
    assert found["counts"] == {"applied": 9}
    assert ground.users() == set(range(9))
    assert listener.heard() == []
    assert ground.replayed(*ALL, "--yes", "--publish")["counts"] == {
        "applied before, or older than what is in Redis": 9
    }
    assert listener.heard() == []
    ground.send([of_user(GROUP, 4, 50)])
    ground.replayed(*ALL, "--yes", "--publish")
    assert {body["user_id"] for _, body in listener.heard()} == {4}


def test_a_dry_run_names_the_drift_and_nothing_else(ground: Ground) -> None:
    ground.send([of_user(DEPOSIT, user, user) for user in range(80)])
    assert ground.replayed(*ALL, "--rebuild", "--yes")["counts"] == {"created": 80}
    for user in range(50):
        ground.redis.hset(f"user:{{live:{user}}}:config", mapping={"group": "by hand", "theirs": "foreign"})
    for user in range(60, 65):
        ground.redis.delete(f"user:{{live:{user}}}:config")
    for user in range(900, 903):
        ground.redis.hset(f"user:{{live:{user}}}:config", "group", "nobody's")
    ground.redis.set("user_balance:live:70", "1.23")
    ground.redis.set("user_balance:live:903", "4.56")
    ground.redis.set("user_stats:live:903", "derived")
    has_functions = int(ground.redis.info("server")["redis_version"].partition(".")[0]) >= 7
    if has_functions:
        ground.redis.execute_command("FUNCTION", "FLUSH")
    ground.redis.script_flush()
    before = dump(ground.redis)
    found = ground.replayed(*ALL, "--rebuild", "--show", "100")
    assert found["dry_run"] is True
    assert dump(ground.redis) == before
    assert not has_functions or ground.redis.execute_command("FUNCTION", "LIST") == []
    assert found["kinds"] == {"field differs": 50, "missing hash": 5, "balance differs": 1, "orphan": 4}
    told = {(each["kind"], each["key"]): each["fields"] for each in found["differences"]}
    for user in range(50):
        assert told["field differs", f"user:{{live:{user}}}:config"] == [["group", "by hand", "Standard"]]
    assert {key for kind, key in told if kind == "missing hash"} == {
        f"user:{{live:{user}}}:config" for user in range(60, 65)
    }
    assert {key for kind, key in told if kind == "orphan"} == {
        "user_balance:live:903",
        *(f"user:{{live:{user}}}:config" for user in range(900, 903)),
    }
    assert told["balance differs", "user_balance:live:70"] == [["", "1.23", "10000.50"]]
    mended = ground.replayed(*ALL, "--rebuild", "--prune", "--yes")
    assert mended["counts"] == {"right already": 24, "created": 5, "corrected": 51, "orphan removed": 4}
    assert not ground.redis.exists("user_stats:live:903")
    assert ground.users() == set(range(80))
    assert ground.config(3)["theirs"] == "foreign"
    assert ground.replayed(*ALL, "--rebuild", "--dry-run")["kinds"] == {}


@pytest.mark.parametrize("ways", [("--rebuild",), (), ("--rebuild", "--workers", "2")], ids=" ".join)
@pytest.mark.slow
def test_interrupted_anywhere_and_gone_on_with_the_end_is_the_same(ground: Ground, ways: tuple[str, ...]) -> None:
    records = [of_user(DEPOSIT if at % 3 else GROUP, at % 400, at, leverage=at) for at in range(6000)] + [
        of_transaction(user, 7000 + user) for user in range(400)
    ]
    ground.send(records)
    whole = ground.replayed(*ALL, *ways, "--yes")
    wanted = {key: value for key, value in dump(ground.redis).items() if not key.startswith("user_balance:")}
    ground.redis.flushall()
    state = str(ground.folder / "state")
    chance = random.Random(7)  # noqa: S311  # any moments will do
    codes = []
    for turn in range(5):
        number = signal.SIGKILL if turn % 2 else signal.SIGINT
        codes.append(ground.interrupted(chance.uniform(0.5, 3.0), number, *ALL, *ways, "--yes", "--resume", state))
        if codes[-1] in {0, 2}:  # 2: it had just finished when the signal before came
            break
    else:
        found = ground.replayed(*ALL, *ways, "--yes", "--resume", state, code=(0, 2))
        assert found.get("records", whole["records"]) == whole["records"], "each counts once"
    killed = {130, 128 + signal.SIGKILL}
    assert set(codes[:-1]) <= killed
    assert codes[-1] in {0, 2, *killed}
    assert "finished" in ground.replayed(*ALL, *ways, "--yes", "--resume", state, code=2)["said"]
    own = [key for key in dump(ground.redis) if key.startswith("cdc:replay:")]
    assert all(ground.redis.ttl(key) > 0 for key in own), "the key of a replay that was killed goes by itself"
    end = {key: value for key, value in dump(ground.redis).items() if not key.startswith("user_balance:")}
    assert {key: value for key, value in end.items() if key not in own} == wanted


@pytest.mark.parametrize(("client", "way"), [("kafka-python", ()), ("confluent", ("--rebuild",))])
def test_only_what_lies_in_the_range(ground: Ground, way: tuple[str, ...]) -> None:
    """Users 0, 3 and 6 lie in the first partition, at offsets 0, 1 and 2, an hour apart."""
    hours = [
        structs.replace(of_user(DEPOSIT, user, user), timestamp_ms=1_700_000_000_000 + user * 3_600_000)
        for user in range(9)
    ]
    ground.send([*hours, of_transaction(3, 50)])

    def replayed(*arguments: str) -> set[int]:
        ground.redis.flushall()
        ground.replayed(*arguments, *way, "--yes")
        return ground.users()

    topic = ground.topic()
    assert replayed("--from", f"{topic}:0:1", "--to", f"{topic}:0:2") == {3}
    assert replayed("--from", f"{topic}:0:1,{topic}:2:0", "--to", "end") == {2, 3, 5, 6, 8}
    # 1,700,000,000 s is 22:13:20.
    assert replayed("--from", "2023-11-15T00:00:00Z", "--to", "2023-11-15T02:13:20Z") == {2, 3}
    assert replayed("--from", "2090-01-01T00:00:00", "--to", "end") == set()
    assert replayed(*ALL, "--user", "live:4", "--user", "live:5") == {4, 5}
    assert ground.replayed(*ALL, *way, "--user", "live:4", "--user", "live:77")["not_found"] == ["live:77"]
    assert replayed(*ALL, "--table", "user_transactions") == set()
    assert ground.redis.hget("cdc:{live:3}", "+last_transaction_id") == "TXN50"
    assert replayed(*ALL, "--table", "live_users") == set(range(9))
    assert not ground.redis.hexists("cdc:{live:3}", "user_transactions")


@pytest.mark.parametrize("way", [(), ("--rebuild",)], ids=" ".join)
def test_redis_emptied_between_is_noticed_and_the_ends_are_new(ground: Ground, way: tuple[str, ...]) -> None:
    """An interrupted replay is gone on with after somebody emptied Redis, and more was written to the log."""
    state = str(ground.folder / "state")
    ground.send([of_user(DEPOSIT, user, user) for user in range(3000)])
    arguments = (*ALL, *way, "--yes", "--resume", state)
    assert ground.interrupted_at("cdc:replay:*", *arguments) == 130
    ground.redis.flushall()
    ground.send([of_user(DEPOSIT, 5000, 5000)])
    found = ground.replayed(*arguments)
    assert found["records"] == 3001
    assert ground.users() == {*range(3000), 5000}
    assert not ground.redis.keys("cdc:replay:*")


def test_redis_emptied_meanwhile_is_noticed(ground: Ground) -> None:
    ground.send([of_user(DEPOSIT, user, user) for user in range(3000)])
    assert ground.interrupted_at("user:*:config", *ALL, "--rebuild", "--yes", act=ground.redis.flushall) == 0
    assert ground.users() == set(range(3000))
    assert "replay.again" in (ground.folder / "replay.err").read_text()


def test_an_interruption_says_how_to_go_on(ground: Ground) -> None:
    ground.send([of_user(DEPOSIT, user, user) for user in range(3000)])
    assert ground.interrupted_at("cdc:replay:*", *ALL, "--rebuild", "--yes") == 130
    assert "--resume FILE was not given" in (ground.folder / "replay.err").read_text()
    assert not ground.redis.keys("cdc:replay:*")


@EITHER_CLIENT
def test_it_ends_behind_the_marker_of_a_kafka_transaction(ground: Ground) -> None:
    ground.send([of_user(DEPOSIT, user, user) for user in range(6)], transactional_id=ground.prefix)
    found = ground.replayed(*ALL, "--rebuild", "--yes")
    assert found["records"] == 6
    assert ground.users() == set(range(6))


@EITHER_CLIENT
@pytest.mark.slow
def test_it_ends_where_compaction_left_nothing_to_read(ground: Ground) -> None:
    """The topic of demo users is compacted as soon as may be; of one user's forty changes the last remains."""
    options = {"segment_ms": "100", "min_cleanable_dirty_ratio": "0.01", "delete_retention_ms": "0"}
    ground.make("demo_users", cleanup_policy="compact", **options, retention_ms="-1")
    topic = ground.topic("demo_users")

    def now(user: int, at: int) -> SourceRecord:
        return structs.replace(of_user(NEW_DEMO, user, at, leverage=at), timestamp_ms=int(time.time() * 1000))

    ground.send([now(3, at) for at in range(40)])
    for user in (6, 9, 12):
        time.sleep(0.3)  # a segment is compacted once another follows it
        ground.send([now(user, 100 + user)])
    gap = ("--from", f"{topic}:0:0", "--to", f"{topic}:0:30", "--yes")
    eventually(lambda: ground.replayed(*gap)["records"] == 0, 120)
    ground.redis.flushall()
    assert ground.replayed(*gap, "--rebuild")["counts"] == {}
    assert ground.replayed(*ALL, "--rebuild", "--yes")["counts"] == {"created": 4}
    assert ground.redis.hget("user:{demo:3}:config", "leverage") == "39"


def test_a_hash_is_mended_where_only_a_read_was_applied(ground: Ground) -> None:
    """The guard holds the read of a snapshot, which lies behind the user's last change."""
    read = replace(DEPOSIT, operation="incremental", before=None)
    ground.send([of_user(DEPOSIT, 3, 0), of_user(read, 3, 1)])
    assert ground.replayed("--from", f"{ground.topic()}:0:1", "--to", "end", "--yes")["records"] == 1
    right, guard = ground.config(3), ground.redis.hgetall("cdc:{live:3}")
    assert str(guard["live_users"]).startswith("0|i|")
    ground.redis.delete("user:{live:3}:config")
    assert ground.replayed("--rebuild", "--yes")["counts"] == {"created": 1}
    assert right.items() <= ground.config(3).items()
    ground.redis.hset("user:{live:3}:config", "leverage", "999")
    assert ground.replayed("--rebuild", "--yes")["counts"] == {"corrected": 1}
    assert right.items() <= ground.config(3).items()
    assert ground.redis.hgetall("cdc:{live:3}") == guard


def test_records_that_can_not_be_used_are_named_and_the_rest_goes_on(ground: Ground) -> None:
    bad = structs.replace(of_user(GROUP, 3, 1), value=b"hunter2")
    ground.send([of_user(DEPOSIT, 0, 0), of_user(DEPOSIT, 3, 1), bad, of_user(DEPOSIT, 6, 2)])
    for way in (("--rebuild",), ()):
        ground.redis.flushall()
        found = ground.replayed(*ALL, *way, "--yes", code=1)
        assert found["unusable"] == 1
        assert f"{ground.topic()}[0]@2" in found["places"][0]
        assert "hunter2" not in str(found)
        assert ground.users() == {0, 3, 6}
        assert ground.redis.hexists("cdc:{live:3}", "!live_users"), "their next change writes everything"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--from", "yesterday", "--to", "end"), "--from"),
        ((*ALL, "--table", "strangers"), "--table"),
        ((*ALL, "--user", "4"), "--user"),
        ((*ALL, "--user", "vip:4"), "--user"),
        (("--from", "end", "--to", "beginning"), "--from"),
        ((*ALL, "--prune"), "--prune"),
        ((*ALL, "--publish"), "--publish"),
        ((*ALL, "--memory", "much"), "--memory"),
        ((*ALL, "--dry-run", "--yes"), "--yes"),
        (("--from", "other.topic:0:1", "--to", "end"), "--from"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_can_not_be_done_is_said_before_anything_is(ground: Ground, arguments: Any, field: str) -> None:
    said = ground.replayed(*arguments, code=2)["said"]
    assert field in said
