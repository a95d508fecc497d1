"""``cdc-consumer check`` on the real servers: what it says, and the exit code."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import redis

from tests.e2e.conftest import WITNESS, System
from tests.e2e.process import command
from tests.e2e.test_databases import ddl, default_identity, each_database, on_postgres
from tests.support.redis_view import dump, eventually
from tests.support.stack import Stack
from tests.support.stack.port import Ports
from tests.support.stack.trading import Trading
from tests.wire import changes
from tests.wire.formats import avro_converter, connectors

pytestmark = pytest.mark.stack


def check(system: System, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {**system.environment, "CDC_CONNECT__URL": system.stack.connect.url}
    return command({**own, **environment}, "check", *arguments)


def said(ran: subprocess.CompletedProcess[str], level: str) -> list[str]:
    """What was found at that level, advice left out."""
    assert "Traceback" not in ran.stdout + ran.stderr
    return [line.split(maxsplit=1)[1] for line in ran.stdout.splitlines() if line.startswith(level)]


def fill(system: System) -> None:
    """A row in each table, so that each has its topic, and an update among the records."""
    trading = system.trading
    trading.insert("user_transactions", id=1, transaction_id="T1", user_id=WITNESS, type="deposit", amount="1")
    trading.insert("money_requests", id=1, request_id="R1", user_id=WITNESS, type="deposit", amount="1")
    for table in ("live_users", "demo_users"):
        trading.update(table, WITNESS, wallet_balance="3141.59")
    tables = ("live_users", "demo_users", "user_transactions", "money_requests")
    topics = [f"topic {system.registration.topic(table)}" for table in tables]

    def are_there() -> bool:
        found = check(system).stdout
        return "none yet" not in found and all(topic in found for topic in topics)

    eventually(are_there, 40)


def heard(system: System) -> None:
    """Wait for the connector's first heartbeat."""
    eventually(lambda: any(line.startswith("heartbeats ") for line in said(check(system), "ok")), 30)


@each_database
def test_all_is_well(system: System) -> None:
    fill(system)
    heard(system)
    ran = check(system)
    assert ran.returncode == 0, ran.stdout
    # The stack's Redis has no files.
    assert [line.partition(":")[0] for line in said(ran, "warning")] == ["redis persistence"]
    assert said(ran, "failure") == []
    subjects = [line.partition(":")[0] for line in said(ran, "ok")]
    assert {
        "settings",
        "redis",
        "redis account default",
        "kafka",
        "registry",
        f"connector {system.registration.connector.name}",
    } <= set(subjects)
    secrets = [system.registration.connector.config["database.password"], "3141.59"]
    assert not any(secret in ran.stdout + ran.stderr for secret in secrets)


def test_for_programs(system: System) -> None:
    """The tables of transactions are empty, so their topics are missing: a warning each."""
    heard(system)
    ran = check(system, "--json")
    assert ran.returncode == 0, ran.stdout
    lines: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {tuple(line) for line in lines} == {("level", "subject", "found", "advice")}
    warned = [line["subject"] for line in lines if line["level"] == "warning"]
    prefix = system.registration.prefix
    tables = ["user_transactions", "money_requests"]
    assert warned == ["redis persistence", *(f"topic {prefix}.trading.{table}" for table in tables)]


def test_a_user_tables_topic_that_is_missing(system: System) -> None:
    named = f"{system.registration.topic('live_users')},{system.registration.prefix}.trading.absent"
    ran = check(system, CDC_KAFKA__TOPICS=named)
    assert ran.returncode == 1
    (line,) = said(ran, "failure")
    assert "trading.absent: it does not exist" in line
    ran = check(system, CDC_KAFKA__TOPIC_PREFIX="nobody")
    assert ran.returncode == 1
    assert [line.partition(":")[0] for line in said(ran, "failure")] == [
        "topic nobody.<db or schema>.live_users",
        "topic nobody.<db or schema>.demo_users",
    ]
    assert "none of its 1 connectors has topic.prefix=nobody" in ran.stdout


@on_postgres
def test_without_old_row_images_it_says_which_statement_to_run(system: System) -> None:
    with default_identity(system):
        system.trading.update("live_users", WITNESS, wallet_balance="3141.59")
        eventually(lambda: check(system).returncode == 1, 20)
        ran = check(system)
        (line,) = said(ran, "failure")
        assert "1 of 1 updates come without the old row image" in line
        table = system.registration.topic("live_users").partition(".")[2]
        statement = f"ALTER TABLE {table} REPLICA IDENTITY FULL;"
        assert statement in ran.stdout
        assert check(system, CDC_SOURCE__ACCEPT_MISSING_BEFORE="true").returncode == 0
        ddl(system, statement)
        system.trading.update("live_users", WITNESS, wallet_balance="5")
        eventually(lambda: "the newest update has it" in check(system).stdout, 20)
        assert check(system).returncode == 0


@pytest.mark.parametrize("overrides", [{"decimal.handling.mode": "double", "provide.transaction.metadata": "false"}])
def test_doubles_are_seen_in_the_records_and_in_the_connector(system: System) -> None:
    ran = check(system)
    assert ran.returncode == 1
    assert any("money as a floating point number" in line for line in said(ran, "failure"))
    assert any("decimal.handling.mode is double" in line for line in said(ran, "failure"))
    assert any("provide.transaction.metadata is not true" in line for line in said(ran, "warning"))


@pytest.mark.parametrize(
    "overrides",
    [
        {
            "transforms": "userKey,flat",
            "transforms.flat.type": "io.debezium.transforms.ExtractNewRecordState",
            "transforms.flat.predicate": "users",
            "predicates": "keyedByUserId,users",
            "predicates.users.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
            "predicates.users.pattern": ".*_users",
        }
    ],
)
def test_flattened_events_are_seen_in_the_records_and_in_the_connector(system: System) -> None:
    ran = check(system)
    assert ran.returncode == 1
    assert any(line.startswith("records of ") for line in said(ran, "failure"))
    assert any("transforms.flat.type flattens" in line for line in said(ran, "failure"))


