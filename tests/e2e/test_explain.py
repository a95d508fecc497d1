"""A user whose history went over three tables, through a dead letter and somebody's hands."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from pydantic import SecretStr

from consumer.commands.shared.explain import topics
from consumer.commands.shared.explain.asked import Asked
from consumer.commands.shared.explain.run import timeline
from consumer.commands.shared.explain.timeline import Window
from consumer.events.avro import NO_SCHEMAS
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.settings.sections import Kafka, Redis
from consumer.settings.sources import Settings
from consumer.source.bounds import At, Span
from consumer.source.range_reader import Portion, read
from consumer.source.topic_reader import read_to_end
from tests.e2e.conftest import WITNESS, System
from tests.e2e.feed import Feed, deposit
from tests.e2e.process import CLI, command
from tests.support.forked import base_environment
from tests.support.redis_view import eventually
from tests.support.stack import wire
from tests.support.stack.kafka import PATIENT

pytestmark = pytest.mark.stack

CONFIG = f"user:{{live:{WITNESS}}}:config"


def explained(system: System, *arguments: str, database: bool = True) -> str:
    settings = {**system.environment, **({"CDC_DATABASE__URL": system.database.url} if database else {})}
    ran = command(settings, "explain", f"live:{WITNESS}", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def approve(system: System) -> None:
    """What the admin app does on an approval, in one database transaction."""
    request = {"id": 7, "request_id": "REQ7", "user_id": WITNESS, "type": "deposit", "amount": "500.00"}
    system.trading.insert("money_requests", status="pending", **request)
    with system.trading.transaction():
        system.trading.update("money_requests", 7, status="approved", admin_id=9, transaction_id="TXN77")
        system.trading.update("live_users", WITNESS, wallet_balance="500.00")
        system.trading.insert(
            "user_transactions",
            id=70,
            transaction_id="TXN77",
            user_id=WITNESS,
            user_type="live",
            type="deposit",
            amount="500.00",
            status="completed",
        )


def poison(system: System) -> None:
    producer = KafkaProducer(**PATIENT, bootstrap_servers=system.stack.kafka.bootstrap_servers, acks="all")
    key = json.dumps({"id": WITNESS}, separators=(",", ":")).encode()
    producer.send(system.registration.topic("live_users"), key=key, value=b"{broken").get(10)
    producer.close()


def field(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in told["config"] if each["field"] == name]
    return dict(found)


def test_a_history_of_three_tables_a_dead_letter_and_a_change_by_hand(system: System) -> None:
    with system.running():
        eventually(lambda: system.config(WITNESS), 60)
        approve(system)
        eventually(lambda: system.field(WITNESS, "last_transaction_id") == "TXN77", 60)
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "500.00", 60)
        poison(system)
        eventually(lambda: system.redis.hexists(f"cdc:{{live:{WITNESS}}}", "!live_users"), 60)
        system.redis.hset(CONFIG, mapping={"leverage": "999", "nickname": "hunter2"})
        system.redis.hset(f"user:{{live:{WITNESS}}}:portfolio", "wallet_balance", "500.00")
        # Offsets are committed once a second.
        eventually(lambda: not json.loads(explained(system, "--json"))["pending"], 60)
        told = json.loads(explained(system, "--json", "--last", "20"))
    assert told["in_database"] is True
    assert told["fields_of_others"] == ["nickname"]
    money, leverage, linked = (field(told, name) for name in ("wallet_balance", "leverage", "last_transaction_id"))
    assert (money["redis"], money["database"], money["note"]) == ("500.00", "500.00", "as written")
    assert money["set_by"]["table"] == "live_users"
    assert money["set_by"]["record"].startswith(system.registration.topic("live_users"))
    assert "financial: wallet_balance" in money["set_by"]["because"]
    assert told["versions"]["live_users"]["record"] == money["set_by"]["record"]
    assert (leverage["redis"], leverage["database"], leverage["note"]) == ("999", "100", "changed by hand")
    assert leverage["set_by"]["because"] == ["snapshot read"]
    assert linked["set_by"]["table"] == "user_transactions"
    assert {each["table"] for each in told["changes"]} == {"live_users", "user_transactions", "money_requests"}
    (letter,) = told["dead_letters"]
    assert told["marks"] == {"live_users": letter["place"]}
    assert [each["fate"] for each in told["changes"]].count("dead") == 1
    assert told["pending"] == []
    system.trading.update("live_users", WITNESS, leverage=50)  # the consumer is not there
    eventually(lambda: json.loads(explained(system, "--json"))["pending"], 60)
    text = explained(system, "--full")
    for said in (
        "! not as in the database: leverage",
        "! changed by hand, or by another program: leverage",
        "! changes in the dead letter topic that are not handled: 1",
        "! records that the consumer has not reached: 1",
        "'999'  !! database '50'",
        "fields of other programs: nickname",
    ):
        assert said in text, text
    assert "hunter2" not in text
    assert "someone@example.org" not in text
    assert "the database was not asked" in explained(system, database=False)
    short = explained(system)
    assert "failure  live:900: not as in the database: leverage" in short
    assert "warning  live:900: records that the consumer has not reached: 1" in short
    assert "hunter2" not in short


def test_a_user_whom_nobody_knows(system: System) -> None:
    wire.read(system.stack.kafka, [system.registration.topic("live_users")], bool)  # the snapshot makes the topics
    ran = command({**system.environment, "CDC_DATABASE__URL": system.database.url}, "explain", "live:31337")
    assert ran.returncode == 0
    assert "the user is neither in the database nor in Redis" in ran.stdout
    assert "does not exist" in ran.stdout
    ran = command(system.environment, "explain", "31337")
    assert ran.returncode == 2
    assert "live:123" in ran.stderr
    shown = on_a_terminal(system, "explain", "live:31337")
    assert "explain" in shown, "the bar has the command's own name"
    assert "replay" not in shown


def on_a_terminal(system: System, *arguments: str, output: str = "stderr", columns: int = 100) -> str:
    """What a person sees: beside the output, or the output itself.

    It is read while the command runs, because a terminal holds only some thousand bytes that nobody has read.
    """
    person, terminal = pty.openpty()
    environment = {**base_environment(), **system.environment, "TERM": "xterm", "COLUMNS": str(columns)}
    out, err = (terminal if output == each else subprocess.DEVNULL for each in ("stdout", "stderr"))
    shown = bytearray()

    def look() -> None:
        with suppress(OSError):  # at the end of what is shown
            while part := os.read(person, 65536):
                shown.extend(part)

    looking = Thread(target=look)
    looking.start()
    try:
        ran = subprocess.run([CLI, *arguments], env=environment, stdout=out, stderr=err, timeout=60, check=False)
    finally:
        os.close(terminal)
        looking.join()
        os.close(person)
    assert ran.returncode == 0, shown
    return shown.decode()


def settled(system: System, *arguments: str) -> dict[str, Any]:
    """What `explain` says once the consumer has come to the end."""

    def told() -> dict[str, Any]:
        return dict(json.loads(explained(system, "--json", *arguments)))

    eventually(lambda: told()["pending"] == [], 60)
    return told()


@pytest.mark.timeout(900)  # a quiet MySQL takes up to 45 s to see that a snapshot was asked for
@pytest.mark.parametrize("overrides", [{"signal.poll.interval.ms": "100"}])
def test_snapshots_are_no_fault_and_nobodys_hand(live: System) -> None:
    """A plain one, which only fills, and one that writes over what stands there; and a repair between them."""
    asked = {**live.environment, "CDC_CONNECT__URL": live.stack.connect.url, "CDC_DATABASE__URL": live.database.url}

    def snapshot(*arguments: str) -> None:
        ran = command(asked, "snapshot", "live_users", *arguments, seconds=150)
        assert ran.returncode == 0, ran.stderr

    live.trading.update("live_users", WITNESS, leverage=50)
    live.passed(WITNESS)
    live.redis.delete(f"user_balance:live:{WITNESS}")
    snapshot()
    eventually(lambda: live.redis.exists(f"user_balance:live:{WITNESS}"), 60)
    told = settled(live)
    assert told["problems"] == []
    assert told["changes"][-1]["fate"] == "filled what was missing"
    assert told["balance"]["note"] == "as written"
    live.redis.hset(CONFIG, "leverage", "999")
    assert "changed by hand, or by another program: leverage" in settled(live)["problems"]
    assert command(asked, "audit", "--user", f"live:{WITNESS}", "--repair", seconds=120).returncode == 0
    told = settled(live)
    assert (told["problems"], field(told, "leverage")["note"]) == ([], "as written")
    live.redis.hset(CONFIG, "account_number", "by hand")
    stamp = live.field(WITNESS, "last_updated")
    snapshot("--authoritative")
    eventually(lambda: live.field(WITNESS, "last_updated") != stamp, 60)
    told = settled(live)
    assert told["problems"] == []
    assert {field(told, name)["note"] for name in ("last_updated", "account_number", "leverage")} == {"as written"}
    live.trading.update("live_users", WITNESS, leverage=75)
    live.passed(WITNESS)
    assert settled(live)["problems"] == []


def test_with_a_wrong_prefix_it_says_that_nothing_is_known(live: System) -> None:
    asked = {**live.environment, "CDC_DATABASE__URL": live.database.url, "CDC_KAFKA__TOPIC_PREFIX": "nowhere"}
    ran = command(asked, "explain", f"live:{WITNESS}")
    assert ran.returncode == 1
    assert "failure  live:900: no topic to read: topics like nowhere." in ran.stdout
    assert "no problem was found" not in ran.stdout
    assert "! no topic to read: topics like nowhere." in command(asked, "explain", f"live:{WITNESS}", "--full").stdout
    ran = command(asked, "explain", f"live:{WITNESS}", "--from", "10m", "--json")
    assert ran.returncode == 1
    (summary,) = [json.loads(each) for each in ran.stdout.splitlines()]
    assert summary["problems"][0]["found"].startswith("no topic to read: topics like nowhere.")


def test_a_value_written_another_way_is_said_alike_by_audit_and_explain(live: System) -> None:
    live.trading.update("live_users", WITNESS, wallet_balance="10000.5")
    eventually(lambda: live.field(WITNESS, "wallet_balance") == "10000.50", 60)
    live.redis.hset(CONFIG, "wallet_balance", "10000.5")
    asked = {**live.environment, "CDC_DATABASE__URL": live.database.url, "CDC_AUDIT__SETTLE_S": "0.5"}
    ran = command(asked, "audit", "--user", f"live:{WITNESS}", "--json", seconds=120)
    finding, summary = [json.loads(line) for line in ran.stdout.splitlines()]
    assert (ran.returncode, finding["shape"], finding["field"]) == (0, "spelling", "wallet_balance")
    assert (summary["wrong"], summary["spelled_another_way"]) == (0, 1)
    told = settled(live)
    assert (told["problems"], told["spelled_another_way"]) == ([], ["wallet_balance"])
    ran = command(asked, "audit", "--user", f"live:{WITNESS}", seconds=120)
    assert "the same value, written another way" in ran.stdout
    assert "1 users compared, 0 wrong" in ran.stdout, "a redirected audit has its summary there"
    ran = command(asked, "audit", "--user", "live:31337", "--user", f"live:{WITNESS}", seconds=120)
    assert ran.returncode == 1
    assert "live:31337: the user is neither in the database nor in Redis" in ran.stdout


def lines(system: System, *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The changes of a range, and the summary."""
    *changes, summary = [
        json.loads(each) for each in explained(system, "--json", *arguments, database=False).splitlines()
    ]
    assert ({each["part"] for each in changes} <= {"change"}, summary["part"]) == (True, "summary")
    return changes, summary


