"""``cdc-consumer run`` as a program: started with little, stopped, killed, fed with what it can't use."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from kafka import TopicPartition

from tests.e2e.conftest import WITNESS, System
from tests.e2e.feed import Feed, deposit
from tests.e2e.process import Process, command
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack
CHANGES, USERS = 5000, 50
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"


def test_three_settings_follow_a_prefix_that_somebody_else_chose(system: System, tmp_path: Path) -> None:
    names = ("CDC_KAFKA__BOOTSTRAP_SERVERS", "CDC_KAFKA__TOPIC_PREFIX", "CDC_REDIS__URL")
    process = Process({name: system.environment[name] for name in names}, tmp_path / "log")
    try:
        eventually(lambda: system.config(WITNESS))
        with urllib.request.urlopen("http://127.0.0.1:9108/metrics") as answer:
            assert b"cdc_changes_total" in answer.read()
    finally:
        process.close()


def test_probes_and_a_stop_in_good_order(system: System) -> None:
    port = Ports().take("metrics")

    def status(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    with system.running(CDC_METRICS__PORT=str(port)) as process:
        eventually(lambda: system.config(WITNESS))
        assert status("/healthz") == 200
        eventually(lambda: status("/readyz") == 200)
        assert status("/elsewhere") == 404
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert "run.stopped" in process.said()
    assert committed(system) == 2, "both snapshot reads were committed at the end"


def test_interrupted_by_hand(system: System) -> None:
    with system.running() as process:
        eventually(lambda: system.config(WITNESS))
        process.send(signal.SIGINT)
        assert process.wait() == 130
    assert "Traceback" not in process.said()


def test_killed_in_the_middle_of_changes_it_goes_on_and_doubles_nothing(system: System) -> None:
    """Kill -9 during 5,000 changes: in the end every user is right, and each change was told once on each channel."""
    for user_id in range(1, USERS + 1):
        system.trading.insert("live_users", id=user_id, wallet_balance=0)
    with system.running():
        eventually(lambda: all(system.config(user_id) for user_id in range(1, USERS + 1)))
    system.listener._heard.clear()
    with system.running() as process:
        eventually(lambda: "partitions assigned" in process.said())
        for change in range(CHANGES):
            user_id, amount = change % USERS + 1, Decimal(change) / 100 + 1
            if change % 10 == 9:
                system.trading.update("live_users", user_id, wallet_balance=amount, group=f"G{change}")
            else:
                system.trading.update("live_users", user_id, wallet_balance=amount)
            if change == CHANGES // 2:
                process.send(signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL
    with system.running():
        rows = {
            user_id: system.trading.row("live_users", user_id, "wallet_balance", "group")
            for user_id in range(1, USERS + 1)
        }

        def equal() -> bool:
            return all(
                Decimal(system.field(user_id, "wallet_balance") or "-1") == balance
                and Decimal(system.balance(user_id)) == balance
                and system.field(user_id, "group") == group
                for user_id, (balance, group) in rows.items()
            )

        eventually(equal, 60)
        eventually(lambda: len(system.listener._heard) >= CHANGES * 2 + CHANGES // 10 * 2, 60)
    told = Counter(channel for channel, message in system.listener.heard() if message["event_type"] != "user_created")
    changed_groups = CHANGES // 10
    assert told == {
        "user_updates": CHANGES,
        "balance_updates": CHANGES,
        "admin_user_updates": changed_groups,
        "group_updates": changed_groups,
    }
    ids = Counter((channel, message["event_id"]) for channel, message in system.listener.heard())
    assert set(ids.values()) == {1}


@pytest.mark.one_redis  # MONITOR
def test_a_second_group_reads_everything_again_and_moves_nothing(system: System) -> None:
    with system.running():
        for amount in range(1, 20):
            system.trading.update("live_users", WITNESS, wallet_balance=amount)
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "19.00")
    system.listener.heard()
    system.listener._heard.clear()
    with system.redis.monitor() as monitor, system.running(CDC_KAFKA__GROUP_ID="another"):
        eventually(lambda: (committed(system, group="another") or 0) >= 21, 60, "it did not read them all")
        system.redis.echo("end")
        commands = []
        while (line := monitor.next_command()["command"]) != "ECHO end":
            commands.append(line)
    assert sum(line.startswith("FCALL") for line in commands) >= 21, "it did read them"
    writes = ("HSET", "SET ", "UNLINK", "DEL", "PUBLISH", "HDEL", "EXPIRE", "HSETNX", "PERSIST")
    written = [line for line in commands if line.upper().startswith(writes) and " cdc:member:" not in line]
    assert all(line.startswith(("HSET cdc:offsets:another ", "HSETNX cdc:offsets:another:")) for line in written)
    assert system.listener.heard() == []


def test_waits_for_servers_and_topics_that_come_later(system: System) -> None:
    system.stack.redis.stop()
    try:
        with system.running() as process:
            eventually(lambda: "start.waiting" in process.said())
            system.stack.redis.start()
            eventually(lambda: system.config(WITNESS), 30)
    finally:
        system.stack.redis.start()


def test_what_it_waits_for_is_said_again(feed: Feed) -> None:
    """At the start, and later; the setting says how often."""
    often = {"CDC_LOG__REPEAT_S": "0.5", "CDC_LOG__FORMAT": "json"}

    def said(process: Process, action: str) -> list[str]:
        """Since when, of each line."""
        lines = [line for line in process.said().splitlines() if f'"{action}"' in line and line.endswith("}")]
        return [str(json.loads(line).get("since")) for line in lines]

    feed.stack.redis.freeze()
    try:
        with feed.running(**often, CDC_REDIS__TIMEOUT_MS="200") as process:
            eventually(lambda: len(said(process, "start.waiting")) >= 3, 30)
            assert len(set(said(process, "start.waiting"))) == 1
            feed.stack.redis.thaw()
            eventually(lambda: "run.following" in process.said(), 30)
            feed.send(deposit(1, 0))
            eventually(lambda: feed.committed() == 1, 30)
            feed.stack.redis.freeze()
            eventually(lambda: len(said(process, "redis.waiting")) >= 3, 30)
            assert len(set(said(process, "redis.waiting"))) == 1
            feed.stack.redis.thaw()
            eventually(lambda: said(process, "redis.resumed"), 30)
            assert len(said(process, "redis.resumed")) == 1
    finally:
        feed.stack.redis.thaw()


@pytest.mark.one_redis
def test_another_mapping_by_the_runbook(system: System, tmp_path: Path) -> None:
    """Its steps in their order; the command that removes the old keys is the page's own."""
    names = {
        "user:{<type>:<id>}:config": "trader:{<type>:<id>}:config",
        "user_balance:<type>:<id>": "money:<type>:<id>",
    }
    old, new = ("user:*:config", "user_balance:*"), ("trader:*:config", "money:*")

    def count(patterns: Sequence[str]) -> list[int]:
        return [len(system.redis.keys(each)) for each in patterns]

    with system.running():
        eventually(lambda: count(old) == [2, 2])
    mapping = command({}, "mapping").stdout
    for before, after in names.items():
        assert f'"{before}"' in mapping
        mapping = mapping.replace(f'"{before}"', f'"{after}"')
    file = tmp_path / "new.toml"
    file.write_text(mapping)
    assert command({}, "mapping", "--mapping", str(file)).returncode == 0
    changed = {"CDC_MAPPING": str(file), "CDC_DATABASE__URL": system.database.url, "CDC_AUDIT__SETTLE_S": "0.5"}
    with system.running(**changed):
        for arguments, wanted in ((("--rebuild",), [0, 0]), (("--rebuild", "--yes"), [2, 2])):
            ran = command({**system.environment, **changed}, "replay", *arguments)
            assert (ran.returncode, count(new)) == (0, wanted), ran.stderr
        system.trading.update("live_users", WITNESS, wallet_balance=5)
        eventually(lambda: system.redis.get(f"money:live:{WITNESS}") == "5.00")
        assert system.balance(WITNESS) == "0.00", "the old key stays, and nothing changes it"
        section = RUNBOOKS.read_text().partition("\n## Another mapping\n")[2].partition("\n## ")[0]
        (line,) = re.findall(r"`(redis-cli --scan [^`]*)`", " ".join(section.split()))
        at = system.redis.get_connection_kwargs()
        line = line.replace("redis-cli", f"redis-cli -h {at['host']} -p {at['port']}")
        for each in old:
            shell = ["/bin/sh", "-c", line.replace("OLD:*", each)]
            subprocess.run(shell, check=True, timeout=30, capture_output=True)
        assert (count(old), count(new)) == ([0, 0], [2, 2])
        ran = command({**system.environment, **changed}, "audit")
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_redis_away_for_a_while_loses_nothing(system: System) -> None:
    with system.running() as process:
        eventually(lambda: system.config(WITNESS))
        system.stack.redis.freeze()
        for amount in range(1, 20):
            system.trading.update("live_users", WITNESS, wallet_balance=amount)
        eventually(lambda: "redis.waiting" in process.said(), 30)
        system.stack.redis.thaw()
        eventually(lambda: system.field(WITNESS, "wallet_balance") == "19.00", 30)
    told = [message["updated_fields"] for channel, message in system.heard(WITNESS) if channel == "balance_updates"]
    assert told == [{"wallet_balance": f"{amount}.00"} for amount in range(1, 20)]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"CDC_KAFKA__BOOTSTRAP_SERVERS": "nowhere"}, "CDC_KAFKA__BOOTSTRAP_SERVERS"),
        ({"CDC_REDIS__URL": "http://x"}, "CDC_REDIS__URL"),
        ({"CDC_METRICS__PORT": "99999"}, "CDC_METRICS__PORT"),
        ({"CDC_CONFIG": "/nowhere/cdc.toml"}, "CDC_CONFIG"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_exit_2(environment: dict[str, str], said: str) -> None:
    ended = command(environment, "run")
    assert ended.returncode == 2
    assert said in ended.stderr


def committed(system: System, only: TopicPartition | None = None, group: str = "") -> int | None:
    """How many records of the user tables the group has committed; None where it has committed nothing."""
    admin = system.stack.kafka.admin()
    try:
        offsets = admin.list_consumer_group_offsets(group or system.environment["CDC_KAFKA__GROUP_ID"])
        found = [each.offset for part, each in offsets.items() if only in (None, part) and each.offset >= 0]
    finally:
        admin.close()
    return sum(found) if found else None
