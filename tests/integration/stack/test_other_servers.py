"""The servers beside the default ones: MariaDB, PostgreSQL, a Redis Cluster, sentinels, a schema registry."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.stack import MissingTool, Stack
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PLUGINS = (
    "io.debezium.connector.mariadb.MariaDbConnector",
    "io.debezium.connector.postgresql.PostgresConnector",
    "io.apicurio.registry.utils.converter.AvroConverter",
)


@pytest.fixture(scope="module")
def others() -> Iterator[Stack]:
    try:
        running = Stack.start(("mariadb", "postgres"), ("sentinel", "cluster"), registry=True)
    except MissingTool as missing:
        pytest.skip(str(missing))
    with running:
        yield running


@pytest.mark.parametrize("name", ["mariadb", "postgres"])
def test_a_database_has_the_reference_schema_and_keeps_rows_over_a_kill(others: Stack, name: str) -> None:
    server = others.database(name)
    quote = server.quote
    with server.connect(server.logins.app) as connection:
        tables = Trading(connection, quote)
        tables.clear()
        tables.insert("live_users", id=1, wallet_balance="10.5")
        tables.update("live_users", 1, group="vip")

    server.kill()
    server.start()

    with server.connect(server.logins.app) as connection:
        assert Trading(connection, quote).row("live_users", 1, "group", "leverage") == ("vip", 100)
    with server.connect(server.logins.reader) as connection, pytest.raises(Exception, match="denied"):
        Trading(connection, quote).row("live_users", 1, "name")


def test_a_frozen_postgres_answers_nobody(others: Stack) -> None:
    """Its processes have groups of their own, so stopping the first one alone would not do."""
    with others.postgres.connect() as connection:
        connection.execute("SET statement_timeout = 0")
        others.postgres.freeze()
        try:
            with pytest.raises(Exception, match="timeout"):
                others.postgres.ping()
        finally:
            others.postgres.thaw()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cluster_comes_back_after_a_kill_of_all(others: Stack) -> None:
    cluster = others.redis_cluster
    cluster.kill()
    cluster.start()
    with cluster.connect() as client:
        for number in range(20):
            client.set(f"key:{number}", number)
            assert client.get(f"key:{number}") == str(number)
    assert {node.runtime.running for node in cluster.nodes} == {True}


def test_the_sentinels_come_back_after_a_kill_of_all(others: Stack) -> None:
    assert others.redis.name == "redis-sentinel"
    others.redis.kill()
    others.redis.start()
    with others.redis.connect() as client:
        assert client.set("key", "1")
        assert client.info("replication")["connected_slaves"] == 1


def test_connect_has_the_plugins_and_the_registry_answers(others: Stack) -> None:
    assert httpx.get(f"{others.registry.url}/subjects").json() == []
    found = httpx.get(f"{others.connect.url}/connector-plugins", params={"connectorsOnly": "false"}).json()
    assert set(PLUGINS) <= {each["class"] for each in found}