def send_again(system: System) -> int:
    """The last record of the users' topic once more, as Debezium does after a restart; its new offset."""
    kafka = Kafka(bootstrap_servers=system.stack.kafka.bootstrap_servers)
    record = list(read_to_end(kafka, [system.registration.topic("live_users")]))[-1]
    producer = KafkaProducer(**PATIENT, bootstrap_servers=system.stack.kafka.bootstrap_servers, acks="all")
    sent = producer.send(
        record.topic, key=record.key, value=record.value, headers=list(record.headers), partition=record.partition
    )
    offset = sent.get(10).offset
    producer.close()
    return int(offset)


def test_the_timeline_of_a_range(live: System) -> None:
    """A deposit, a change of the group, a record that came twice and one that can't be read; others are outside."""
    live.trading.update("live_users", WITNESS, leverage=150)
    live.passed(WITNESS)
    approve(live)
    eventually(lambda: live.field(WITNESS, "last_transaction_id") == "TXN77", 60)
    eventually(lambda: live.field(WITNESS, "wallet_balance") == "500.00", 60)
    live.trading.update("live_users", WITNESS, group="GOLD")
    eventually(lambda: live.field(WITNESS, "group") == "GOLD", 60)
    copy = send_again(live)
    poison(live)
    eventually(lambda: live.redis.hexists(f"cdc:{{live:{WITNESS}}}", "!live_users"), 60)
    live.trading.update("live_users", WITNESS, leverage=75)
    eventually(lambda: live.field(WITNESS, "leverage") == "75", 60)
    settled(live)
    every, _ = lines(live, "--from", "beginning")
    begin = next(each["time"] for each in every if each["table"] == "money_requests")
    end = next(each["time"] for each in every if {"name": "leverage", "old": "150", "new": "75"} in each["columns"])
    found, summary = lines(live, "--from", begin, "--to", end)

    changed = {each["record"]: each for each in found if each["table"] == "live_users"}
    money, group, again, dead = changed.values()
    assert {"name": "wallet_balance", "old": "0.00", "new": "500.00"} in money["columns"]
    assert (money["outcome"], money["rules"]) == ("applied", ["financial", "balance"])
    assert money["messages"] == [{"channel": each, "as": "planned"} for each in ("user_updates", "balance_updates")]
    assert group["columns"] == [{"name": "group", "old": "Standard", "new": "GOLD"}]
    assert [each["channel"] for each in group["messages"]] == ["user_updates", "admin_user_updates", "group_updates"]
    first = group["record"].partition("@")[2]
    assert (again["outcome"], again["messages"]) == ("refused", [])
    assert again["record"].endswith(f"@{copy}")
    assert again["why"] == f"sent before, at offset {first}: Debezium sends it again"
    assert (dead["outcome"], dead["why"], dead["messages"]) == ("dead letter", "undecodable", [])
    pending = next(each for each in found if each["table"] == "money_requests")
    assert (pending["outcome"], pending["why"]) == ("nothing", "the transaction is not completed")
    assert {each["table"] for each in found} == {"live_users", "user_transactions", "money_requests"}
    assert not any(column["name"] == "leverage" for each in found for column in each["columns"])
    assert (summary["changes"], summary["level"], summary["problems"]) == (len(found), "failure", [])
    assert (summary["outcomes"]["refused"], summary["outcomes"]["dead letter"]) == (1, 1)

    shown = on_a_terminal(live, "explain", f"live:{WITNESS}", "--from", begin, "--to", end, output="stdout", columns=80)
    screen = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, screen)) <= 80
    assert len(screen) == len(found) + 3
    assert any("update: wallet_balance 0.00 → 500.00; financial, balance; 2 planned" in each for each in screen)
    full = explained(live, "--from", begin, "--to", end, "--full")
    assert "publish   group_updates  user_group_change (Standard -> GOLD)" in full
    assert "leverage: 150" not in full
    assert f"the last {len(found)} of {len(found)} changes" in full, "later ones are not of the range"
    assert lines(live, "--from", begin, "--to", end, "--last", "2")[0] == found[-2:]


