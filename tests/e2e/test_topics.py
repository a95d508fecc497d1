"""A second database under the same prefix, and topics of other names, in every command on real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from kafka import TopicPartition
from msgspec import structs

from consumer.events.record import SourceRecord
from tests.e2e.conftest import WITNESS, System
from tests.e2e.feed import Feed, deposit
from tests.e2e.process import Process, command
from tests.e2e.replaying import NEW_DEMO, of_user
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack
BOTH_CLIENTS = pytest.mark.parametrize("client", ["kafka-python", "confluent"])


def of_database(record: SourceRecord, database: str, **columns: object) -> SourceRecord:
    envelope = msgspec.json.decode(record.value or b"")
    envelope["source"]["db"] = database
    envelope["before"] |= {"wallet_balance": "1"}
    envelope["after"] |= columns
    return structs.replace(record, value=msgspec.json.encode(envelope))


def good(user_id: int, offset: int, balance: str) -> SourceRecord:
    return of_database(deposit(user_id, offset), "trading", wallet_balance=balance)


def restored(user_id: int, offset: int) -> SourceRecord:
    """An old balance, in a restored backup."""
    return of_database(deposit(user_id, offset), "trading_restore", wallet_balance="5", group="Old")


@dataclass(frozen=True)
class Prefix:
    """What lies under one prefix: production's topic, and others that a test makes."""

    feed: Feed

    @property
    def other(self) -> str:
        return self.feed.topic.replace(".trading.", ".trading_restore.")

    @property
    def routed(self) -> str:
        return f"{self.feed.environment['CDC_KAFKA__TOPIC_PREFIX']}.users"

    def send(self, topic: str, *records: SourceRecord) -> None:
        for each in records:
            self.feed.producer.send(topic, key=each.key, value=each.value, partition=0).get(10)

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        ran = command({**self.feed.environment, **environment}, *arguments)
        return ran.returncode, ran.stdout + ran.stderr

    def committed(self, topic: str) -> int | None:
        admin = self.feed.stack.kafka.admin()
        try:
            offsets = admin.list_consumer_group_offsets(self.feed.environment["CDC_KAFKA__GROUP_ID"])
        finally:
            admin.close()
        found = offsets.get(TopicPartition(topic, 0))
        return None if found is None or found.offset < 0 else int(found.offset)

    def balance(self, user_id: int) -> object:
        return self.feed.field(user_id, "wallet_balance")


@pytest.fixture
def under(feed: Feed) -> Prefix:
    return Prefix(feed)


@contextmanager
def following(under: Prefix, **environment: str) -> Iterator[Process]:
    """A member that has got partitions."""
    with under.feed.running(**environment) as process:
        before = process.said().count("group.assigned")
        eventually(lambda: process.said().count("group.assigned") > before, 60)
        yield process


def printed(said: str) -> dict[str, Any]:
    """The first JSON object, which stands before the log."""
    found: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found


