"""The loop is the same whatever the server and the index are: each server with one way of finding wildcard keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from pydantic import SecretStr

from consumer.mapping.reference import reference
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.support.redis_view import Listener


@pytest.fixture
def sink(redis_url: str, client: redis.Redis) -> Iterator[RedisSink]:
    """A sink that has reached its server."""
    is_new = int(client.info("server")["redis_version"].partition(".")[0]) >= 7
    sink = RedisSink(Redis(url=SecretStr(redis_url), tracking=is_new), Guard(), reference())
    sink.reach()
    yield sink
    sink.close()


@pytest.fixture
def heard(client: redis.Redis) -> Iterator[Listener]:
    """What subscribers get from here on."""
    listener = Listener(client)
    yield listener
    listener.close()
