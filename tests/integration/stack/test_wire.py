"""What the connectors in connect/ put on the wire, on the real servers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from consumer.errors import ServerError
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from tests.support.stack import Stack
from tests.support.stack.registration import Registration, is_snapshot_complete, load, registered
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import TABLES, Trading
from tests.support.stack.wire import Record, read

pytestmark = pytest.mark.stack
each_database = pytest.mark.parametrize("database", DATABASES, indirect=True)

CREDENTIALS = {"password", "view_password", "security_question", "security_answer"}


def _until_tombstone(records: list[Record]) -> bool:
    return any(each.value is None for each in records)


def _at_least(number: int) -> Callable[[list[Record]], bool]:
    return lambda records: len(records) >= number


@each_database
def test_a_row_travels_with_its_key_and_without_its_secrets(
    stack: Stack, trading: Trading, connector: Registration
) -> None:
    """INSERT, UPDATE, DELETE; NULL stays NULL though the columns have defaults; no value leaks."""
    trading.insert("live_users", id=5, name="Ann Secret", password="hunter2", wallet_balance=None, pincode="560001")
    trading.update("live_users", 5, wallet_balance="10.5", leverage=None)
    trading.delete("live_users", 5)

    records = read(stack.kafka, [connector.topic("live_users")], _until_tombstone)

    assert {each.key for each in records} == {b'{"id":5}'}
    assert [each.envelope and each.envelope["op"] for each in records] == ["c", "u", "d", None]
    created, updated, deleted, _ = (each.envelope for each in records)
    assert created["after"]["wallet_balance"] is None
    assert (updated["after"]["wallet_balance"], updated["after"]["leverage"]) == ("10.500000", None)
    assert deleted["after"] is None
    assert not CREDENTIALS & set(created["after"])
    assert not any(secret in (each.value or b"") for each in records for secret in (b"Ann", b"hunter2", b"560001"))


@each_database
def test_the_end_of_one_table_is_not_the_end_of_the_snapshot(stack: Stack, connector: Registration) -> None:
    """Tests that run after `registered` find the rows of every table in the topics."""
    told = read(stack.kafka, [f"{connector.prefix}.notifications"], is_snapshot_complete)
    kinds = [each.envelope["type"] for each in told]
    assert kinds.count("TABLE_SCAN_COMPLETED") == len(TABLES)
    assert [is_snapshot_complete([each]) for each in told] == [kind == "COMPLETED" for kind in kinds]


@each_database
def test_a_changed_name_shows_as_a_changed_hash(stack: Stack, trading: Trading, connector: Registration) -> None:
    """The consumer must notice such a change and must not see the name; an absent one stays absent."""
    trading.insert("live_users", id=5, name="Ann Secret", updated_at="2026-01-02 03:04:05")
    trading.update("live_users", 5, name="Bob Hidden", updated_at="2026-01-02 03:04:05")

    records = read(stack.kafka, [connector.topic("live_users")], _at_least(2))

    change = records[1].envelope
    differing = {name for name, value in change["before"].items() if value != change["after"][name]}
    assert differing - {"updated_at"} == {"name"}
    assert len(change["after"]["name"]) == 64
    assert change["after"]["city"] is None


@each_database
def test_a_change_of_a_password_alone_is_at_most_a_new_updated_at(
    stack: Stack, trading: Trading, connector: Registration
) -> None:
    """With the same ``updated_at`` nothing is sent; with a new one only that differs."""
    trading.insert("live_users", id=5, updated_at="2026-01-02 03:04:05")
    trading.update("live_users", 5, password="one", updated_at="2026-01-02 03:04:05")
    trading.update("live_users", 5, password="two")
    trading.update("live_users", 5, leverage=7)

    records = read(stack.kafka, [connector.topic("live_users")], _at_least(3))

    _, password, leverage = (each.envelope for each in records)
    differing = {name for name, value in password["before"].items() if value != password["after"][name]}
    assert differing == {"updated_at"}
    assert leverage["after"]["leverage"] == 7


@each_database
def test_everything_of_a_user_lies_in_one_partition_number(
    stack: Stack, trading: Trading, connector: Registration
) -> None:
    """Keys of transactions and requests are rewritten to the user's, so one consumer has all of a user."""
    users = range(1, 21)
    for user in users:
        trading.insert("live_users", id=user)
        transaction = {"transaction_id": f"T{user}", "type": "deposit", "amount": "1"}
        trading.insert("user_transactions", user_id=user, **transaction)
        trading.insert("money_requests", request_id=f"R{user}", user_id=user, type="deposit", amount="1")
    topics = [connector.topic(table) for table in ("live_users", "user_transactions", "money_requests")]

    records = read(stack.kafka, topics, _at_least(3 * len(users)))

    places: dict[bytes | None, set[int]] = {}
    for each in records:
        places.setdefault(each.key, set()).add(each.partition)
    assert set(places) == {json.dumps({"id": user}, separators=(",", ":")).encode() for user in users}
    assert all(len(partitions) == 1 for partitions in places.values())
    assert len({each.partition for each in records}) > 1


