"""A cluster whose nodes do not know what to call each other, or use names that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest
import redis

from consumer.errors import ConfigError, ServerUnavailable
from consumer.mapping.reference import reference
from consumer.settings.sections import Guard
from consumer.sink.client import connect
from consumer.sink.cluster.plan_slots import slot
from consumer.sink.cluster.topology import Node, named
from consumer.sink.keyspace import keyspace
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.test_sink import BALANCE, CONFIG, apply, plan_of
from tests.support.redis_cluster import MASTERS, TestCluster
from tests.support.redis_view import eventually
from tests.support.stack.redis_cluster import ClusterClient

CLUSTER = pytest.mark.parametrize("redis_kind", ["cluster"], indirect=True, scope="session")
UNNAMED = pytest.mark.parametrize("kind", ["unknown-endpoint", "hostname"])
"""The second: nodes are to be called by host names, and have none; Redis then calls them ``?``."""
SUMMARY = "financial_summary:live:123:day"
TELLER = Node("10.0.0.1", 7001)


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("10.0.0.9", "", "10.0.0.9"),
        ("redis-9.example", "10.0.0.9", "redis-9.example"),
        (None, "10.0.0.9", "10.0.0.1"),
        ("", "", "10.0.0.1"),
        ("?", "10.0.0.9", "10.0.0.9"),
        ("?", "", "10.0.0.1"),
    ],
)
def test_where_a_node_is_that_another_one_speaks_of(host: str | None, address: str, expected: str) -> None:
    assert named(host, 7009, TELLER, address) == Node(expected, 7009)


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(redis.ConnectionError, match=r"calls itself 'a\.\.b', which is no host name"):
        named("a..b", 7009, TELLER)


@pytest.mark.parametrize("host", ["?", "a/b", "h:1", "@", "localhost/9"])
def test_what_a_node_calls_itself_is_never_read_as_something_else(host: str) -> None:
    settings = settings_of("redis+cluster://user:secret@10.0.0.1:7001/")
    with connect(settings, (host, 7009)) as client:
        at = client.get_connection_kwargs()
    assert (at["host"], at["port"], at["db"], at["username"]) == (host, 7009, 0, "user")


@pytest.fixture
def cluster(redis_kind: TestCluster, client: ClusterClient) -> TestCluster:
    return redis_kind


@contextmanager
def told(cluster: TestCluster, **settings: str) -> Iterator[None]:
    """The nodes are told how to speak of each other, until the end of the block."""
    with ExitStack() as exits:
        clients = [exits.enter_context(node.connect()) for node in cluster.nodes]
        names = [name.replace("_", "-") for name in settings]
        before = [{name: str(client.config_get(name)[name]) for name in names} for client in clients]
        try:
            for client in clients:
                for name, value in zip(names, settings.values(), strict=True):
                    client.config_set(name, value)
            yield
        finally:
            for client, values in zip(clients, before, strict=True):
                for name, value in values.items():
                    client.config_set(name, value)


@pytest.fixture
def make(redis_url: str) -> Iterator[Callable[[], RedisSink]]:
    made: list[RedisSink] = []

    def make() -> RedisSink:
        made.append(RedisSink(settings_of(redis_url), Guard(), reference(), "g"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@CLUSTER
@UNNAMED
def test_a_plan_and_its_wildcard(
    cluster: TestCluster, client: ClusterClient, make: Callable[[], RedisSink], kind: str
) -> None:
    with told(cluster, cluster_preferred_endpoint_type=kind):
        sink = make()
        sink.reach()
        eventually(lambda: sink.index_state() == "warm")
        client.set(SUMMARY, "x")
        assert apply(sink, plan_of("A deposit", 1))[0].is_accepted
        assert client.get(BALANCE) == "10000.50"
        eventually(lambda: not client.exists(SUMMARY))


@CLUSTER
@UNNAMED
def test_a_slot_that_has_moved(
    cluster: TestCluster, client: ClusterClient, make: Callable[[], RedisSink], kind: str
) -> None:
    """MOVED names the new master as the map does."""
    with told(cluster, cluster_preferred_endpoint_type=kind):
        sink = make()
        sink.reach()
        assert apply(sink, plan_of("A new live user", 1))[0].is_accepted
        source = cluster.master_of(CONFIG)
        to = next(node for node in cluster.nodes[:MASTERS] if node is not source)
        cluster.move(slot(CONFIG), to)
        try:
            assert apply(sink, plan_of("A deposit", 2))[0].is_accepted
        finally:
            cluster.move(slot(CONFIG), source)
        assert apply(sink, plan_of("The group", 3))[0].is_accepted


@CLUSTER
@UNNAMED
def test_a_slot_that_is_moving(cluster: TestCluster, client: ClusterClient, redis_url: str, kind: str) -> None:
    """ASK names the node that has the key for now."""
    source = cluster.master_of(CONFIG)
    to = next(node for node in cluster.nodes[:MASTERS] if node is not source)
    with (
        told(cluster, cluster_preferred_endpoint_type=kind),
        closing(keyspace(settings_of(redis_url))) as keys,
        source.connect() as giver,
        to.connect() as taker,
    ):
        taker.execute_command("CLUSTER SETSLOT", slot(CONFIG), "IMPORTING", cluster.id_of(source))
        giver.execute_command("CLUSTER SETSLOT", slot(CONFIG), "MIGRATING", cluster.id_of(to))
        try:
            assert keys.ask([("HSET", CONFIG, "group", "VIP"), ("HGET", CONFIG, "group")]) == [1, "VIP"]
            assert taker.execute_command("CLUSTER COUNTKEYSINSLOT", slot(CONFIG)) == 1
            assert giver.execute_command("CLUSTER COUNTKEYSINSLOT", slot(CONFIG)) == 0
        finally:
            cluster.move(slot(CONFIG), to)
            cluster.move(slot(CONFIG), source)


@CLUSTER
def test_a_name_that_leads_nowhere_is_one_sentence(cluster: TestCluster, make: Callable[[], RedisSink]) -> None:
    names = {"cluster_announce_hostname": "nowhere.invalid", "cluster_preferred_endpoint_type": "hostname"}
    with told(cluster, **names):
        eventually(lambda: b"nowhere.invalid" in repr(_slots(cluster)).encode())
        with pytest.raises(ServerUnavailable, match=r"connecting to nowhere\.invalid:\d+") as failed:
            make().reach()
        assert failed.value.cause == "gaierror"
        assert "cluster-announce-hostname" in failed.value.advice
    make().reach()


def _slots(cluster: TestCluster) -> object:
    with cluster.nodes[0].connect() as client:
        return client.execute_command("CLUSTER SLOTS")


def test_a_url_whose_host_is_no_name() -> None:
    with pytest.raises(ConfigError, match="CDC_REDIS__URL"):
        connect(settings_of("redis://a..b:6379"))