def test_what_was_sent_is_told_from_the_streams(system: System) -> None:
    mapping = system.folder / "mapping.toml"
    mapping.write_text('extends = "reference"\n[streams]\n')
    asked = replace(system, environment={**system.environment, "CDC_MAPPING": str(mapping)})
    with asked.running():
        eventually(lambda: system.config(WITNESS), 60)
        system.trading.update("live_users", WITNESS, wallet_balance="500.00")
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "500.00", 60)
        system.trading.update("live_users", WITNESS, group="GOLD")
        eventually(lambda: system.field(WITNESS, "group") == "GOLD", 60)
        settled(asked)
        *_, money, group = lines(asked, "--from", "1h")[0]
        assert [(each["channel"], each["as"], each["receivers"]) for each in money["messages"]] == [
            ("user_updates", "sent", 1),
            ("balance_updates", "sent", 1),
        ], "the test listens"
        assert {each["as"] for each in group["messages"]} == {"sent"}
        assert money["messages"][0]["sent"] >= money["time"], "both are clocks of this machine"
        (_, body), *_ = system.heard(WITNESS)
        assert body["event_id"] == money["event_id"]
        assert "sent user_updates to 1, balance_updates to 1" in explained(asked, "--from", "1h")
        # A stream that was trimmed, and one that can't be read.
        system.redis.delete("cdc:stream:balance_updates")
        system.redis.delete("cdc:stream:group_updates")
        system.redis.set("cdc:stream:group_updates", "of another program")
        changes, summary = lines(asked, "--from", "1h")
        assert [each["as"] for each in changes[-2]["messages"]] == ["sent", "planned"]
        assert [each["as"] for each in changes[-1]["messages"]] == ["sent", "sent", "planned"]
        (problem,) = summary["problems"]
        assert "cdc:stream:group_updates (WRONGTYPE" in problem["found"]
        assert "planned: messages that no stream has: trimmed, or not sent" in explained(asked)
    (told,) = {each["as"] for each in lines(system, "--from", "1h")[0][-1]["messages"]}
    assert told == "planned", "a mapping without streams"


