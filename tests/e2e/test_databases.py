"""What is each database's own: other records, other row images, schema changes under load."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from kafka import KafkaProducer

from tests.e2e.conftest import WITNESS, System
from tests.support.redis_view import eventually
from tests.support.stack.kafka import PATIENT
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading
from tests.support.stack.wire import Record, read

pytestmark = pytest.mark.stack
each_database = pytest.mark.parametrize("database", DATABASES, indirect=True)
on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)

LARGE = "0123456789abcdef" * 600
WIDEN = {
    "mysql": (
        "ALTER TABLE live_users ADD COLUMN nickname VARCHAR(20) NULL",
        "ALTER TABLE live_users MODIFY country_id BIGINT NULL",
        "ALTER TABLE live_users MODIFY wallet_balance DECIMAL(20,8) NULL DEFAULT 0",
    ),
    "postgres": (
        "ALTER TABLE live_users ADD COLUMN nickname VARCHAR(20) NULL",
        "ALTER TABLE live_users ALTER COLUMN country_id TYPE BIGINT",
        "ALTER TABLE live_users ALTER COLUMN wallet_balance TYPE DECIMAL(20,8)",
    ),
}
NARROW = {
    "mysql": (
        "ALTER TABLE live_users DROP COLUMN nickname",
        "ALTER TABLE live_users MODIFY country_id INT NULL",
        "ALTER TABLE live_users MODIFY wallet_balance DECIMAL(18,6) NULL DEFAULT 0",
    ),
    "postgres": (
        "ALTER TABLE live_users DROP COLUMN nickname",
        "ALTER TABLE live_users ALTER COLUMN country_id TYPE INT",
        "ALTER TABLE live_users ALTER COLUMN wallet_balance TYPE DECIMAL(18,6)",
    ),
}
WIDEN["mariadb"], NARROW["mariadb"] = WIDEN["mysql"], NARROW["mysql"]


def ddl(system: System, *statements: str) -> None:
    with system.database.connect() as connection:
        owner = Trading(connection, system.database.quote)
        for statement in statements:
            owner.execute(statement)


@each_database
@pytest.mark.parametrize("overrides", [{"heartbeat.interval.ms": "100", "include.schema.changes": "true"}])
def test_debeziums_other_topics_are_told_apart(system: System) -> None:
    """Heartbeats, transactions and schema changes, given to a consumer as topics of its own, are passed over."""
    prefix, name = system.registration.prefix, system.database.name
    others = [f"{prefix}.transaction", f"__debezium-heartbeat.{prefix}"]
    others += [] if name == "postgres" else [prefix]
    system.trading.update("live_users", WITNESS, wallet_balance=5)
    read(system.stack.kafka, others, lambda records: {each.topic for each in records} == set(others))
    topics = [*others, *(system.registration.topic(table) for table in ("live_users", "demo_users"))]
    with system.running(CDC_KAFKA__TOPICS=",".join(topics)) as process:
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "5.00", what=process.log.name)
        system.trading.update("live_users", WITNESS, wallet_balance=6)
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "6.00")
        assert '"level": "error"' not in process.said()


@each_database
def test_every_change_of_a_user_in_one_transaction_counts(system: System) -> None:
    """The first transaction after the snapshot and another one, read row by row, so that nothing is joined: each of
    their changes is newer than the one before, and told once.
    """
    for amounts in ((1, 2, 3), (4, 5)):
        with system.trading.transaction():
            for amount in amounts:
                system.trading.update("live_users", WITNESS, wallet_balance=amount)
    with system.running(CDC_KAFKA__MAX_POLL_RECORDS="1"):
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "5.00")
        told = [body for channel, body in system.heard(WITNESS) if channel == "balance_updates"]
    assert [body["updated_fields"]["wallet_balance"] for body in told] == [f"{amount}.00" for amount in range(1, 6)]
    assert len({body["event_id"] for body in told}) == 5
    assert len({body["database_transaction_id"] for body in told}) == 2


@pytest.mark.slow
@each_database
def test_connect_killed_under_load_loses_nothing_and_doubles_nothing(live: System) -> None:
    """Debezium sends again what it had not noted as sent, on PostgreSQL at positions that it no longer knows whole."""
    amounts: list[str] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            with live.trading.transaction():
                for _ in range(3):
                    amounts.append(f"{len(amounts) + 1}.00")
                    live.trading.update("live_users", WITNESS, wallet_balance=amounts[-1])
            time.sleep(0.002)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        time.sleep(1.0)
        live.stack.connect.kill()
        live.stack.connect.start()
        time.sleep(1.0)
    finally:
        done.set()
        thread.join()
    eventually(lambda: live.field(WITNESS, "wallet_balance") == amounts[-1], 60)

    def told() -> list[str]:
        heard = live.heard(WITNESS)
        return [body["updated_fields"]["wallet_balance"] for channel, body in heard if channel == "balance_updates"]

    eventually(lambda: told()[-1:] == amounts[-1:], 30, "the last change was not told")
    # Changes of one transaction that were read together were told as one; the last of each is told always, and once.
    assert told() == sorted(set(told()), key=amounts.index)
    assert set(amounts[2::3]) <= set(told()) <= set(amounts)


@each_database
def test_a_schema_that_changes_under_load_loses_nothing(live: System) -> None:
    """A column more, INT to BIGINT and DECIMAL(18,6) to (20,8), while updates go on."""
    live.trading.insert("live_users", id=7, wallet_balance="0")
    eventually(lambda: live.config(7))
    amounts: list[str] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            amounts.append(f"{len(amounts) + 1}.25")
            live.trading.update("live_users", 7, wallet_balance=amounts[-1])
            time.sleep(0.002)

    thread = threading.Thread(target=load)
    name = live.database.name
    thread.start()
    try:
        for statement in WIDEN[name]:
            time.sleep(0.1)
            ddl(live, statement)
        time.sleep(0.1)
    finally:
        done.set()
        thread.join()
    try:
        live.trading.update("live_users", 7, wallet_balance="123456789012.12345678", country_id=5_000_000_000)
        eventually(lambda: live.field(7, "wallet_balance") == "123456789012.12345678")
        assert live.field(7, "country_id") == "5000000000"
        assert live.balance(7) == "123456789012.12345678"
        live.trading.update("live_users", 7, nickname="Nick")
        live.trading.update("live_users", 7, wallet_balance="1", country_id=1)
        eventually(lambda: live.field(7, "wallet_balance") == "1.00")
    finally:
        live.trading.update("live_users", 7, wallet_balance="1", country_id=1)
        ddl(live, *NARROW[name])
    told = [body["updated_fields"]["wallet_balance"] for channel, body in live.heard(7) if channel == "balance_updates"]
    assert [Decimal(each) for each in told[:-2]] == [Decimal(each) for each in amounts]
    assert len(amounts) > 20
    live.trading.update("live_users", 7, wallet_balance="2")
    eventually(lambda: live.field(7, "wallet_balance") == "2.00")


@contextmanager
def default_identity(system: System) -> Iterator[None]:
    """A table without old row images, where the large text of an update that did not touch it is left out."""
    ddl(
        system,
        "ALTER TABLE live_users REPLICA IDENTITY DEFAULT",
        "ALTER TABLE live_users ALTER COLUMN sending_orders TYPE TEXT",
        "ALTER TABLE live_users ALTER COLUMN sending_orders SET STORAGE EXTERNAL",
    )
    try:
        yield
    finally:
        ddl(
            system,
            "ALTER TABLE live_users REPLICA IDENTITY FULL",
            "ALTER TABLE live_users ALTER COLUMN sending_orders TYPE VARCHAR(255) USING left(sending_orders, 255)",
        )


@on_postgres
def test_an_update_without_its_old_image_is_a_dead_letter_that_says_what_to_do(system: System) -> None:
    with default_identity(system):
        with system.running() as process:
            eventually(lambda: system.config(WITNESS))
            system.trading.update("live_users", WITNESS, wallet_balance=5)
            eventually(lambda: "record.dead_letter" in process.said())
        assert "ALTER TABLE live_users REPLICA IDENTITY FULL" in process.said()
        assert "CDC_SOURCE__ACCEPT_MISSING_BEFORE" in process.said()
        assert system.field(WITNESS, "wallet_balance") == "0.00"


@on_postgres
def test_accepted_everything_counts_as_changed_and_what_was_not_sent_is_not_written(system: System) -> None:
    with default_identity(system), system.running(CDC_SOURCE__ACCEPT_MISSING_BEFORE="true") as process:
        eventually(lambda: system.config(WITNESS))
        system.trading.insert("live_users", id=7, sending_orders=LARGE, group="Standard")
        eventually(lambda: system.config(7))
        system.redis.hset("user:{live:7}:config", "sending_orders", "kept")
        system.trading.update("live_users", 7, wallet_balance=5)
        eventually(lambda: system.field(7, "wallet_balance") == "5.00")
        assert system.field(7, "sending_orders") == "kept"
        changed = [body for channel, body in system.heard(7) if channel == "group_updates"]
        assert [(body["old_group"], body["new_group"]) for body in changed] == [(None, "Standard")]
        system.redis.delete("user:{live:7}:config")
        system.trading.update("live_users", 7, wallet_balance=6)
        eventually(lambda: system.balance(7) == "6.00")
        assert system.config(7) == {}, "a hash without sending_orders would be taken for a whole one"
        system.trading.update("live_users", 7, sending_orders="abook")
        eventually(lambda: system.field(7, "sending_orders") == "abook")
        assert system.field(7, "wallet_balance") == "6.00"
        system.trading.delete("live_users", 7)
        eventually(lambda: not system.config(7))
        assert system.redis.get("user_balance:live:7") is None
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@on_postgres
@pytest.mark.parametrize("overrides", [{"skipped.operations": "none", "topic.creation.users.cleanup.policy": "delete"}])
def test_a_truncate_is_a_dead_letter_and_leaves_redis_alone(system: System) -> None:
    """Its record has no key, so a compacted topic would not take it, and Debezium's task would fail."""
    with system.running() as process:
        eventually(lambda: system.config(WITNESS))
        before = system.config(WITNESS)
        ddl(system, "TRUNCATE live_users")
        eventually(lambda: "record.dead_letter" in process.said())
    assert "op: TRUNCATE of live_users" in process.said()
    assert system.config(WITNESS) == before


