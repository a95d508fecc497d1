"""Differences of every kind, planted while updates go on: the audit finds exactly these, says why, and mends them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import WITNESS, System
from tests.e2e.process import CLI, command
from tests.support.forked import base_environment
from tests.support.redis_view import eventually
from tests.support.stack.kafka import PATIENT
from tests.support.stack.port import Ports
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.slow]

USERS = int(os.environ.get("AUDIT_USERS", "5000"))
FIRST = 1000
EACH = 5
STRANGE = 10_000_000
MOST = 256 * 2**20


def config_key(user_id: int) -> str:
    return f"user:{{live:{user_id}}}:config"


def audit(system: System, *arguments: str, seconds: float = 240.0) -> subprocess.CompletedProcess[str]:
    settings = {"CDC_DATABASE__URL": system.database.url, "CDC_AUDIT__PATIENCE_S": "60"}
    return command({**system.environment, **settings}, "audit", *arguments, seconds=seconds)


def measured(system: System, folder: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    """A whole audit, and what it took; its memory must not grow with the users."""
    clean = base_environment()
    settings = {**clean, **system.environment, "CDC_DATABASE__URL": system.database.url, "CDC_AUDIT__PATIENCE_S": "60"}
    began = time.monotonic()
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen([CLI, "audit", "--json"], env=settings, stdout=out, stderr=err)
        most = 0  # what wait4 says is at least what this process had when it made that one
        while process.poll() is None:
            with suppress(psutil.Error):
                most = max(most, psutil.Process(process.pid).memory_info().rss)
            time.sleep(0.05)
    said = (folder / "out").read_text(), (folder / "err").read_text()
    took = f"{USERS:,} users in {time.monotonic() - began:.0f} s, {most / 2**20:.0f} MB at most"
    assert 0 < most < MOST
    return subprocess.CompletedProcess(process.args, process.returncode, *said), took


def found(ran: subprocess.CompletedProcess[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The findings and the summary."""
    assert ran.returncode in (0, 1), ran.stderr
    *findings, summary = [json.loads(line) for line in ran.stdout.splitlines()]
    return findings, summary


def crowd(system: System) -> None:
    """Users, many in one statement, until Redis has them all."""
    for begin in range(FIRST, FIRST + USERS, 1000):
        ids = range(begin, min(begin + 1000, FIRST + USERS))
        values = ", ".join(f"({each}, 'Someone', 'someone@example.org', 'secret', {each}.5, 100)" for each in ids)
        system.trading.execute(
            f"INSERT INTO live_users (id, name, email, password, wallet_balance, leverage) VALUES {values}"
        )
    keys_each = 3  # config hash, balance, version
    eventually(lambda: system.redis.dbsize() >= keys_each * USERS, 60 + USERS / 200)


@contextmanager
def unlogged(system: System) -> Iterator[Trading]:
    """Tables whose changes the database does not write to its log."""
    with system.database.connect() as connection:
        tables = Trading(connection, system.database.quote)
        tables.execute("SET SESSION sql_log_bin = 0")
        yield tables


@contextmanager
def updates(system: System, ids: Sequence[int]) -> Iterator[None]:
    """Changes of these users, without a pause, until the end of the block."""
    over = threading.Event()

    def load() -> None:
        with system.database.connect(system.database.logins.app) as connection:
            tables, chance = Trading(connection, system.database.quote), random.Random(7)  # noqa: S311
            while not over.is_set():
                tables.update(
                    "live_users",
                    chance.choice(ids),
                    wallet_balance=chance.randrange(10_000),
                    leverage=chance.choice((50, 100, 200)),
                )
                time.sleep(0.005)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def poison(system: System, user_id: int) -> None:
    """A record about the user that nobody can read, where theirs lie."""
    with_servers = KafkaProducer(**PATIENT, bootstrap_servers=system.stack.kafka.bootstrap_servers, acks="all")
    try:
        key = json.dumps({"id": user_id}, separators=(",", ":")).encode()
        with_servers.send(system.registration.topic("live_users"), key=key, value=b"{broken").get(10)
    finally:
        with_servers.close()


