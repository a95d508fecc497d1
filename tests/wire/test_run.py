"""``cdc-consumer run`` on Avro, keys and values, with a real registry and converter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.e2e.process import running
from tests.support.redis_view import Listener, eventually
from tests.support.stack import Stack
from tests.support.stack.port import Ports
from tests.support.stack.trading import Trading
from tests.wire import changes
from tests.wire.formats import avro_converter, connectors
from tests.wire.relay import Relay

pytestmark = [pytest.mark.stack, pytest.mark.registry]
USER = "user:{live:7}:config"


def told(listener: Listener) -> list[object]:
    """What was said of balances, in order."""
    return [body["updated_fields"] for channel, body in listener.heard(7) if channel == "balance_updates"]


@pytest.fixture
def listener(redis_client: redis.Redis) -> Iterator[Listener]:
    listening = Listener(redis_client)
    yield listening
    listening.close()


@pytest.fixture
def environment(
    stack: Stack, trading: Trading, redis_client: redis.Redis, topic_prefix: str, group_id: str
) -> Iterator[dict[str, str]]:
    """Settings of a consumer whose topics are Avro; the snapshot holds one user of each type."""
    changes.run(trading, changes.BEFORE)
    lines = avro_converter(stack, "key") | avro_converter(stack, "value") | {"decimal.handling.mode": "precise"}
    with connectors(stack, {topic_prefix: lines}):
        yield {
            "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
            "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
            "CDC_KAFKA__GROUP_ID": group_id,
            "CDC_REDIS__URL": stack.redis.url,
            "CDC_METRICS__PORT": "0",
            "CDC_REGISTRY__URL": stack.registry.url,
        }


def test_a_deposit_a_group_and_a_delete(
    trading: Trading, redis_client: redis.Redis, listener: Listener, environment: dict[str, str], tmp_path: Path
) -> None:
    with running(environment, tmp_path / "log") as process:
        eventually(lambda: redis_client.hget("user:{live:900}:config", "wallet_balance") == "5.00", 30)
        trading.insert("live_users", id=7, wallet_balance="100")
        trading.update("live_users", 7, wallet_balance="250.75")
        trading.update("live_users", 7, group="VIP")
        eventually(lambda: redis_client.hget(USER, "group") == "VIP")
        assert redis_client.get("user_balance:live:7") == "250.75"
        trading.delete("live_users", 7)
        eventually(lambda: not redis_client.exists(USER))
        eventually(lambda: len(listener.heard(7)) >= 7)
        heard = [(channel, message["event_type"]) for channel, message in listener.heard(7)]
    assert heard == [
        ("user_updates", "user_created"),
        ("user_updates", "balance_change"),
        ("balance_updates", "balance_change"),
        ("user_updates", "admin_user_update"),
        ("admin_user_updates", "admin_user_update"),
        ("group_updates", "user_group_change"),
        ("user_updates", "user_deleted"),
    ]
    assert "Traceback" not in process.said()


def test_a_registry_away_for_a_while_loses_nothing(
    stack: Stack,
    trading: Trading,
    redis_client: redis.Redis,
    listener: Listener,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """Behind a relay, for the registry itself forgets its schemas with a restart."""
    relay = Relay(Ports().take("relay"), stack.registry.host, stack.registry.port)
    url = stack.registry.url.replace(stack.registry.address, relay.address)
    with running(environment | {"CDC_REGISTRY__URL": url}, tmp_path / "log") as process:
        eventually(lambda: "start.waiting" in process.said(), 30)  # what the topics hold is not known yet
        trading.insert("live_users", id=7, wallet_balance="0")
        for amount in range(1, 20):
            trading.update("live_users", 7, wallet_balance=amount)
        assert redis_client.keys("user*") == []
        with relay.open():
            eventually(lambda: redis_client.hget(USER, "wallet_balance") == "19.00", 30)
        eventually(lambda: len(told(listener)) >= 19)
        assert told(listener) == [{"wallet_balance": f"{amount}.00"} for amount in range(1, 20)]
        # A known schema needs no registry any more, another one does.
        trading.update("live_users", 7, wallet_balance=77)
        eventually(lambda: redis_client.hget(USER, "wallet_balance") == "77.00")
        with stack.mysql.connect() as connection:
            owner = Trading(connection)
            owner.execute(changes.EVOLUTION[0])
            try:
                trading.update("live_users", 7, wallet_balance=78)
                eventually(lambda: "registry.waiting" in process.said(), 30)
                assert redis_client.hget(USER, "wallet_balance") == "77.00"
                with relay.open():
                    eventually(lambda: redis_client.hget(USER, "wallet_balance") == "78.00", 30)
                assert "registry.resumed" in process.said()
            finally:
                owner.execute("ALTER TABLE live_users DROP COLUMN loyalty")


def test_no_registry_configured_stops_it_with_advice(environment: dict[str, str], tmp_path: Path) -> None:
    del environment["CDC_REGISTRY__URL"]
    environment["CDC_DEAD_LETTERS__IN_A_ROW"] = "0"
    with running(environment, tmp_path / "log") as process:
        assert process.wait(40) == 1
    assert "no schema registry is configured" in process.said()
    assert "what to do: if they are Avro: set CDC_REGISTRY__URL" in process.said()
    assert "Traceback" not in process.said()


def test_a_table_altered_in_the_middle_of_a_load(
    stack: Stack,
    trading: Trading,
    redis_client: redis.Redis,
    listener: Listener,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """Each ALTER is another schema id; every change is told once and in its order, by the process that began."""
    trading.insert("live_users", id=7, wallet_balance="0")
    alters = {60: changes.EVOLUTION[0], 120: changes.EVOLUTION[2], 180: changes.EVOLUTION[4], 240: changes.EVOLUTION[6]}
    with running(environment, tmp_path / "log") as process, stack.mysql.connect() as connection:
        eventually(lambda: redis_client.exists(USER), 30)
        try:
            for amount in range(1, 301):
                trading.update("live_users", 7, wallet_balance=amount)
                if amount in alters:
                    Trading(connection).execute(alters[amount])
            eventually(lambda: redis_client.hget(USER, "wallet_balance") == "300.00", 30)
        finally:
            changes.run(Trading(connection), changes.RESTORED)
        eventually(lambda: not redis_client.exists(USER))
        eventually(lambda: len(told(listener)) >= 300)
    assert told(listener) == [{"wallet_balance": f"{amount}.00"} for amount in range(1, 301)]
    for line in ("column.unknown", '"column": "loyalty"', '"column": "tier"', "column.missing", '"sending_orders"'):
        assert line in process.said()