@on_postgres
@pytest.mark.parametrize("overrides", [{"signal.poll.interval.ms": "100"}])
def test_an_incremental_read_fills_what_is_missing_and_tells_nobody(live: System) -> None:
    live.trading.insert("live_users", id=7, wallet_balance="100", group="VIP")
    eventually(lambda: live.config(7))
    eventually(lambda: any(body["user_id"] == 7 for _, body in list(live.listener._heard)))
    live.listener._heard.clear()
    live.redis.delete("user:{live:7}:config", "user_balance:live:7")
    live.redis.hset(f"user:{{live:{WITNESS}}}:config", "group", "of another writer")
    incremental_snapshot(live, "live_users")
    eventually(lambda: live.config(7))
    assert (live.field(7, "group"), live.field(7, "wallet_balance"), live.balance(7)) == ("VIP", "100.00", "100.00")
    live.passed(7)
    assert live.field(WITNESS, "group") == "of another writer"
    assert [body["updated_fields"] for _, body in live.heard(7)] == [{"country_id": "1"}] * 2


def incremental_snapshot(system: System, table: str) -> None:
    """Ask Debezium over its Kafka signal topic until it says that the table is read.

    Asked before its first look at the topic, it does not hear.
    """
    prefix = system.registration.prefix
    collections = [system.registration.topic(table).removeprefix(f"{prefix}.")]
    request = {"type": "execute-snapshot", "data": {"type": "INCREMENTAL", "data-collections": collections}}
    producer = KafkaProducer(**PATIENT, bootstrap_servers=system.stack.kafka.bootstrap_servers, acks="all")
    asked_at = 0.0

    def is_read(records: list[Record]) -> bool:
        nonlocal asked_at
        said = [each.envelope for each in records if each.envelope["aggregate_type"] == "Incremental Snapshot"]
        if not said and time.monotonic() > asked_at + 1.0:
            asked_at = time.monotonic()
            producer.send(
                f"{prefix}.signals", key=prefix.encode(), value=json.dumps(request).encode(), partition=0
            ).get(10)
        return any(each["additional_data"].get("status") == "SUCCEEDED" for each in said)

    try:
        read(system.stack.kafka, [f"{prefix}.notifications"], is_read)
    finally:
        producer.close()