def test_an_empty_range_and_one_that_was_removed(feed: Feed) -> None:
    with feed.running():
        feed.send(*(deposit(7, at, wallet_balance=str(at + 1)) for at in range(4)))
        eventually(lambda: feed.committed() == 4, 60)

        def told(*arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
            ran = command(feed.environment, "explain", "live:7", "--json", *arguments)
            assert ran.returncode == 0, ran.stderr
            assert "replay." not in ran.stderr, "warnings are for a replay"
            *changes, summary = [json.loads(each) for each in ran.stdout.splitlines()]
            return changes, summary

        changes, summary = told("--from", "2h", "--to", "1h")
        assert (changes, summary["found"], summary["problems"]) == ([], "ok: no change in this range", [])
        assert len(told("--from", "1h")[0]) == 4
        for removed in (2, 4):
            admin = feed.stack.kafka.admin()
            admin.delete_records({TopicPartition(feed.topic, 0): removed})
            admin.close()
            changes, summary = told("--from", "1h")
            assert len(changes) == 4 - removed
            (problem,) = summary["problems"]
            assert (problem["level"], problem["subject"]) == ("warning", f"topic {feed.topic}")
            assert "may have removed records from before 20" in problem["found"]


def test_of_a_large_topic_only_the_range_is_read(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka is asked which offsets belong to the times."""
    day = 86_400_000
    now = time.time_ns() // 1_000_000
    for at in range(3000):
        # A record a minute; the range of ten minutes is a day ago.
        record = deposit(at % 50 + 1, at, wallet_balance=str(at + 1))
        feed.producer.send(
            feed.topic, key=record.key, value=record.value, partition=0, timestamp_ms=now - 2 * day + at * 60_000
        )
    feed.producer.flush()
    spans: list[Span] = []

    def noted(settings: Kafka, wanted: Sequence[Span]) -> Iterator[Portion]:
        spans.extend(wanted)
        return read(settings, wanted)

    monkeypatch.setattr(topics, "read", noted)
    kafka = Kafka(
        bootstrap_servers=feed.stack.kafka.bootstrap_servers,
        topic_prefix=feed.environment["CDC_KAFKA__TOPIC_PREFIX"],
        group_id=feed.environment["CDC_KAFKA__GROUP_ID"],
    )
    settings = Settings(kafka=kafka, redis=Redis(url=SecretStr(feed.environment["CDC_REDIS__URL"])))
    begin = now - day - 30_000
    found = timeline(
        Asked(settings, reference(), NO_SCHEMAS, UserId("live", 1441 % 50 + 1)),
        Window(At(begin), At(begin + 600_000)),
    )
    assert [each.place.offset for each in found.steps] == [1441]
    assert [(span.begin, span.end) for span in spans if span.size] == [(1440, 1450)]