def planted(system: System) -> dict[str, str]:
    """Differences of nine kinds: the cause that an audit should find, by user."""
    ids = iter(range(FIRST, FIRST + USERS))
    redis, expected = system.redis, {}

    def some(cause: str) -> list[int]:
        users = [next(ids) for _ in range(EACH)]
        expected.update({f"live:{each}": cause for each in users})
        return users

    for each in some("overwritten"):
        redis.hset(config_key(each), mapping={"leverage": "999", "user_type": "demo"})
    for each in some("overwritten"):
        redis.set(f"user_balance:live:{each}", "0.01", ex=3600)
    for each in some("overwritten"):
        redis.hset(f"user:{{live:{each}}}:portfolio", mapping={"wallet_balance": "0.01", "equity": "1"})
    for each in some("evicted"):
        redis.delete(config_key(each))
    with unlogged(system) as tables:
        for each in some("not_sent"):
            tables.update("live_users", each, leverage=7)
        lost = some("dead_letter")
        for each in lost:
            tables.update("live_users", each, leverage=8)
            poison(system, each)
            eventually(lambda each=each: redis.hexists(f"cdc:{{live:{each}}}", "!live_users"), 60)  # type: ignore[misc]
        discarded = lost[:2]
        chosen = [word for each in discarded for word in ("--user", f"live:{each}")]
        ran = command(system.environment, "dead-letters", "replay", *chosen, "--discard", "--yes")
        assert ran.returncode == 0, ran.stderr
        expected.update({f"live:{each}": "given_up" for each in discarded})
        for each in range(STRANGE, STRANGE + EACH):
            tables.insert("live_users", id=each, wallet_balance=1)
            expected[f"live:{each}"] = "never_seen"
    for each in range(2 * STRANGE, 2 * STRANGE + EACH):
        redis.hset(config_key(each), mapping={"id": str(each), "group": "VIP"})
        expected[f"live:{each}"] = "foreign"
    return expected


def test_forty_differences_are_found_while_updates_go_on_and_mended(live: System, tmp_path: Path) -> None:
    crowd(live)
    for each in range(FIRST + 500, FIRST + 600):  # portfolios that their owner made, and that are right or say nothing
        live.redis.hset(f"user:{{live:{each}}}:portfolio", mapping={"equity": "1"})
    expected = planted(live)
    assert len(expected) == 8 * EACH
    busy = range(FIRST + 8 * EACH, FIRST + USERS)
    with updates(live, busy):
        first, took = measured(live, tmp_path)
        print(took)
        findings, summary = found(first)
        assert {each["user"]: each["cause"] for each in findings} == expected, first.stderr
        assert len(findings) == len(expected) + EACH  # two fields of each of the first
        assert first.returncode == 1
        assert (summary["users"], summary["orphans"]) == (USERS + 2 + EACH + EACH, EACH)
        assert summary["wrong"] == len(expected)
        assert summary["causes"]["overwritten"] == 3 * EACH
        mended, summary = found(audit(live, "--json", "--repair"))
        assert {each["user"] for each in mended if each["mended"]} == set(expected)
        assert summary["mended"] == len(expected)
        assert all(each["mended"] for each in mended)
        again = audit(live, "--json")
        assert found(again)[0] == []
        assert again.returncode == 0
        _, summary = found(audit(live, "--json", "--sample", "60", "--table", "live_users"))
        assert (summary["users"], summary["wrong"]) == (60, 0)


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_a_consumer_that_is_away_is_the_cause_and_nothing_remains_when_it_is_back(system: System) -> None:
    with system.running():
        eventually(lambda: system.config(WITNESS))
    system.trading.update("live_users", WITNESS, leverage=77)
    settings = {**system.environment, "CDC_DATABASE__URL": system.database.url, "CDC_AUDIT__PATIENCE_S": "4"}
    eventually(lambda: "behind" in command(settings, "audit", "--user", f"live:{WITNESS}", "--json").stdout, 60)
    findings, _ = found(command(settings, "audit", "--user", f"live:{WITNESS}", "--json"))
    assert [(each["field"], each["redis"], each["database"], each["cause"]) for each in findings] == [
        ("leverage", "100", "77", "behind")
    ]
    with system.running():
        eventually(lambda: system.field(WITNESS, "leverage") == "77")
        assert audit(system, "--user", f"live:{WITNESS}").returncode == 0


