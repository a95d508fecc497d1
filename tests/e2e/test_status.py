"""``cdc-consumer status`` on the real servers: all is well, or one thing is not, and it is named."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.e2e.conftest import WITNESS, System
from tests.e2e.feed import Feed, deposit, poison
from tests.e2e.process import CLI, command
from tests.support.forked import base_environment
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack

# The bound of all questions, and what a busy machine needs to start the program.
WITHIN_S = 5.0 + 10.0
# How long a member's report stays after the member is gone, and some more.
GONE_S = 30.0


def settings(system: System) -> dict[str, str]:
    return {**system.environment, "CDC_CONNECT__URL": system.stack.connect.url}


def status(system: System, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command({**settings(system), **environment}, "status", *arguments)


def told(ran: subprocess.CompletedProcess[str], part: str) -> dict[str, Any]:
    """The one line about ``part``."""
    (line,) = [found for line in ran.stdout.splitlines() if (found := json.loads(line))["part"] == part]
    return dict(line)


def levels(ran: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """By part; the worst is the last one that is said."""
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {line["part"]: line["level"] for line in lines if line["part"] != "summary"}


def is_well(system: System) -> bool:
    return status(system, "--json").returncode == 0


def on_a_terminal(environment: dict[str, str], width: int, *arguments: str, seconds: float = 30.0) -> tuple[int, str]:
    """The exit code and the screen of a command that a person starts, without colours."""
    ours, theirs = pty.openpty()
    full = {**base_environment(), **environment, "COLUMNS": str(width), "TERM": "xterm-256color"}
    with subprocess.Popen([CLI, *arguments], env=full, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said, is_interrupted = b"", False
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                part = os.read(ours, 65536)
            except OSError:  # its end on Linux
                break
            said += part
            if "--watch" in arguments and said.count(b"cdc-consumer status") >= 2 and not is_interrupted:
                is_interrupted = True  # a second one would end it at once
                process.send_signal(signal.SIGINT)
        os.close(ours)
        code = process.wait(seconds)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()).replace("\r", "")


def test_all_is_well(live: System) -> None:
    """Each part is there; the screen fits into its width; nothing secret is in it, and nothing of it in Redis."""
    database = {"CDC_DATABASE__URL": live.database.url}
    assert command({**live.environment, **database}, "audit").returncode == 0
    live.trading.update("live_users", WITNESS, wallet_balance="3141.59")
    eventually(lambda: live.balance(WITNESS) == "3141.59", 60)
    eventually(lambda: is_well(live), 60)
    ran = status(live, "--json")
    assert ran.returncode == 0, ran.stdout
    parts = ["connector", "heartbeat", "group", "member", "redis", "dead letters", "audit", "versions", "summary"]
    assert [json.loads(line)["part"] for line in ran.stdout.splitlines()] == parts
    assert told(ran, "connector")["tasks"] == ["RUNNING"]
    member = told(ran, "member")
    assert sum(map(len, member["partitions"].values())) == told(ran, "group")["partitions"] > 0
    assert (member["index"], member["waits_for"], told(ran, "group")["members_in_kafka"]) == ("warm", [], 1)
    assert (told(ran, "audit")["share_right"], told(ran, "audit")["users"]) == (1.0, 2)
    connector = told(ran, "connector")["name"]
    for width in (80, 100, 120):
        code, screen = on_a_terminal(settings(live), width, "status")
        assert code == 0, screen
        lines = screen.splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) <= 24
        assert lines[-1] == "✓ ok"
        assert f"✓ connector    {connector} is RUNNING with 1 task" in screen
    plain = status(live)
    assert plain.returncode == 0
    assert "✓" not in plain.stdout
    assert plain.stdout.splitlines()[-1] == "ok"
    hours = [*live.redis.scan_iter("cdc:member:*:hour:*")]
    left = [str(live.redis.get(key)) for key in {*live.redis.scan_iter("cdc:member:*:*")} - {*hours}]
    assert len(left) == 1
    left += [str(live.redis.hgetall(key)) for key in hours]
    secrets = [live.registration.connector.config["database.password"], "3141.59"]
    for secret in secrets:
        assert not any(secret in text for text in (ran.stdout, plain.stdout, *left))


def test_a_connector_that_fails_is_named(live: System) -> None:
    eventually(lambda: is_well(live), 60)
    connector = live.registration.connector
    with live.stack.connect.api() as api:
        api.apply(connector.model_copy(update={"config": connector.config | {"skipped.operations": "none"}}))
        api.wait_running(connector.name, steady_s=1.0)
    mysql = live.stack.mysql
    with mysql.connect(mysql.logins.admin) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE TABLE demo_users")  # its record has no key, which a compacted topic refuses
    eventually(lambda: levels(status(live, "--json"))["connector"] == "failure", 60)
    ran = status(live)
    assert ran.returncode == 1
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("failure  connector: ")]
    assert connector.name in line
    assert "task 0 FAILED" in line
    assert ran.stdout.splitlines()[-1].startswith(f"not ok: connector: {connector.name}")
    assert connector.config["database.password"] not in ran.stdout + ran.stderr


def test_a_member_that_ends_takes_its_report_away(system: System) -> None:
    """One that is killed can't: its report expires, and is missed."""
    with system.running():
        eventually(lambda: is_well(system), 60)
    assert list(system.redis.scan_iter("cdc:member:*:*")) != [], "it was killed: the report is still there"
    eventually(lambda: "no report for" in status(system).stdout, GONE_S)
    ran = status(system, "--json")
    assert ran.returncode == 1
    assert told(ran, "group")["found"].startswith("no member runs, the last report was ")
    assert told(ran, "member")["level"] == "warning"
    with system.running() as process:
        eventually(lambda: told(status(system, "--json"), "group")["level"] == "ok", 60)
        process.send(signal.SIGTERM)
        assert process.wait(30) == 0
        assert told(status(system, "--json"), "group")["members"] == 0


