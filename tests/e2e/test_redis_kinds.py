"""The program on a cluster and on a service of sentinels, with a real Kafka: a master goes, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.e2e.feed import Feed, deposit
from tests.e2e.process import command
from tests.support.redis_cluster import TestCluster
from tests.support.redis_sentinel import TestSentinel
from tests.support.redis_server import RedisServer, program
from tests.support.redis_view import Client, Listener, eventually

pytestmark = pytest.mark.stack

USERS = range(1, 41)
BALANCE = "wallet_balance"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TestSentinel]:
    service = TestSentinel(program("machine"), tmp_path / "service", down_after_ms=1000)
    service.start()
    yield service
    service.end()


def on(feed: Feed, url: str) -> Feed:
    return replace(feed, environment={**feed.environment, "CDC_REDIS__URL": url, "CDC_REDIS__TIMEOUT_MS": "1000"})


def balances(client: Client) -> set[tuple[object, object]]:
    """Each balance there is, as string and in the hash; none while a node is away."""
    try:
        return {
            (client.get(f"user_balance:live:{user_id}"), client.hget(f"user:{{live:{user_id}}}:config", BALANCE))
            for user_id in USERS
        }
    except redis.RedisError:
        return set()


def deposits(feed: Feed, amount: int) -> None:
    feed.send(*(deposit(user_id, 1000 * amount + user_id, wallet_balance=f"{amount}.00") for user_id in USERS))


def test_a_master_of_a_cluster_is_killed(feed: Feed, cluster: TestCluster) -> None:
    feed = on(feed, cluster.url)
    with ExitStack() as exits:
        client = exits.enter_context(cluster.connect())
        master = cluster.master_of("user:{live:1}:config")
        witness = next(node for node in cluster.nodes if node not in (master, cluster.replica_of(master)))
        listener = exits.enter_context(closing(Listener(exits.enter_context(witness.connect()))))
        process = exits.enter_context(feed.running())
        deposits(feed, 1)
        eventually(lambda: balances(client) == {("1.00", "1.00")}, 60)
        master.end()
        deposits(feed, 2)
        eventually(lambda: balances(client) == {("2.00", "2.00")}, 60)
        master.start()
        eventually(cluster.is_whole, 30)
        deposits(feed, 3)
        eventually(lambda: balances(client) == {("3.00", "3.00")}, 60)
        eventually(lambda: feed.committed() == 3 * len(USERS), 60)
        listener.caught_up()
        times = Counter((channel, body["event_id"]) for channel, body in listener.take())
        assert set(times.values()) == {1}
        assert len(times) == 2 * 3 * len(USERS)
        assert process.running
        assert "Traceback" not in process.said()


def test_another_command_on_a_cluster(feed: Feed, cluster: TestCluster) -> None:
    """Check asks each master; a rebuild finds what was written by hand, wherever it lies."""
    feed = on(feed, cluster.url)
    deposits(feed, 4)
    ran = command(feed.environment, "check")
    assert "ok       redis cluster: its cluster_state is ok" in ran.stdout, ran.stdout
    replay = ("replay", "--from", "beginning", "--to", "end", "--rebuild", "--prune", "--yes")
    with cluster.connect() as client:
        client.flushall()
        client.hset("user:{live:999}:config", "wallet_balance", "9.00")
        client.set("user_balance:live:999", "9.00")
        assert command(feed.environment, *replay).returncode == 0
        assert balances(client) == {("4.00", "4.00")}
        assert not client.exists("user:{live:999}:config", "user_balance:live:999")
        client.set("user_balance:live:7", "0.00")
        again = command(feed.environment, *replay)
        assert again.returncode == 0, again.stderr
        assert balances(client) == {("4.00", "4.00")}


def test_sentinels_name_another_master(feed: Feed, service: TestSentinel) -> None:
    feed = on(feed, service.url)
    first: RedisServer = service.master()
    with feed.running() as process:
        deposits(feed, 1)
        with first.connect() as client:
            eventually(lambda: balances(client) == {("1.00", "1.00")}, 60)
        first.end()
        deposits(feed, 2)
        eventually(lambda: service.master() is not first, 60)
        with service.connect() as client:
            eventually(lambda: balances(client) == {("2.00", "2.00")}, 60)
        eventually(lambda: feed.committed() == 2 * len(USERS), 60)
        first.start()
        assert process.running
        assert "Traceback" not in process.said()