def gauges(port: int) -> dict[str, float]:
    """Each sample that is exported, as Prometheus' own parser reads it."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {"/".join((each.name, *each.labels.values())): each.value for family in families for each in family.samples}


def test_watching_exports_the_share_of_users_that_are_right(live: System, tmp_path: Path) -> None:
    live.redis.hset(config_key(WITNESS), "leverage", "999")
    port = Ports().take("metrics")
    clean = base_environment()
    settings = {
        "CDC_DATABASE__URL": live.database.url,
        "CDC_AUDIT__INTERVAL_S": "0.5",
        "CDC_AUDIT__SETTLE_S": "0.5",
        "CDC_METRICS__PORT": str(port),
    }
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        process = subprocess.Popen(
            [CLI, "audit", "--watch"], env={**clean, **live.environment, **settings}, stdout=out, stderr=err
        )
        try:
            eventually(lambda: answers(port) and gauges(port)["cdc_audit_rounds_total/done"] >= 2, 90)
            told = gauges(port)
            assert (told["cdc_audit_users"], told["cdc_audit_users_wrong/overwritten"]) == (2, 1)
            assert told["cdc_audit_consistency_ratio"] == 0.5
            live.redis.hset(config_key(WITNESS), "leverage", "100")
            eventually(lambda: gauges(port)["cdc_audit_consistency_ratio"] == 1, 60)
            assert gauges(port)["cdc_audit_users_wrong/overwritten"] == 0
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (tmp_path / "err").read_text()
    assert (tmp_path / "out").read_text().count("overwritten") == 1


def answers(port: int) -> bool:
    with suppress(OSError):
        return bool(gauges(port))
    return False


def test_it_tells_how_things_are_before_there_is_a_topic(system: System) -> None:
    """The first step of moving to this program."""
    system.redis.hset(config_key(WITNESS), mapping={"id": str(WITNESS), "leverage": "100", "group": "by hand"})
    settings = {
        **system.environment,
        "CDC_DATABASE__URL": system.database.url,
        "CDC_KAFKA__TOPIC_PREFIX": "nowhere",
        "CDC_AUDIT__SETTLE_S": "0.5",
    }
    findings, summary = found(command(settings, "audit", "--json"))
    assert {(each["user"], each["cause"]) for each in findings} == {
        (f"live:{WITNESS}", "no_version"),
        (f"demo:{WITNESS}", "never_seen"),
    }
    assert ("group", "by hand") in {(each["field"], each["redis"]) for each in findings}
    assert (summary["users"], summary["wrong"], summary["share_right"]) == (2, 2, 0)


def test_keys_far_apart_keys_of_nobody_and_what_only_redis_has(live: System) -> None:
    trading, redis = live.trading, live.redis
    ids = [*range(1, 90), 2_147_483_647]
    for each in ids:
        trading.insert("live_users", id=each)
    eventually(lambda: all(live.config(each) for each in ids), 60)
    ran = audit(live, "--sample", "50", "--table", "live_users")
    assert (ran.returncode, "50 users compared, 0 wrong" in ran.stderr + ran.stdout) == (0, True), ran.stderr
    ran = audit(live, "--sample", "1000", "--table", "live_users")
    assert f"{len(ids) + 1} users compared, 0 wrong" in ran.stderr + ran.stdout, "the witness too"
    for each in (*ids, WITNESS):
        redis.hset(config_key(each), "leverage", "999")
    users, seed = sampled(live)
    assert len(users) == 10
    assert sampled(live, "--seed", str(seed)) == (users, seed), "a seed takes the same users again"
    for each in (*ids, WITNESS):
        redis.hset(config_key(each), "leverage", "100")
    redis.hset(f"user:{{live:{STRANGE}}}:portfolio", "equity", "1")
    redis.delete("cdc:{live:5}")
    redis.set("cdc:{live:5}", "text")
    findings, _ = found(audit(live, "--json"))
    assert {each["user"]: each["cause"] for each in findings} == {f"live:{STRANGE}": "foreign", "live:5": "wrong_type"}
    _, one = found(audit(live, "--json", "--user", f"live:{STRANGE}"))
    assert (one["users"], one["orphans"], one["wrong"]) == (1, 1, 1)
    redis.delete(f"user:{{live:{STRANGE}}}:portfolio", "cdc:{live:5}")
    trading.insert("live_users", id=-5)
    ran = audit(live, "--table", "live_users")
    assert ran.returncode == 1
    assert ran.stderr.count("audit.unusable") == 1


def sampled(system: System, *arguments: str) -> tuple[set[str], int]:
    """Ten users of whom all are wrong, and the seed that is told."""
    settings = {"CDC_DATABASE__URL": system.database.url, "CDC_AUDIT__SETTLE_S": "0.2"}
    options = ("--json", "--sample", "10", "--table", "live_users", *arguments)
    findings, summary = found(command({**system.environment, **settings}, "audit", *options, seconds=120))
    return {each["user"] for each in findings}, summary["seed"]


def test_what_somebody_else_wrote_and_nobody_can_read(live: System) -> None:
    """Bytes that are no text, in a field and in the name of one, and a version that is none."""
    key = config_key(WITNESS)
    live.redis.execute_command("HSET", key, "group", b"\xff\xfe", b"\xf0their", b"\xf1own")
    (finding,), _ = found(audit(live, "--json", "--table", "live_users"))
    assert (finding["field"], finding["redis"]) == ("group", "\\xff\\xfe")
    settings = {**live.environment, "CDC_DATABASE__URL": live.database.url}
    for options in ([], ["--json"]):
        ran = command(settings, "explain", f"live:{WITNESS}", *options)
        assert (ran.returncode, "group" in ran.stdout) == (0, True), ran.stderr
    live.redis.hset(f"cdc:{{live:{WITNESS}}}", "live_users", "junk")
    ran = audit(live, "--json", "--table", "live_users", "--repair")
    assert [each["mended"] for each in found(ran)[0]] == [False]
    assert "audit.not_mended" in ran.stderr


def test_a_user_of_whom_several_keys_are_left_is_one_orphan(live: System) -> None:
    for key in ("user_balance:live:777", "user:{live:777}:gone"):
        live.redis.set(key, "1.00")
    live.redis.hset(config_key(777), mapping={"group": "VIP"})
    live.redis.hset("user:{live:777}:portfolio", mapping={"group": "VIP"})
    findings, summary = found(audit(live, "--json", "--table", "live_users"))
    assert {each["user"] for each in findings} == {"live:777"}
    assert (summary["orphans"], summary["wrong"]) == (1, 1)