def value_of(port: int, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_two_databases_at_the_start_need_the_setting(under: Prefix) -> None:
    under.feed.make(under.other)
    under.send(under.feed.topic, good(1, 0, "1000"))
    under.send(under.other, restored(1, 0))
    with under.feed.running() as process:
        assert process.wait(60) == 2
        assert "CDC_SOURCE__DATABASE: more than one database (trading, trading_restore)" in process.said()
    code, said = under.run("check")
    assert code == 2
    assert "CDC_SOURCE__DATABASE" in said
    for arguments in (
        ("replay", "--from", "beginning", "--to", "end", "--yes"),
        ("explain", "live:1"),
        ("snapshot", "live_users"),
    ):
        code, said = under.run(*arguments)
        assert code == 2, said
        assert "CDC_SOURCE__DATABASE" in said
    assert under.balance(1) is None
    with following(under, CDC_SOURCE__DATABASE="trading") as process:
        eventually(lambda: under.balance(1) == "1000.00", 60)
        assert f"topic={under.other}" in process.said() or f'"topic": "{under.other}"' in process.said()
        under.send(under.other, restored(1, 1))
        under.send(under.feed.topic, good(1, 1, "1001"))
        eventually(lambda: under.balance(1) == "1001.00", 60)
        eventually(lambda: under.committed(under.feed.topic) == 2, 60)
    assert under.committed(under.other) is None, "it was not even read"
    code, said = under.run("check", CDC_SOURCE__DATABASE="trading")
    assert f"topic {under.other}: it is of another database than trading, and is not consumed" in said


@BOTH_CLIENTS
def test_a_second_database_that_comes_later_is_refused_aloud_by_every_member_and_every_start(
    under: Prefix, client: str
) -> None:
    port = Ports().take("metrics")
    ours = {"CDC_KAFKA__CLIENT": client}
    under.send(under.feed.topic, good(1, 0, "1000"))
    with following(under, CDC_METRICS__PORT=str(port), **ours) as process:
        eventually(lambda: under.balance(1) == "1000.00", 60)
        under.feed.make(under.other)
        under.send(under.other, restored(1, 0))
        eventually(lambda: "topic.refused" in process.said(), 60)
        eventually(lambda: value_of(port, "cdc_refused_topics{") == 1)
        under.send(under.feed.topic, good(1, 1, "1001"))
        eventually(lambda: under.balance(1) == "1001.00", 60)
        # Another member, while the first is there: it has seen both from its start.
        with following(under, **ours):
            under.send(under.feed.topic, good(1, 2, "1002"))
            eventually(lambda: under.balance(1) == "1002.00", 60)
    with following(under, **ours):
        under.send(under.feed.topic, good(1, 3, "1003"))
        eventually(lambda: under.balance(1) == "1003.00", 60)
    under.feed.redis.flushall()  # the group's offsets still tell
    with following(under, **ours, CDC_REDIS__WHEN_EMPTIED="rebuild"):
        under.send(under.feed.topic, good(1, 4, "1004"))
        eventually(lambda: under.balance(1) == "1004.00", 60)
    assert under.committed(under.other) is None
    assert under.feed.field(1, "group") != "Old"
    code, said = under.run("replay", "--from", "beginning", "--to", "end", "--rebuild", "--yes", "--json")
    assert code == 0, said
    assert printed(said)["records"] == 5
    assert under.balance(1) == "1004.00"


@BOTH_CLIENTS
def test_a_routed_topic_in_every_command(under: Prefix, client: str) -> None:
    """Live and demo users and a restored backup in one topic of another name, which is empty at the start."""
    feed, topic = under.feed, under.routed
    settings = {"CDC_KAFKA__TOPICS": topic, "CDC_KAFKA__CLIENT": client}
    feed.make(topic)

    def demo(user_id: int, offset: int, **columns: object) -> SourceRecord:
        return structs.replace(of_user(NEW_DEMO, user_id, offset, **columns), partition=0)

    with feed.running(**settings) as process:
        eventually(lambda: "a readable row" in process.said(), 60)
        under.send(topic, good(7, 0, "1000"), demo(7, 1))
        eventually(lambda: under.balance(7) == "1000.00" and feed.redis.exists("user:{demo:7}:config"), 60)
        bad = structs.replace(good(7, 2, "2000"), value=b"\x07 no envelope")
        under.send(topic, bad, *(restored(7, 3 + at) for at in range(60)))
        under.send(topic, good(7, 63, "2000"))
        eventually(lambda: under.balance(7) == "2000.00", 60)
        eventually(lambda: under.committed(topic) == 64, 60)
        assert process.said().count("record.other_database") == 1
        assert "trading_restore" in process.said()
    assert feed.redis.hget("cdc:{live:7}", "!live_users") is None
    assert feed.redis.hget("cdc:{demo:7}", "!demo_users") == f"{topic}|0|2"
    with following(under, **settings):  # what comes last is the backup's; the choice stands
        under.send(topic, *(restored(7, 64 + at) for at in range(20)), good(8, 84, "8"))
        eventually(lambda: under.balance(8) == "8.00", 60)
    assert under.balance(7) == "2000.00"

    code, said = under.run("check", **settings)
    assert code == 0, said
    assert "contains demo_users, live_users" in said
    assert "are rows of the database trading_restore, which is not consumed" in said
    assert "set CDC_SOURCE__DATABASE" in said

    code, said = under.run("dead-letters", "list", "--table", "demo_users", "--user", "live:7", "--json", **settings)
    (letter,) = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert (letter["table"], letter["user"]) == ("demo_users,live_users", "demo:7,live:7")

    code, said = under.run("explain", "live:7", "--json", **settings)
    told = printed(said)
    assert [each["fate"] for each in told["changes"]] == ["applied", "dead", "applied"]
    assert {each["table"] for each in told["changes"]} == {"live_users", None}

    for way in ((), ("--rebuild",)):
        feed.redis.delete(*(key for key in feed.redis.scan_iter() if not str(key).startswith("cdc:offsets:")))
        code, said = under.run("replay", "--from", "beginning", "--to", "end", "--yes", "--json", *way, **settings)
        assert code == 1, said
        found = printed(said)
        assert (found["records"], found["unusable"]) == (85, 1)
        assert found["counts"]["of a database that is not consumed, left out"] == 80
        assert (under.balance(7), under.balance(8)) == ("2000.00", "8.00")
        assert feed.redis.exists("user:{demo:7}:config")
    feed.redis.delete("user:{live:7}:config", "user:{demo:7}:config", "cdc:{live:7}", "cdc:{demo:7}")
    only = ("--table", "demo_users")
    under.run("replay", "--from", "beginning", "--to", "end", "--yes", "--rebuild", *only, **settings)
    assert feed.redis.exists("user:{demo:7}:config")
    assert not feed.redis.exists("user:{live:7}:config")


ROUTER = {
    "transforms": "userKey,route",
    "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
    "transforms.route.regex": r"([^.]+)\.[^.]+\.(live|demo)_users",
    "transforms.route.replacement": "$1.users",
    "signal.poll.interval.ms": "100",
}


@pytest.mark.parametrize("overrides", [ROUTER])
def test_a_snapshot_and_an_audit_of_a_routed_topic(system: System) -> None:
    """By Debezium's own router; the tables' names for a snapshot are those of the rows."""
    topic = f"{system.registration.prefix}.users"
    settings = {
        **system.environment,
        "CDC_KAFKA__TOPICS": topic,
        "CDC_CONNECT__URL": system.stack.connect.url,
        "CDC_DATABASE__URL": system.database.url,
    }
    with system.running(CDC_KAFKA__TOPICS=topic):
        eventually(lambda: system.config(WITNESS) and system.config(WITNESS, "demo"), 60)
        system.trading.update("live_users", WITNESS, wallet_balance="500.00")
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "500.00", 60)
        system.redis.hset(f"user:{{live:{WITNESS}}}:config", "leverage", "999")
        ran = command(settings, "audit", "--json", seconds=120)
        assert ran.returncode == 1, ran.stderr
        (finding, _) = [json.loads(line) for line in ran.stdout.splitlines()]
        assert (finding["user"], finding["cause"]) == (f"live:{WITNESS}", "overwritten")
        ran = command(settings, "snapshot", "live_users", "--authoritative", "--json", seconds=150)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        told = [json.loads(line) for line in ran.stdout.splitlines()]
        assert {"trading.live_users"} == {each["table"] for each in told if each.get("table")}
        eventually(lambda: system.field(WITNESS, "leverage") == "100", 60)
        ran = command(settings, "snapshot", "elsewhere.live_users")
        assert ran.returncode == 2
        assert "rows of elsewhere are not applied" in ran.stderr
    ran = command(settings, "check")
    assert f"topic {topic}" in ran.stdout
    assert not any(line.startswith("failure") for line in ran.stdout.splitlines()), ran.stdout
