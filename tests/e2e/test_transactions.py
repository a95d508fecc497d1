"""Deposits and approvals: several rows of one database transaction, told once, right whatever arrives first."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.conftest import WITNESS, System
from tests.e2e.process import Process
from tests.support.redis_view import eventually
from tests.support.stack.roster import DATABASES

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", DATABASES, indirect=True)]

USERS, LINKED = ("live_users", "demo_users"), ("user_transactions", "money_requests")
DETAILS = {"transaction_id": "TXN77", "transaction_type": "deposit", "amount": "500.00", "admin_id": 9}


def _approve(system: System) -> None:
    """What the admin app does on an approval, in one database transaction."""
    system.trading.insert(
        "money_requests", id=7, request_id="REQ7", user_id=WITNESS, type="deposit", amount="500.00", status="pending"
    )
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
            admin_id=9,
        )


def _ended_right(system: System) -> bool:
    config = system.config(WITNESS)
    return config.get("wallet_balance") == "500.00" and config.get("last_transaction_id") == "TXN77"


def _check_end_state(system: System) -> None:
    """The same whatever came together and whatever came first."""
    config = system.config(WITNESS)
    assert config["last_balance_update"] == config["last_admin_update"] == config["last_updated"]
    # MariaDB's time is the statement's.
    assert config["last_transaction_at"] == config["last_updated"] or system.database.name == "mariadb"
    assert (config["wallet_balance"], config["last_transaction_id"]) == ("500.00", "TXN77")
    assert system.balance(WITNESS) == "500.00"
    assert {key for key in map(str, system.redis.keys(f"*live:{WITNESS}*")) if not key.startswith("cdc:")} == {
        f"user:{{live:{WITNESS}}}:config",
        f"user_balance:live:{WITNESS}",
    }


def test_an_approval_is_one_message_a_channel_and_says_what_it_was(system: System) -> None:
    """The three tables' events come in one batch: the linger waits for partners."""
    with system.running(CDC_KAFKA__LINGER_MS="2000"):
        eventually(lambda: system.config(WITNESS))
        _topics_exist(system)
        _approve(system)
        eventually(lambda: _ended_right(system))
        eventually(lambda: len(system.heard(WITNESS)) > 1)  # on a cluster they follow what is written
        heard = system.heard(WITNESS)
    assert [channel for channel, _ in heard] == ["user_updates", "balance_updates"]
    for _, message in heard:
        assert {name: message.get(name) for name in DETAILS} == DETAILS
        assert message["request_id"] == "REQ7"
        assert message["database_transaction_id"]
    _check_end_state(system)


def test_forced_into_different_batches_only_the_enrichment_is_less(system: System) -> None:
    with system.running(CDC_KAFKA__MAX_POLL_RECORDS="1"):
        eventually(lambda: system.config(WITNESS))
        _topics_exist(system)
        _approve(system)
        eventually(lambda: _ended_right(system))
        heard = system.heard(WITNESS)
    assert [channel for channel, _ in heard] == ["user_updates", "balance_updates"]
    assert all(message["database_transaction_id"] for _, message in heard)
    _check_end_state(system)


@pytest.mark.parametrize("first", [USERS, LINKED], ids=["the user's row first", "the linked rows first"])
def test_whichever_comes_first_the_end_is_the_same(system: System, first: tuple[str, ...]) -> None:
    """A run that follows some of the topics only, then one that follows them all."""
    with system.running() as process:
        eventually(lambda: system.config(WITNESS))
        _topics_exist(system)
        _stop(process)
    _approve(system)
    topics = ",".join(system.registration.topic(table) for table in first)
    with system.running(CDC_KAFKA__TOPICS=topics) as process:
        if first == USERS:
            eventually(lambda: system.field(WITNESS, "wallet_balance") == "500.00", 30)
            assert system.field(WITNESS, "last_transaction_id") == "T1"
        else:
            eventually(lambda: system.field(WITNESS, "last_transaction_id") == "TXN77", 30)
            assert system.field(WITNESS, "wallet_balance") == "0.00"
        _stop(process)
    with system.running():
        eventually(lambda: _ended_right(system), 30)
        _check_end_state(system)
        system.passed(WITNESS)
        told = [channel for channel, body in system.heard(WITNESS) if "wallet_balance" in body["updated_fields"]]
    assert told == ["user_updates", "balance_updates"]


def test_what_is_rejected_or_pending_changes_nothing(system: System) -> None:
    with system.running():
        eventually(lambda: system.config(WITNESS))
        _topics_exist(system)
        system.trading.insert(
            "money_requests", id=8, request_id="REQ8", user_id=WITNESS, type="withdraw", amount="5", status="pending"
        )
        system.trading.update("money_requests", 8, status="rejected")
        system.trading.insert(
            "user_transactions", id=80, transaction_id="T80", user_id=WITNESS, type="loss", amount="1", status="pending"
        )
        system.trading.update("user_transactions", 80, status="failed")
        system.passed(WITNESS)
        assert system.field(WITNESS, "last_transaction_id") == "T1"
        assert system.channels(WITNESS) == ["user_updates", "admin_user_updates"], "those of the change behind them"


def _topics_exist(system: System) -> None:
    """The linked tables' topics are made by their first rows, and found a few seconds later: not part of the test."""
    system.trading.insert("money_requests", id=1, request_id="R1", user_id=1, type="deposit", amount="1")
    system.trading.insert(
        "user_transactions", id=1, transaction_id="T1", user_id=WITNESS, type="swap", amount="1", status="completed"
    )
    eventually(lambda: system.field(WITNESS, "last_transaction_id") == "T1", 30)
    system.trading.delete("user_transactions", 1)
    system.listener.heard()
    system.listener._heard.clear()


def _stop(process: Process) -> None:
    """So that it leaves its group, and the next one need not wait for its session's end."""
    process.send(signal.SIGTERM)
    assert process.wait() == 0
