"""Servers that go away and come back, and a start that is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.e2e.process import command
from tests.integration.api.conftest import BASE, Served, failed, serving
from tests.integration.api.test_contract import CONFIG, ROW
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.trading import Trading

pytestmark = pytest.mark.stack


def test_the_database_goes_and_comes_back(served: Served, trading: Trading, quiet: redis.Redis) -> None:
    trading.insert("live_users", id=123, **ROW)
    served.refresh(123)
    served.database.shut()
    for answer in (served.get("user/123/consistency"), served.post("user/123/force-refresh")):
        said = failed(answer, 503)
        assert said.startswith("database: ")
        assert "127.0.0.1" not in said
    assert served.get("status").status_code == 200
    served.database.open()
    assert served.consistency(123)["is_consistent"]
    assert served.refresh(123)["refreshed_fields"]


@pytest.mark.one_redis
def test_redis_goes_and_comes_back(served: Served, trading: Trading, quiet: redis.Redis) -> None:
    trading.insert("live_users", id=123, **ROW)
    served.refresh(123)
    served.redis.shut()
    unhealthy = served.get("status")
    failed(unhealthy, 503)
    assert unhealthy.json()["data"].items() >= {"status": "unhealthy", "redis_connected": False}.items()
    for path in ("user/123/consistency", "cluster-info"):
        said = failed(served.get(path), 503)
        assert said.startswith("Redis: ")
        assert "127.0.0.1" not in said
    failed(served.post("user/123/force-refresh"), 503)
    served.redis.open()
    quiet.hset(CONFIG, "leverage", "1")
    eventually(lambda: served.get("status").status_code == 200, 30)
    assert served.refresh(123)["refreshed_fields"]["leverage"] == 100
    assert quiet.hget(CONFIG, "leverage") == "100"


def test_a_redis_that_hangs_is_no_reason_to_hang(served: Served, stack: Stack, trading: Trading) -> None:
    """The client's own patience is what the platform's scripts have, with room for a busy machine."""
    trading.insert("live_users", id=123, **ROW)
    stack.redis.freeze()
    try:
        for method, path in (("GET", "status"), ("GET", "user/123/consistency"), ("POST", "user/123/force-refresh")):
            failed(served.client.request(method, f"{BASE}/{path}", timeout=6), 503)
        with ThreadPoolExecutor(60) as many:  # one of them looks, and the others are told what it saw
            asked = [many.submit(served.client.get, f"{BASE}/cluster-info", timeout=15) for _ in range(60)]
            for each in asked:
                failed(each.result(), 503)
    finally:
        stack.redis.thaw()
    eventually(lambda: served.get("status").status_code == 200, 30)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "CDC_API__TOKEN: not set"),
        ({"CDC_API__TOKEN": ""}, "CDC_API__TOKEN: not set"),
        ({"CDC_API__TOKEN": "t" * 16}, "CDC_DATABASE__URL: not set"),
        (
            {"CDC_API__TOKEN": "t" * 16, "CDC_DATABASE__URL": "oracle://u:hid-den@h/d"},
            "CDC_DATABASE__URL: not a database",
        ),
        ({"CDC_API__JWT__SECRET": "hid-den", "CDC_API__JWT__ROLE": "admin"}, "CDC_API__JWT: a JWT needs an audience"),
        (
            {"CDC_API__JWT__SECRET": "hid-den", "CDC_API__JWT__ROLE": "admin", "CDC_API__JWT__AUDIENCE": "health"},
            "CDC_API__JWT__SECRET: too short",
        ),
        (
            {"CDC_API__JWT__PUBLIC_KEY": "/none", "CDC_API__JWT__ROLE": "admin", "CDC_API__JWT__AUDIENCE": "health"},
            "CDC_API__JWT__PUBLIC_KEY: No such file",
        ),
    ],
)
def test_what_it_does_not_start_with(environment: dict[str, str], says: str) -> None:
    ran = command({"CDC_API__PORT": "1", **environment} if "DATABASE" in says else environment, "api")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in ran.stderr
    assert "hid-den" not in ran.stderr


def test_a_refresh_needs_kafka_and_the_rest_does_not(
    served: Served, trading: Trading, quiet: redis.Redis, tmp_path: Path
) -> None:
    """Without it nobody knows how far the consumer is."""
    trading.insert("live_users", id=123, **ROW)
    environment = {**served.environment, "CDC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with serving(tmp_path / "log", environment) as (client, _):
        said = failed(client.post(f"{BASE}/user/123/force-refresh"), 503)
        assert said.startswith("Kafka: ")
        assert "127.0.0.1" not in said
        assert client.get(f"{BASE}/user/123/consistency").status_code == 200
        assert client.get(f"{BASE}/status").status_code == 200