@each_database
def test_one_database_transaction_has_one_id(stack: Stack, trading: Trading, connector: Registration) -> None:
    trading.insert("live_users", id=5)
    with trading.transaction():
        trading.update("live_users", 5, wallet_balance="10")
        transaction = {"transaction_id": "T1", "type": "deposit", "amount": "10"}
        trading.insert("user_transactions", user_id=5, **transaction)
    topics = [connector.topic("live_users"), connector.topic("user_transactions")]

    records = read(stack.kafka, topics, _at_least(3))

    events = [parse(each.source_record) for each in records]
    assert all(isinstance(each, ChangeEvent) for each in events)
    alone, *together = sorted(events, key=lambda each: each.position.order)  # type: ignore[union-attr]
    assert len({each.transaction_id for each in together}) == 1  # type: ignore[union-attr]
    assert alone.transaction_id not in (None, together[0].transaction_id)  # type: ignore[union-attr]
    assert sorted(each.envelope["transaction"]["total_order"] for each in records) == [1, 1, 2]


@each_database
def test_topics_are_made_as_the_file_says(stack: Stack, trading: Trading, connector: Registration) -> None:
    trading.insert("live_users", id=5)
    trading.insert("user_transactions", user_id=5, transaction_id="T1", type="deposit", amount="1")
    users, transactions = connector.topic("live_users"), connector.topic("user_transactions")
    read(stack.kafka, [users, transactions], _at_least(2))
    admin = stack.kafka.admin()
    try:
        counts = {
            (each.get("topic") or each["name"]): len(each["partitions"])
            for each in admin.describe_topics([users, transactions, f"{connector.prefix}.transaction"])
        }
    finally:
        admin.close()
    assert counts == {users: 8, transactions: 8, f"{connector.prefix}.transaction": 1}


def test_a_connector_that_fails_says_why_without_its_password(
    stack: Stack, trading: Trading, topic_prefix: str
) -> None:
    wrong = load(stack, stack.mysql, topic_prefix, CDC_MYSQL_PASSWORD="not-the-password")
    with stack.connect.api() as api:
        problems = api.validate(wrong)
        assert problems
        assert "not-the-password" not in str(problems)
        with pytest.raises(ServerError) as refused:
            api.apply(wrong)
        assert "not-the-password" not in str(refused.value)


def test_applying_twice_changes_nothing_and_deleting_removes(stack: Stack, trading: Trading, topic_prefix: str) -> None:
    with registered(stack, stack.mysql, topic_prefix) as running, stack.connect.api() as api:
        name = running.connector.name
        api.apply(running.connector)
        api.wait_running(name)
        assert api.config(name) == {**running.connector.config, "name": name}
        assert name in api.names()
    with stack.connect.api() as api:
        assert name not in api.names()