@pytest.mark.one_redis
def test_servers_that_are_away_are_lines(live: System) -> None:
    eventually(lambda: is_well(live), 60)
    nobody = f"127.0.0.1:{Ports().take('nobody')}"
    began = time.monotonic()
    ran = status(live, CDC_REDIS__URL=f"redis://:hunter2@{nobody}/0")
    assert time.monotonic() - began < WITHIN_S
    assert ran.returncode == 1
    assert [line for line in ran.stdout.splitlines() if line.startswith("failure")] == [
        f"failure  redis: Error 111 connecting to {nobody}. Connection refused."
    ]
    assert "warning  group: 1 member in Kafka; their reports are in Redis; lag 0 records" in ran.stdout
    ran = status(
        live,
        CDC_REDIS__URL=f"redis://{nobody}",
        CDC_KAFKA__BOOTSTRAP_SERVERS=nobody,
        CDC_CONNECT__URL=f"http://{nobody}",
    )
    assert ran.returncode == 1
    failed = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("failure")]
    assert failed == ["connector:", "kafka:", "redis:"]
    assert "hunter2" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["redis", "kafka"])
def test_a_server_that_hangs_delays_nothing_else(live: System, name: str) -> None:
    server = getattr(live.stack, name)
    server.freeze()
    try:
        began = time.monotonic()
        ran = status(live, "--json")
        assert time.monotonic() - began < WITHIN_S
    finally:
        server.thaw()
    assert ran.returncode == 1
    assert told(ran, name)["level"] == "failure"
    assert told(ran, "connector")["level"] == "ok"


def test_dead_letters_wait(feed: Feed) -> None:
    with feed.running():
        feed.send(deposit(1, 0), poison(2, 1), deposit(3, 2))
        eventually(lambda: len(feed.letters()) == 1, 60)
        eventually(lambda: feed.committed() == 3, 60)
        ran = command(feed.environment, "status", "--json")
    assert ran.returncode == 1
    letters = told(ran, "dead letters")
    assert (letters["count"], letters["reasons"], letters["level"]) == (1, {"undecodable": 1}, "failure")
    assert command(feed.environment, "dead-letters", "replay", "--all", "--discard", "--yes").returncode == 0
    assert told(command(feed.environment, "status", "--json"), "dead letters")["level"] == "ok"


def test_watch_refreshes_until_it_is_interrupted(live: System) -> None:
    code, screen = on_a_terminal(settings(live), 100, "status", "--watch")
    assert code == 130
    assert "Traceback" not in screen
    assert screen.count("cdc-consumer status") >= 2


def test_a_wrong_setting(system: System) -> None:
    ran = status(system, CDC_REDIS__URL="gopher://x")
    assert ran.returncode == 2
    assert "failure  redis: CDC_REDIS__URL: " in ran.stdout