def test_servers_that_are_down_are_lines(system: System) -> None:
    nobody = f"127.0.0.1:{Ports().take('nobody')}"
    ran = check(
        system,
        CDC_REDIS__URL=f"redis://:hunter2@{nobody}/0",
        CDC_KAFKA__BOOTSTRAP_SERVERS=nobody,
        CDC_CONNECT__URL=f"http://{nobody}",
        CDC_REGISTRY__URL=f"http://{nobody}",
    )
    assert ran.returncode == 1
    assert [line.partition(":")[0] for line in said(ran, "failure")] == ["redis", "kafka", "registry", "connect"]
    assert "hunter2" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CDC_REDIS__URL", "gopher://x"),
        ("CDC_REDIS__URL", "redis+cluster://h1:1,h2:2/3"),
        ("CDC_REDIS__URL", "redis+sentinel://h1:1,h2:2"),
        ("CDC_KAFKA__LINGER_MS", "soon"),
        ("CDC_MAPPING", "none.toml"),
    ],
)
def test_a_wrong_setting(system: System, name: str, value: str) -> None:
    ran = check(system, **{name: value})
    assert ran.returncode == 2
    assert name in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.registry
@pytest.mark.parametrize("decimals", ["precise", "double"])
def test_avro_is_compared_with_what_is_needed(
    stack: Stack, trading: Trading, redis_client: redis.Redis, topic_prefix: str, decimals: str
) -> None:
    changes.run(trading, changes.BEFORE)
    environment = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_REDIS__URL": stack.redis.url,
        "CDC_REGISTRY__URL": stack.registry.url,
    }
    with connectors(stack, {topic_prefix: avro_converter(stack, "value") | {"decimal.handling.mode": decimals}}):
        ran = command(environment, "check")
    schema = f"schema {topic_prefix}.trading.live_users-value"
    assert any("arrives as the default" in line for line in said(ran, "warning"))
    if decimals == "precise":
        assert ran.returncode == 0, ran.stdout
        assert f"{schema}: its rows can be read" in said(ran, "ok")
    else:
        assert ran.returncode == 1, ran.stdout
        wanted = f"{schema}: wallet_balance: double can not be read as money"
        assert any(line.startswith(wanted) for line in said(ran, "failure"))


def test_a_user_table_without_a_row_has_no_topic_yet(system: System) -> None:
    """The table of another deployment, which the running connector is said to capture, or is not."""
    api = system.stack.connect.api()
    connector = system.registration.connector
    tables = connector.config["table.include.list"]
    mapping = system.folder / "mapping.toml"
    shown = command({}, "mapping").stdout
    mapping.write_text(shown.replace('"demo_users"', '"paper_users"'))
    assert check(system, CDC_MAPPING=str(mapping)).returncode == 1
    more = connector.model_copy(update={"config": connector.config | {"table.include.list": f"{tables},x.paper_users"}})
    with api:
        api.apply(more)
        api.wait_running(more.name, steady_s=1.0)
    ran = check(system, CDC_MAPPING=str(mapping))
    assert ran.returncode == 0, ran.stdout
    assert any("a running connector captures paper_users" in line for line in said(ran, "warning"))


def test_an_account_with_too_few_rights(system: System) -> None:
    """What is missing is named, and the rights that `check` recommends are taken by the server and are enough."""
    url = system.stack.redis.url.replace("//", "//narrow:hunter2@")
    account = ("ACL", "SETUSER", "narrow")
    system.redis.execute_command(*account, "reset", "on", ">hunter2", "~*", "&user_updates", "+@all")
    try:
        ran = check(system, CDC_REDIS__URL=url)
        assert ran.returncode == 1
        (line,) = said(ran, "failure")
        assert line == (
            "redis account narrow: may not: PUBLISH admin_user_updates, PUBLISH balance_updates, PUBLISH group_updates"
        )
        assert "hunter2" not in ran.stdout + ran.stderr
        _, _, enough = ran.stdout.partition("ACL SETUSER NAME ")
        system.redis.execute_command(*account, "-@all", *enough.splitlines()[0].split())
        ran = check(system, CDC_REDIS__URL=url)
        assert ran.returncode == 0, ran.stdout
        assert any(line.startswith("redis account: may not read its own rights") for line in said(ran, "warning"))
        with system.running(CDC_REDIS__URL=url):
            eventually(lambda: system.config(WITNESS) and system.config(WITNESS, "demo"), 60)
            system.trading.update("live_users", WITNESS, wallet_balance="3141.59")
            eventually(lambda: system.balance(WITNESS) == "3141.59", 60)
    finally:
        system.redis.execute_command("ACL", "DELUSER", "narrow")


def test_nothing_is_changed(system: System) -> None:
    """Neither a topic, nor a group, nor a key, nor a connector."""
    fill(system)

    def state() -> tuple[list[str], object, object, object]:
        admin = system.stack.kafka.admin()
        with system.stack.connect.api() as api:
            connector = api.config(system.registration.connector.name)
        try:
            topics = [topic for topic in admin.list_topics() if system.registration.prefix in topic]
            return sorted(topics), sorted(admin.list_consumer_groups()), connector, dump(system.redis)
        finally:
            admin.close()

    system.redis.set("somebody:else", "1")
    signals = f"{system.registration.prefix}.signals"  # the connector creates it some time after its start
    eventually(lambda: signals in state()[0], 30)
    before = state()
    assert check(system).returncode == 0
    assert state() == before
