"""``cdc-consumer connect apply``, ``status`` and ``diff`` on a real Connect with Debezium."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka.admin import ConfigResource

from tests.e2e.process import command
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.login import PROJECT
from tests.support.stack.port import Ports
from tests.support.stack.registration import delete_topics
from tests.support.stack.trading import Trading

pytestmark = pytest.mark.stack
FILE = PROJECT / "connect" / "mysql.json"


@dataclass
class Connecting:
    """The command line with everything that ``connect/mysql.json`` needs in its environment."""

    stack: Stack
    prefix: str
    folder: Path
    environment: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.prefix}-mysql"

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """No output ever holds a secret, and no failure is a traceback."""
        settings = {**self.environment, **environment}
        ran = command(settings, "connect", *map(str, arguments), seconds=120)
        said = ran.stdout + ran.stderr
        assert not any(settings[name] in said for name in ("CDC_MYSQL_PASSWORD", "CDC_MASK_SALT"))
        assert not any(self.environment[name] in said for name in ("CDC_MYSQL_PASSWORD", "CDC_MASK_SALT"))
        return ran

    def file(self, **settings: str | None) -> Path:
        """connect/mysql.json with some settings otherwise, ``_`` for ``.``; None leaves one out."""
        raw = json.loads(FILE.read_text())
        for name, value in settings.items():
            raw["config"].pop(name.replace("_", "."), None)
            if value is not None:
                raw["config"][name.replace("_", ".")] = value
        path = self.folder / "changed.json"
        path.write_text(json.dumps(raw))
        return path

    def readers(self) -> set[int]:
        """The connections by which connectors read the binlog now: a restarted task has a new one."""
        with self.stack.mysql.connect(self.stack.mysql.logins.admin) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
            return {int(number) for (number,) in cursor.fetchall()}

    def running(self) -> dict[str, str]:
        with self.stack.connect.api() as api:
            return api.config(self.name)


@pytest.fixture
def connect(stack: Stack, trading: Trading, topic_prefix: str, tmp_path: Path) -> Iterator[Connecting]:
    """An empty Connect, and clean tables."""
    environment = {
        **stack.mysql.connector_values(),
        **stack.connect.exports(),
        "CDC_TOPIC_PREFIX": topic_prefix,
        "CDC_CONNECT_BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_MASK_SALT": secrets.token_hex(8),
        "CDC_MYSQL_SERVER_ID": str(10_000 + secrets.randbelow(2_000_000_000)),
    }
    with stack.connect.api() as api:
        assert api.names() == []
        yield Connecting(stack, topic_prefix, tmp_path, environment)
        for name in api.names():
            api.delete(name)
        delete_topics(stack, topic_prefix)


def test_an_empty_connect_is_said_to_be_empty(connect: Connecting) -> None:
    ran = connect.run("status")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "there are no connectors\n")


@pytest.fixture
def applied(connect: Connecting) -> Connecting:
    """The connector runs and reads the binlog."""
    ran = connect.run("apply", FILE)
    assert (ran.returncode, ran.stdout) == (0, f"{connect.name} runs\n"), ran.stderr
    eventually(connect.readers, 60)
    return connect


def test_apply_and_again_unchanged(applied: Connecting) -> None:
    """The second time says so, and the task goes on over the connection that it had."""
    before = applied.readers()
    ran = applied.run("apply", FILE)
    assert (ran.returncode, ran.stdout) == (0, f"{applied.name} unchanged\n"), ran.stderr
    assert applied.readers() == before
    ran = applied.run("apply", applied.file(heartbeat_interval_ms="4000"))
    assert (ran.returncode, ran.stdout) == (0, f"{applied.name} runs\n"), ran.stderr
    eventually(lambda: applied.readers() and applied.readers() != before, 60)
    assert applied.running()["heartbeat.interval.ms"] == "4000"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("snapshot_mode", "someday"),
        ("connector_class", "io.debezium.connector.mysql.Absent"),
        ("connector_class", None),
        ("table_include_list", "(("),
        ("transforms_userKey_type", "absent.Absent"),
    ],
)
def test_a_wrong_setting_is_named_and_what_runs_is_not_touched(
    applied: Connecting, setting: str, value: str | None
) -> None:
    before, config = applied.readers(), applied.running()
    ran = applied.run("apply", applied.file(**{setting: value}))
    assert (ran.returncode, ran.stdout) == (1, "")
    first, second, *_ = ran.stderr.splitlines()
    assert first == f"connector {applied.name}: Connect refuses 1 settings; nothing was changed"
    assert second.startswith(f"  {setting.replace('_', '.')}: ")
    assert applied.readers() == before
    assert applied.running() == config


def test_a_wrong_password_is_found_before_anything_is_changed(applied: Connecting) -> None:
    before = applied.readers()
    ran = applied.run("apply", FILE, CDC_MYSQL_PASSWORD="not-this-one-at-all")
    assert ran.returncode == 1
    assert "  database.hostname: Unable to connect: Access denied" in ran.stderr
    assert applied.readers() == before


def test_one_wrong_file_keeps_all_others_from_being_applied(connect: Connecting) -> None:
    ran = connect.run("apply", FILE, connect.file(name=None, snapshot_mode="someday"))
    assert ran.returncode == 1
    with connect.stack.connect.api() as api:
        assert api.names() == []


def test_a_placeholder_without_a_value_is_a_wrong_setting(connect: Connecting) -> None:
    del connect.environment["CDC_MYSQL_HOST"]
    for action in ("apply", "diff"):
        ran = connect.run(action, FILE)
        assert ran.returncode == 2
        assert ran.stderr.startswith(f"cdc-consumer: CDC_MYSQL_HOST: has no value, but {FILE} needs one")


@pytest.mark.parametrize("arguments", [("apply", FILE), ("diff", FILE), ("status",)])
def test_a_connect_that_is_down_is_one_sentence(connect: Connecting, arguments: tuple[str | Path, ...]) -> None:
    nobody = f"http://127.0.0.1:{Ports().take('nobody')}"
    ran = connect.run(*arguments, CDC_CONNECT__URL=nobody)
    assert (ran.returncode, ran.stdout) == (1, "")
    sentence, advice = ran.stderr.splitlines()
    assert sentence.startswith(f"cdc-consumer: Kafka Connect {nobody}: ConnectError")
    assert "CDC_CONNECT__URL" in advice


def test_a_connector_that_fails_says_why_and_is_restarted_when_told(applied: Connecting) -> None:
    """Connect's validation passes this one, and the connector fails; what ran before goes on."""
    wrong = applied.file(topic_creation_users_partitions="many")
    ran = applied.run("apply", wrong)
    assert ran.returncode == 1
    assert "failed: org.apache.kafka.common.config.ConfigException: Invalid value many for configuration" in ran.stderr
    assert "topic.creation.users.partitions" in ran.stderr
    ran = applied.run("apply", wrong)
    assert (ran.returncode, ran.stdout) == (1, "")
    ran = applied.run("status")
    assert ran.returncode == 1
    assert ran.stdout.startswith(f"{applied.name}: FAILED, task 0 RUNNING\n  org.apache.kafka")
    ran = applied.run("status", "--restart", "--json")
    assert ran.returncode == 1
    (found,) = map(json.loads, ran.stdout.splitlines())
    assert (found["connector"], found["state"], found["tasks"]) == (applied.name, "FAILED", ["RUNNING"])
    assert "Invalid value many" in found["causes"][0]
    ran = applied.run("apply", FILE)
    assert (ran.returncode, ran.stdout) == (0, f"{applied.name} runs\n"), ran.stderr


