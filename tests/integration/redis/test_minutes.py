"""The minutes that members add to, in every kind of Redis: what is read back, how long it stays, how large it gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from consumer.errors import ServerError
from consumer.mapping.reference import reference
from consumer.pipeline.minutes import Minute
from consumer.settings.sections import Redis
from consumer.sink.minute_store import MinuteStore, hour_key, load
from consumer.sink.rights import wanted
from tests.integration.redis.conftest import is_cluster, settings_of

GROUP = "a group"
FIRST = 29_933_100
DAY = 1440


@pytest.fixture
def server(client: redis.Redis | redis.RedisCluster, redis_url: str) -> Redis:
    return settings_of(redis_url)


def test_members_add_to_the_same_minutes(client: redis.Redis, server: Redis) -> None:
    one, other = MinuteStore(server, GROUP), MinuteStore(server, GROUP)
    one.add(Minute(FIRST, 5, 100))
    other.add(Minute(FIRST, 7, 20))
    one.add(Minute(FIRST, 1, 0))
    other.add(Minute(FIRST + 61, 0, 3))
    MinuteStore(server, "another").add(Minute(FIRST, 1000, 1000))
    found = load(server, GROUP, FIRST, FIRST + 61)
    assert found == [Minute(FIRST, 13, 120), Minute(FIRST + 61, 0, 3)]
    assert load(server, GROUP, FIRST + 1, FIRST + 60) == []
    assert 24 * 3600 < client.ttl(hour_key(GROUP, FIRST // 60)) <= 25 * 3600


def test_what_another_program_wrote_is_left_out(client: redis.Redis, server: Redis) -> None:
    MinuteStore(server, GROUP).add(Minute(FIRST, 5, 100))
    client.hset(hour_key(GROUP, FIRST // 60), mapping={"1d": "x", "99d": "1", "": "", f"{FIRST % 60}l": "-1"})
    assert load(server, GROUP, FIRST, FIRST + 59) == [Minute(FIRST, 5, 0)]


def test_a_day_is_less_than_a_megabyte(client: Any, server: Redis) -> None:
    store = MinuteStore(server, GROUP)
    hours = {hour_key(GROUP, number // 60) for number in range(FIRST, FIRST + DAY + 60)}
    for key in hours:
        busy = {f"{at}{what}": 10**12 for at in range(60) for what in "dl"}
        client.hset(key, mapping=busy)
    store.add(Minute(FIRST, 1, 1))  # with the names that the program writes no field is new
    assert client.hlen(hour_key(GROUP, FIRST // 60)) == 120
    assert sum(client.memory_usage(key) for key in hours) < 1_000_000


@pytest.fixture
def narrow(client: Any, redis_url: str) -> Iterator[Redis]:
    """An account with the rights that `check` prints."""
    everywhere = {"target_nodes": "all"} if is_cluster(client) else {}
    rules = wanted(reference(), GROUP, has_functions=False, is_cluster=is_cluster(client)).split()
    client.execute_command("ACL SETUSER", "narrow", "reset", "on", ">x", *rules, **everywhere)
    yield settings_of(redis_url, "narrow:x")
    client.execute_command("ACL DELUSER", "narrow", **everywhere)


def test_the_rights_that_are_said_to_be_enough_are(client: Any, narrow: Redis) -> None:
    MinuteStore(narrow, GROUP).add(Minute(FIRST, 5, 100))
    assert load(narrow, GROUP, FIRST, FIRST) == [Minute(FIRST, 5, 100)]
    everywhere = {"target_nodes": "all"} if is_cluster(client) else {}
    client.execute_command("ACL SETUSER", "narrow", "-hincrby", **everywhere)
    with pytest.raises(ServerError, match="NOPERM"):
        MinuteStore(narrow, GROUP).add(Minute(FIRST, 5, 100))
