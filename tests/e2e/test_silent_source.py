"""A database that restarts under load, and a connector whose password was changed: who notices, and who restarts.

``RESTARTS=5`` restarts each database so often, and ``-s`` shows the seconds.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
import pytest

from consumer.mapping.reference import reference
from demo import dump, expectation
from tests.chaos import judge
from tests.e2e.conftest import WITNESS, System
from tests.e2e.process import Process, command
from tests.e2e.test_metrics import Page, asked
from tests.support.redis_view import eventually
from tests.support.stack.mysql import MySql
from tests.support.stack.port import Ports
from tests.support.stack.postgres import Postgres
from tests.support.stack.registration import Database
from tests.support.stack.source_connector import SourceConnector
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.slow]
RESTARTS = int(os.environ.get("RESTARTS", "1"))
USERS = range(1, 21)
HEARTBEAT = {"heartbeat.interval.ms": "500"}
LIMIT_S = 5
WITHIN_S = 90
EACH = pytest.mark.parametrize("database", ["mysql", "mariadb", "postgres"], indirect=True)
pytestmark.append(pytest.mark.parametrize("overrides", [HEARTBEAT], ids=["heartbeats"]))


def told(process: Process, action: str) -> list[dict[str, Any]]:
    """The log lines of that action."""
    lines = [json.loads(line) for line in process.said().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("action") == action]


@contextmanager
def watching(system: System, **environment: str) -> Iterator[Process]:
    """``connect watch``, until the end of the block."""
    settings = {**system.environment, **system.stack.connect.exports(), "CDC_LOG__FORMAT": "json", **environment}
    process = Process(settings, system.folder / "watch.log", "watch", command="connect")
    try:
        yield process
    except BaseException as error:
        error.add_note(f"the watch said:\n{process.said()}")
        raise
    finally:
        process.close()


class Load:
    """Changes users without an end, over a connection that it makes anew when it is lost."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.written = 0
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._ended.is_set():
            try:
                with self._database.connect(self._database.logins.app) as connection:
                    trading = Trading(connection, self._database.quote)
                    while not self._ended.wait(0.01):
                        user_id = USERS[self.written % len(USERS)]
                        trading.update("live_users", user_id, wallet_balance=f"{self.written}.25", margin=self.written)
                        self.written += 1
            except Exception:  # each driver has its own for a server that went away
                self._ended.wait(0.05)


def differences(system: System) -> list[str]:
    """What is wrong in Redis, by the database."""
    database = system.database
    users = [f"live:{user_id}" for user_id in (*USERS, WITNESS)]
    with database.connect(database.logins.app) as connection:
        rows = expectation.of_database(connection, users, database.quote)
    found = dump.take(system.redis)
    return list(judge.of_state(rows, found, reference()))


def change(system: System, value: int) -> float:
    """Change the witness; how long it took into Redis, in seconds."""
    began = time.monotonic()
    with system.database.connect(system.database.logins.app) as connection:
        Trading(connection, system.database.quote).update("live_users", WITNESS, country_id=value)
    eventually(lambda: system.field(WITNESS, "country_id") == str(value), WITHIN_S, "changes do not go on")
    return time.monotonic() - began


@EACH
def test_a_database_that_restarts_under_load_is_followed_again(system: System, database: Database) -> None:
    """Once in good order, then killed, in turn; nobody but `connect watch` touches the connector."""
    for user_id in USERS:
        system.trading.insert("live_users", id=user_id, email=f"{user_id}@example.org")
    seconds = []
    with system.running(CDC_LOG__FORMAT="json"), watching(system, CDC_METRICS__PORT="0") as watch:
        eventually(lambda: all(system.config(user_id) for user_id in USERS), 60)
        load = Load(database)
        try:
            for number in range(RESTARTS):
                written = load.written
                eventually(lambda before=written: load.written > before + 50, 60)  # type: ignore[misc]
                if number % 2:
                    database.kill()
                else:
                    database.stop(60)
                database.start()
                seconds.append(round(change(system, number + 1), 1))
        finally:
            load.stop()
        change(system, RESTARTS + 1)
        eventually(lambda: not differences(system), 60, "users differ")
        restarted, refused = told(watch, "connector.restarted"), told(watch, "connector.refused")
    print(f"\n{database.name}: seconds until changes go on: {seconds}; restarts of the task: {len(restarted)}")
    assert refused == []
    if database.name == "mysql":  # a stop always fails its task (connect/README.md); the others may connect again
        assert restarted, "the task did not fail, or something else restarted it"


def change_password(database: Database, password: str) -> None:
    """Of the connector's account; and end its connections, as a restart of the server would."""
    user = database.logins.debezium.user
    with database.connect() as connection, connection.cursor() as cursor:
        if isinstance(database, Postgres):
            cursor.execute(f"ALTER USER {user} PASSWORD '{password}'")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (user,))
            return
        assert isinstance(database, MySql)
        cursor.execute(f"ALTER USER '{user}'@'%' IDENTIFIED BY '{password}'")
        cursor.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = %s", (user,))
        numbers = [number for (number,) in cursor.fetchall()]
    for number in numbers:
        with suppress(pymysql.OperationalError):  # it ended by itself
            database.as_origin(f"KILL {number}")