@pytest.mark.parametrize("command", ["status", "apply"])
def test_a_failed_task_runs_again_once_the_cause_is_gone(applied: Connecting, command: str) -> None:
    """The record of a TRUNCATE has no key, and a compacted topic takes none without (connect/README.md)."""
    own = applied.file(skipped_operations="none")
    assert applied.run("apply", own).returncode == 0
    mysql = applied.stack.mysql
    with mysql.connect(mysql.logins.admin) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE TABLE demo_users")
    eventually(lambda: "task 0 FAILED" in applied.run("status").stdout, 60)
    ran = applied.run("status", applied.name)
    assert ran.returncode == 1
    state, cause = ran.stdout.splitlines()
    assert state == f"{applied.name}: RUNNING, task 0 FAILED"
    assert "Exception" in cause
    assert applied.run("apply", own).returncode == 1

    admin = applied.stack.kafka.admin()
    topic = ConfigResource("TOPIC", f"{applied.prefix}.trading.demo_users", {"cleanup.policy": "delete"})
    admin.alter_configs([topic])
    admin.close()
    ran = applied.run(*(("status", "--restart") if command == "status" else ("apply", own, "--restart")))
    assert ran.returncode == 0, ran.stderr
    assert "FAILED" not in ran.stdout
    assert applied.run("status").returncode == 0


def test_the_status_of_what_is_there_and_what_is_not(applied: Connecting) -> None:
    ran = applied.run("status")
    assert (ran.returncode, ran.stdout) == (0, f"{applied.name}: RUNNING, task 0 RUNNING\n")
    ran = applied.run("status", applied.name, "nobody")
    assert ran.returncode == 1
    assert ran.stderr == f"nobody: does not exist; existing connectors: {applied.name}\n"
    ran = applied.run("status", "--json")
    assert json.loads(ran.stdout) == {
        "connector": applied.name,
        "state": "RUNNING",
        "tasks": ["RUNNING"],
        "causes": [],
    }


def test_what_differs_is_shown_without_secrets(applied: Connecting) -> None:
    ran = applied.run("diff", FILE)
    assert (ran.returncode, ran.stdout) == (0, f"{applied.name}: no difference\n")
    changed = applied.file(poll_interval_ms="20", snapshot_mode=None, max_batch_size="512")
    other = {"CDC_MYSQL_PASSWORD": secrets.token_hex(8), "CDC_MASK_SALT": secrets.token_hex(8)}
    ran = applied.run("diff", changed, **other)
    assert ran.returncode == 1
    assert ran.stdout.splitlines() == [
        f"{applied.name}: 5 settings differ",
        "  ~ column.mask.hash.v2.SHA-256.with.salt.***: differs, ***",
        "  ~ database.password: differs, ***",
        "  + max.batch.size: not set in Connect; the file has '512'",
        "  ~ poll.interval.ms: Connect has '10'; the file has '20'",
        "  - snapshot.mode: Connect has 'when_needed'; not set in the file",
    ]
    ran = applied.run("diff", "--json", changed, **other)
    (found,) = map(json.loads, ran.stdout.splitlines())
    assert (found["connector"], found["exists"], len(found["differences"])) == (applied.name, True, 5)


def test_what_is_not_there_yet_differs(connect: Connecting) -> None:
    ran = connect.run("diff", FILE)
    assert (ran.returncode, ran.stdout) == (1, f"{connect.name}: does not exist yet\n")
