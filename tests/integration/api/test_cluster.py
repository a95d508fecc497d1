"""The health API on a Redis Cluster: the same answers, and its nodes one by one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.api.conftest import BASE, data, failed, following, serving
from tests.integration.api.test_contract import BALANCE, CONFIG, ROW
from tests.support.redis_cluster import TestCluster
from tests.support.redis_server import program
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    cluster = TestCluster(program("machine"), tmp_path_factory.mktemp("cluster"), node_timeout_ms=1000)
    cluster.start()
    yield cluster
    cluster.end()


@pytest.fixture(scope="module")
def client(stack: Stack, cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("api")
    with following(stack, folder, cluster.url) as followed:
        environment = {**followed.kafka, "CDC_DATABASE__URL": stack.mysql.url, "CDC_REDIS__URL": cluster.url}
        with serving(folder / "log", environment) as (client, _):
            yield client


def test_the_four_calls(client: httpx.Client, cluster: TestCluster, trading: Trading) -> None:
    for user in range(120, 130):
        trading.insert("live_users", **ROW | {"id": user, "account_number": f"ACC{user}"})
        data(client.post(f"{BASE}/user/{user}/force-refresh"))
        assert data(client.get(f"{BASE}/user/{user}/consistency"))["is_consistent"]
    assert data(client.get(f"{BASE}/status"))["cache_operations"] == "working"
    with cluster.connect() as redis_client:
        assert redis_client.get(BALANCE) == "10000.50"
        redis_client.hset(CONFIG, "leverage", "7")
        redis_client.set(BALANCE, "1.00")
        wrong = data(client.get(f"{BASE}/user/123/consistency"))
        assert wrong["consistency_check"] == {"balance_matches": True, "cache_matches": False, "all_consistent": False}
        data(client.post(f"{BASE}/user/123/force-refresh"))
        assert (redis_client.hget(CONFIG, "leverage"), redis_client.get(BALANCE)) == ("100", "10000.50")
    found = data(client.get(f"{BASE}/cluster-info"))
    assert len(found["nodes"]) == 3
    assert len({node["port"] for node in found["nodes"]}) == 3
    assert (found["user_config_keys"], found["balance_cache_keys"]) == (10, 10)
    assert found["total_keys"] == sum(node["keys"] for node in found["nodes"])


def test_a_node_that_is_away_is_told_and_comes_back(
    client: httpx.Client, cluster: TestCluster, trading: Trading
) -> None:
    trading.insert("live_users", id=123, **ROW)
    cluster.master_of(CONFIG).end()
    failed(client.get(f"{BASE}/user/123/consistency", timeout=10), 503)
    eventually(lambda: client.post(f"{BASE}/user/123/force-refresh").status_code == 200, 90)
    assert data(client.get(f"{BASE}/user/123/consistency"))["is_consistent"]
