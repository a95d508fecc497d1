"""A cluster or a service of sentinels that changes under load: in the end all is right, each message went out once."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from consumer.errors import Reconnected, ServerUnavailable
from consumer.events.record import Partition
from consumer.mapping.reference import reference
from consumer.pipeline.protocols import Applied
from consumer.settings.sections import Guard
from consumer.sink.cluster.plan_slots import slot
from consumer.sink.keyspace import ClusterKeyspace
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.load import USERS, Ears, Load, expected, plans_of
from tests.support.redis_cluster import MASTERS, TestCluster
from tests.support.redis_sentinel import TestSentinel
from tests.support.redis_server import RedisServer, program
from tests.support.redis_view import dump, eventually

CONFIG = "user:{{live:{}}}:config"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """One that soon gives up a node that is silent."""
    cluster = TestCluster(program("machine"), tmp_path_factory.mktemp("cluster"), node_timeout_ms=1000)
    cluster.start()
    yield cluster
    cluster.end()


@pytest.fixture
def tracking() -> bool:
    return True


@pytest.fixture
def sink(tracking: bool, cluster: TestCluster) -> Iterator[RedisSink]:
    eventually(cluster.is_whole, 30)
    with cluster.connect() as client:
        client.flushall()
    settings = settings_of(cluster.url, timeout_ms=500, tracking=tracking)
    sink = RedisSink(settings, Guard(), reference(), "g")
    sink.reach()
    yield sink
    sink.close()


def elsewhere(cluster: TestCluster) -> list[RedisServer]:
    """Two nodes to which nothing happens: what any node publishes is heard at all."""
    master = cluster.master_of(CONFIG.format(1))
    return [node for node in cluster.nodes if node not in (master, cluster.replica_of(master))][:2]


def judged(load: Load, sink: RedisSink, cluster: TestCluster, ears: Ears, *, is_cut: bool = False) -> None:
    eventually(cluster.is_whole, 30, "the cluster does not heal")
    wanted, heard = load.messages(), ears.heard()
    everywhere: Counter[tuple[str, str]] = Counter()
    for counts in heard:
        everywhere |= counts
    # A master that goes between sending and telling its replica leaves one batch of which nobody knows.
    assert len({event.partition("/")[2] for _, event in everywhere - wanted}) <= (1 if is_cut else 0), "told twice"
    assert wanted - everywhere == Counter(), "not told"
    with cluster.connect() as client:
        stored = dump(client)
        assert stored == expected(sink, client, load.rounds)


def test_slots_that_move_key_by_key(cluster: TestCluster, sink: RedisSink) -> None:
    with closing(Ears(elsewhere(cluster))) as ears:
        load = Load(sink)
        with load.going_on():
            for user_id in (1, 2, 3):
                for key in (CONFIG.format(user_id), f"user_balance:live:{user_id}"):
                    source = cluster.master_of(key)
                    to = next(node for node in cluster.nodes[:MASTERS] if node is not source)
                    cluster.move(slot(key), to, pause_s=0.1)
                    load.wait(1)
        judged(load, sink, cluster, ears)


def test_a_replica_is_promoted_and_back(cluster: TestCluster, sink: RedisSink) -> None:
    with closing(Ears(elsewhere(cluster))) as ears:
        load = Load(sink)
        with load.going_on():
            master = cluster.master_of(CONFIG.format(1))
            replica = cluster.replica_of(master)
            cluster.promote(replica)
            load.wait(3)
            eventually(cluster.is_whole, 30)
            cluster.promote(master)
        judged(load, sink, cluster, ears)


def test_a_master_is_killed(cluster: TestCluster, sink: RedisSink) -> None:
    with ExitStack() as exits:
        load = Load(sink)
        master = cluster.master_of(CONFIG.format(1))
        ears = exits.enter_context(closing(Ears(elsewhere(cluster))))
        with load.going_on():
            master.end()
            load.wait(1)
            master.start()
        judged(load, sink, cluster, ears, is_cut=True)


def test_a_master_hangs_until_another_has_its_place(cluster: TestCluster, sink: RedisSink) -> None:
    with closing(Ears(elsewhere(cluster))) as ears:
        load = Load(sink)
        with load.going_on():
            master = cluster.master_of(CONFIG.format(1))
            master.send(signal.SIGSTOP)
            try:
                load.wait(2)
            finally:
                master.send(signal.SIGCONT)
        judged(load, sink, cluster, ears, is_cut=True)


def test_a_master_without_replicas_that_was_replaced(cluster: TestCluster) -> None:
    """It is cut off from the other nodes, and takes itself for the master."""
    key = CONFIG.format(1)
    eventually(cluster.is_whole, 30)
    master = cluster.master_of(key)
    with closing(ClusterKeyspace(settings_of(cluster.url))) as keys, master.connect() as client:
        assert keys.ask([("HSET", key, "a", 1)]) == [1]
        try:
            client.config_set("min-replicas-to-write", 1)
            cluster.replace_unseen(master)
            eventually(lambda: client.info("replication")["min_slaves_good_slaves"] == 0)
            (refusal,) = keys.ask([("HSET", key, "b", 2)])
            assert str(refusal).startswith("NOREPLICAS")
            assert keys.ask([("HSET", key, "b", 2)]) == [1]
        finally:
            client.config_set("min-replicas-to-write", 0)
            cluster.reunite(master)
    eventually(cluster.is_whole, 30, "the cluster does not heal")


@pytest.mark.parametrize("tracking", [True, False])
def test_what_is_derived_goes_also_while_a_master_changes(cluster: TestCluster, sink: RedisSink) -> None:
    """Somebody writes the wildcard keys of all users all the time, until the last round has begun."""
    with cluster.connect() as client:

        def write() -> None:
            for user_id in USERS:
                client.set(f"financial_summary:live:{user_id}:{time.time_ns() % 7}", "stale")

        load = Load(sink, before=write)
        with load.going_on():
            cluster.promote(cluster.replica_of(cluster.master_of(CONFIG.format(1))))
        eventually(lambda: not client.keys("financial_summary:*"), what=str(client.keys("financial_summary:*")))


@pytest.mark.parametrize("how", ["killed", "hung"])
def test_sentinels_name_another_master(tmp_path: Path, how: str) -> None:
    service = TestSentinel(program("machine"), tmp_path, down_after_ms=1000)
    service.start()
    sink = RedisSink(settings_of(service.url, timeout_ms=500), Guard(), reference(), "g")
    sink.reach()
    first = service.master()
    with ExitStack() as exits:
        exits.callback(service.end)
        exits.callback(sink.close)
        load = Load(sink)
        with load.going_on():
            _leave(first, how)
            eventually(lambda: service.master() is not first, 30)
            load.wait(2)
            _return(first, how)
        with service.connect() as client:
            stored = dump(client)
            assert stored == expected(sink, client, load.rounds)


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_master_that_the_sentinels_have_replaced_is_left(tmp_path: Path, may_ask: bool) -> None:
    """It is cut off from them and from its replica, but not from the program. ``may_ask``: the account may use INFO."""
    service = TestSentinel(program("machine"), tmp_path, down_after_ms=1000)
    service.start()
    first = service.master()
    url = service.url.replace("//", "//consumer:secret@")
    for node in service.nodes:
        with node.connect() as client:
            client.execute_command("ACL", "SETUSER", "consumer", "on", ">secret", "~*", "&*", "+@all")
            if not may_ask:
                client.execute_command("ACL", "SETUSER", "consumer", "-info")
    sink = RedisSink(settings_of(url, timeout_ms=500), Guard(), reference(), "g")
    sink.reach()
    with ExitStack() as exits:
        exits.callback(service.end)
        exits.callback(sink.close)
        load = Load(sink)
        with load.going_on():
            with first.connect() as client:
                client.config_set("min-replicas-to-write", 1)
            service.cut_off(first)
            eventually(lambda: service.master() is not first, 30)
            load.wait(2)
        with service.connect() as client:
            stored = dump(client)
            assert stored == expected(sink, client, load.rounds)
        with first.connect() as client:
            assert client.info("replication")["role"] == "master"


def _leave(server: RedisServer, how: str) -> None:
    if how == "killed":
        server.end()
    else:
        server.send(signal.SIGSTOP)


def _return(server: RedisServer, how: str) -> None:
    if how == "killed":
        server.start()
    else:
        server.send(signal.SIGCONT)


def test_writes_that_the_next_master_never_got_are_noticed(cluster: TestCluster, sink: RedisSink) -> None:
    """What was remembered is lost with them, of this shard alone; done again, all is right."""
    part = Partition("t.db.live_users", 0)
    master = cluster.master_of(CONFIG.format(1))
    replica = cluster.replica_of(master)
    rounds = [plans_of(number) for number in range(1, 4)]
    list(sink.apply(rounds[0]))
    sink.store_offsets({part: 1})
    with master.connect() as client:
        client.wait(1, 5000)
        replica.send(signal.SIGSTOP)
        client.client_kill_filter(_type="replica")
    list(sink.apply(rounds[1]))
    sink.store_offsets({part: 2})
    master.end()
    replica.send(signal.SIGCONT)

    def is_told() -> bool:
        try:
            return all(isinstance(answer, Applied) for _, answer in sink.apply(rounds[2]))
        except ServerUnavailable:
            return False

    with pytest.raises(Reconnected):
        eventually(is_told, 30)
    sink.accept_new_connection()
    assert sink.stored_offsets() == {part: 1}
    for plans in rounds[1:]:
        again = [plan.repeated() for plan in plans]
        answers = [answer for _, answer in sink.apply(again)]
        assert all(isinstance(answer, Applied) for answer in answers)
    master.start()
    eventually(cluster.is_whole, 30)
    with cluster.connect() as view:
        stored = {key: value for key, value in dump(view).items() if not key.startswith("cdc:offsets:")}
        assert stored == expected(sink, view, 3)