@EACH
def test_the_connectors_password_is_changed(system: System, database: Database) -> None:
    """The log, the metric and the probe tell of it; the connector is restarted by nobody until it is corrected."""
    port = Ports().take("metrics")
    environment = {
        "CDC_METRICS__PORT": str(port),
        "CDC_METRICS__READY_SILENCE_S": str(LIMIT_S),
        "CDC_LOG__FORMAT": "json",
        **system.stack.connect.exports(),
    }
    topic = f"__debezium-heartbeat.{system.environment['CDC_KAFKA__TOPIC_PREFIX']}"
    connector = SourceConnector(system.stack.connect, system.registration.connector.name)

    def metric(name: str, *labels: str) -> Mapping[tuple[str, ...], float]:
        return Page(asked(port, "/metrics")).values(name, *labels)

    with system.running(**environment) as run, watching(system, CDC_METRICS__PORT="0") as watch:
        eventually(lambda: asked(port, "/readyz") == "ok\n", 60)
        eventually(lambda: 0 < metric("cdc_source_heartbeat_age_seconds", "topic").get((topic,), 0) < LIMIT_S, 30)
        try:
            change_password(database, "another-one")
            began = time.monotonic()
            eventually(lambda: told(run, "source.silent") or told(run, "connector.down"), WITHIN_S)
            logged = time.monotonic() - began
            eventually(lambda: asked(port, "/readyz").startswith(("no heartbeat in", "the connector ")), WITHIN_S)
            unready = time.monotonic() - began
            eventually(lambda: told(run, "source.silent"), WITHIN_S)
            silent = time.monotonic() - began
            assert metric("cdc_source_heartbeat_age_seconds", "topic")[(topic,)] > LIMIT_S
            print(f"\n{database.name}: log {logged:.1f} s, /readyz {unready:.1f} s, silent {silent:.1f} s")
            if not isinstance(database, Postgres):  # whose connector tries again for ever, and says RUNNING
                connector.restart()
                eventually(lambda: told(watch, "connector.refused"), WITHIN_S)
                eventually(lambda: told(run, "connector.down"), WITHIN_S)
                assert metric("cdc_connector_state", "connector", "state") == {(connector.name, "FAILED"): 1}
                (refused,) = told(watch, "connector.refused")
                assert refused["reason"] == "login"
                assert "docs/runbooks.md, The connector failed, 1" in refused["advice"]
                assert told(watch, "connector.restarted") == []
                ran = command({**system.environment, **system.stack.connect.exports()}, "connect", "watch", "--once")
                assert ran.returncode == 1, ran.stderr
        finally:
            change_password(database, database.logins.debezium.password)
        assert database.logins.debezium.password not in run.said() + watch.said()
        connector.restart()
        change(system, 1)
        eventually(lambda: asked(port, "/readyz") == "ok\n", WITHIN_S)
        assert len(told(run, "source.silent")) == len(told(run, "source.heard")) == 1
        assert len(told(run, "connector.down")) == len(told(run, "connector.up"))


def test_without_heartbeats_it_says_so_and_is_ready(system: System) -> None:
    port = Ports().take("metrics")
    settings = {
        "CDC_METRICS__PORT": str(port),
        "CDC_METRICS__READY_SILENCE_S": "2",
        "CDC_SOURCE__HEARTBEAT_TOPICS": "no.such.topic",
    }
    with system.running(CDC_LOG__FORMAT="json", **settings) as run:
        eventually(lambda: told(run, "source.no_heartbeats"), 60)
        eventually(lambda: asked(port, "/readyz") == "ok\n", 60)
        assert Page(asked(port, "/metrics")).values("cdc_source_heartbeat_age_seconds", "topic") == {}
        assert "no.such.topic" not in system.stack.kafka.admin().list_topics(), "asking for it made it"


def test_kafka_away_is_survived(system: System) -> None:
    """The look at the heartbeats goes on by itself."""
    port = Ports().take("metrics")
    topic = f"__debezium-heartbeat.{system.environment['CDC_KAFKA__TOPIC_PREFIX']}"

    def age() -> float:
        page = Page(asked(port, "/metrics"))
        return page.values("cdc_source_heartbeat_age_seconds", "topic").get((topic,), 0)

    with system.running(CDC_LOG__FORMAT="json", CDC_METRICS__PORT=str(port)) as run:
        eventually(lambda: 0 < age() < LIMIT_S, 60)
        system.stack.kafka.kill()
        try:
            eventually(lambda: told(run, "source.unknown"), WITHIN_S)
            eventually(lambda: age() > LIMIT_S, WITHIN_S)
        finally:
            system.stack.kafka.start()
        eventually(lambda: 0 < age() < LIMIT_S, WITHIN_S)
        eventually(lambda: asked(port, "/readyz") == "ok\n", WITHIN_S)
