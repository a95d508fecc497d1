"""Redis emptied under running members: how soon it is noticed, and how it becomes whole again, with real servers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import NewPartitions

from consumer.pipeline.recovery import REBUILD
from tests.e2e.conftest import WITNESS, System
from tests.e2e.feed import Feed, deposit
from tests.e2e.process import CLI, Process, command
from tests.e2e.test_metrics import Page, asked
from tests.e2e.test_redis_kinds import USERS, balances, on
from tests.support.redis_cluster import TestCluster
from tests.support.redis_view import Listener, eventually
from tests.support.stack.port import Ports

pytestmark = [pytest.mark.stack, pytest.mark.one_redis]


def send(feed: Feed, amount: int, partitions: int = 1) -> None:
    """A deposit of every user, each to the partition that is theirs."""
    for user in USERS:
        record = deposit(user, 1000 * amount + user, wallet_balance=f"{amount}.00")
        feed.producer.send(feed.topic, key=record.key, value=record.value, partition=user % partitions)
    feed.producer.flush()


def lines(process: Process, action: str) -> list[dict[str, Any]]:
    """What was said of it; the last line may not be whole yet."""
    said = [line for line in process.said().splitlines() if f'"{action}"' in line and line.endswith("}")]
    return [json.loads(line) for line in said]


def settings(port: int, **others: str) -> dict[str, str]:
    return {"CDC_METRICS__PORT": str(port), "CDC_LOG__FORMAT": "json", **others}


def is_emptied(port: int) -> bool:
    return Page(asked(port, "/metrics")).value("cdc_redis_emptied") == 1


def seconds_until(what: dict[str, Callable[[], object]]) -> dict[str, float]:
    """For each how long it took from now on. Not asserted: on a busy machine a second is no second."""
    began, took = time.monotonic(), dict[str, float]()
    while left := what.keys() - took.keys():
        assert time.monotonic() - began < 30, f"{left} did not happen"
        took |= {name: round(time.monotonic() - began, 2) for name in left if what[name]()}
    print(f"seconds from FLUSHALL: {took}")
    return took


def test_it_is_noticed_and_the_advised_command_mends_it_as_it_is_written(feed: Feed) -> None:
    """Nothing was said and nothing was done, also not after the next change."""
    port = Ports().take("metrics")
    with feed.running(**settings(port)) as process, closing(Listener(feed.redis)) as listener:
        send(feed, 1)
        eventually(lambda: balances(feed.redis) == {("1.00", "1.00")}, 60)
        eventually(lambda: feed.committed() == len(USERS), 60)
        eventually(lambda: asked(port, "/readyz") == "ok\n", 60)
        feed.redis.flushall()
        seconds_until(
            {
                "log": lambda: lines(process, "redis.emptied"),
                "metric": lambda: is_emptied(port),
                "/readyz": lambda: asked(port, "/readyz").startswith("Redis was emptied, waiting for cdc-consumer"),
            }
        )
        send(feed, 2)
        told = command(feed.environment, "explain", "live:7", "--json")
        assert json.loads(told.stdout)["problems"][0].startswith("Redis was emptied"), told.stdout
        assert balances(feed.redis) == {(None, None)}, "nothing is applied meanwhile"
        (line,) = lines(process, "redis.emptied")
        name, *arguments = line["advice"].split()
        assert (name, line["level"]) == (Path(CLI).name, "error")
        ran = command(feed.environment, *arguments)
        assert ran.returncode == 0, ran.stderr
        eventually(lambda: balances(feed.redis) == {("2.00", "2.00")}, 60)
        eventually(lambda: asked(port, "/readyz") == "ok\n", 60)
        eventually(lambda: feed.committed() == 2 * len(USERS), 60)
        assert not is_emptied(port)
        assert lines(process, "redis.rebuilt")
        listener.caught_up()
        times = Counter((channel, body["event_id"]) for channel, body in listener.take())
        assert set(times.values()) == {1}
        assert len(times) == 2 * 2 * len(USERS), "also what came while it was empty was told"
        assert process.running
        assert not feed.redis.keys("cdc:*:stopped")


def test_each_member_rebuilds_its_own_partitions_and_nobody_is_told(feed: Feed, tmp_path: Path) -> None:
    admin = feed.stack.kafka.admin()
    admin.create_partitions({feed.topic: NewPartitions(2)})
    admin.close()
    with ExitStack() as exits, closing(Listener(feed.redis)) as listener:
        ports = [Ports().take("metrics"), Ports().take("metrics of another")]
        members = []
        for number, port in enumerate(ports):
            environment = {**feed.environment, **settings(port, CDC_REDIS__WHEN_EMPTIED="rebuild")}
            members.append(Process(environment, tmp_path / f"member-{number}.log"))
            exits.callback(members[-1].close)
        send(feed, 1, 2)
        eventually(lambda: balances(feed.redis) == {("1.00", "1.00")}, 60)
        eventually(lambda: all(asked(port, "/readyz") == "ok\n" for port in ports), 60)
        eventually(lambda: len(feed.redis.hgetall(f"cdc:offsets:{feed.environment['CDC_KAFKA__GROUP_ID']}")) == 2, 60)
        feed.redis.flushall()
        seconds_until({"logs": lambda: all(lines(each, "redis.emptied") for each in members)})
        eventually(lambda: all(lines(each, "redis.rebuilt") for each in members), 60)
        assert balances(feed.redis) == {("1.00", "1.00")}
        assert sorted(line["partition"] for each in members for line in lines(each, "redis.rebuilding")) == [0, 1]
        send(feed, 2, 2)
        eventually(lambda: balances(feed.redis) == {("2.00", "2.00")}, 60)
        listener.caught_up()
        times = Counter((channel, body["event_id"]) for channel, body in listener.take())
        assert set(times.values()) == {1}
        assert all(each.running for each in members)
        assert all("Traceback" not in each.said() for each in members)


def test_an_audit_names_the_cause_while_it_is_so(live: System) -> None:
    live.passed(WITNESS)
    key = f"cdc:offsets:{live.environment['CDC_KAFKA__GROUP_ID']}"
    # Of what was not committed yet nothing was remembered, and it would simply be read again.
    eventually(lambda: sum(int(offset) > 0 for offset in live.redis.hvals(key)) == 2, 60)
    live.redis.flushall()
    asking = {**live.environment, "CDC_DATABASE__URL": live.database.url, "CDC_AUDIT__PATIENCE_S": "2"}
    ran = command(asking, "audit", "--json", seconds=120)
    findings = [json.loads(line) for line in ran.stdout.splitlines()[:-1]]
    assert {each["cause"] for each in findings} == {"redis_emptied"}, ran.stdout + ran.stderr
    assert {each["user"] for each in findings} == {f"live:{WITNESS}", f"demo:{WITNESS}"}
    assert command(live.environment, *REBUILD.split()[1:]).returncode == 0
    live.passed(WITNESS)
    ran = command(asking, "audit", "--json", seconds=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_one_master_of_a_cluster_is_emptied(feed: Feed, cluster: TestCluster) -> None:
    feed = on(feed, cluster.url)
    port = Ports().take("metrics")
    running = feed.running(**settings(port, CDC_REDIS__WHEN_EMPTIED="rebuild"))
    with cluster.connect() as client, closing(Listener(client)) as listener, running as process:
        send(feed, 1)
        eventually(lambda: balances(client) == {("1.00", "1.00")}, 60)
        eventually(lambda: feed.committed() == len(USERS), 60)
        with cluster.nodes[0].connect() as node:
            node.flushall()
        assert len(balances(client)) > 1, "some users are gone"
        seconds_until({"log": lambda: lines(process, "redis.emptied")})
        eventually(lambda: lines(process, "redis.rebuilt"), 60)
        assert balances(client) == {("1.00", "1.00")}
        listener.caught_up()
        assert len(listener.take()) == 2 * len(USERS)
        assert process.running
