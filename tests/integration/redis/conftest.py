"""Each kind of Redis there is: one server of each version, a service of sentinels, a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from pydantic import SecretStr

from consumer.settings.sections import Redis
from consumer.sink.keyspace import ClusterKeyspace, Keyspace, OneKeyspace
from tests.support.redis_cluster import TestCluster
from tests.support.redis_sentinel import TestSentinel
from tests.support.redis_server import RedisServer, program

KINDS = ("machine", "bundled", "sentinel", "cluster")
ONE_SERVER = (
    pytest.mark.usefixtures("redis_kind"),
    pytest.mark.parametrize("redis_kind", ["machine", "bundled"], indirect=True, scope="session"),
)
"""For tests of what only a single server shows, or does in one step."""
WITHOUT_CLUSTER = pytest.mark.parametrize("redis_kind", KINDS[:3], indirect=True, scope="session")


@pytest.fixture(scope="session", params=KINDS)
def redis_kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer | TestSentinel | TestCluster]:
    """Real servers without files."""
    binary, folder = program("bundled" if request.param == "bundled" else "machine"), tmp_path_factory.mktemp("redis")
    servers: RedisServer | TestSentinel | TestCluster
    if request.param == "sentinel":
        servers = TestSentinel(binary, folder)
    elif request.param == "cluster":
        servers = TestCluster(binary, folder)
    else:
        servers = RedisServer(binary, folder)
    servers.start()
    yield servers
    servers.end()


@pytest.fixture(scope="session")
def redis_url(redis_kind: RedisServer | TestSentinel | TestCluster) -> str:
    return redis_kind.url


@pytest.fixture
def client(redis_kind: RedisServer | TestSentinel | TestCluster) -> Iterator[redis.Redis | redis.RedisCluster]:
    """A client of servers without keys."""
    with redis_kind.connect() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        yield client


def settings_of(url: str, account: str = "", **others: object) -> Redis:
    """The section of these servers, with ``account`` as ``name:password``."""
    return Redis.model_validate({"url": SecretStr(url.replace("//", f"//{account}@" if account else "//")), **others})


def is_cluster(client: object) -> bool:
    """Whether it is a cluster that a test's client sees."""
    return isinstance(client, redis.RedisCluster)


def keys_of(client: redis.Redis | redis.RedisCluster) -> Keyspace:
    """The keys that a test's client sees."""
    if isinstance(client, redis.RedisCluster):
        node = client.get_primaries()[0]
        return ClusterKeyspace(settings_of(f"redis+cluster://{node.host}:{node.port}/"))
    return OneKeyspace(client)
