"""A user whose history went over three tables, through a dead letter and somebody's hands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.e2e.conftest import WITNESS, System
from tests.e2e.process import CLI, command
from tests.support.forked import base_environment
from tests.support.redis_view import eventually

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
    producer = KafkaProducer(bootstrap_servers=system.stack.kafka.bootstrap_servers, acks="all")
    key = json.dumps({"id": WITNESS}, separators=(",", ":")).encode()
    producer.send(system.registration.topic("live_users"), key=key, value=b"{broken").get(10)
    producer.close()


def field(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in told["config"] if each["field"] == name]
    return dict(found)


def test_a_history_of_three_tables_a_dead_letter_and_a_change_by_hand(system: System) -> None:
    with system.running():
        eventually(lambda: system.config(WITNESS))
        approve(system)
        eventually(lambda: system.field(WITNESS, "last_transaction_id") == "TXN77", 60)
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "500.00", 60)
        poison(system)
        eventually(lambda: system.redis.hexists(f"cdc:{{live:{WITNESS}}}", "!live_users"), 60)
        system.redis.hset(CONFIG, mapping={"leverage": "999", "nickname": "hunter2"})
        system.redis.hset(f"user:{{live:{WITNESS}}}:portfolio", "wallet_balance", "500.00")
        # Offsets are committed once a second.
        eventually(lambda: not json.loads(explained(system, "--json"))["pending"])
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
    text = explained(system)
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


def test_a_user_whom_nobody_knows(system: System) -> None:
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


def on_a_terminal(system: System, *arguments: str) -> str:
    """What a person sees beside the output."""
    person, terminal = pty.openpty()
    environment = {**base_environment(), **system.environment, "TERM": "xterm", "COLUMNS": "100"}
    try:
        ran = subprocess.run(
            [CLI, *arguments], env=environment, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=False
        )
    finally:
        os.close(terminal)
    shown = b""
    with suppress(OSError):  # at the end of what is shown
        while part := os.read(person, 65536):
            shown += part
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
    assert "! no topic to read: topics like nowhere." in ran.stdout
    assert "no problem was found" not in ran.stdout


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
