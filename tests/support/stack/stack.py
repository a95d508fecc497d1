"""All servers of one run: started together, reached by name, ended together."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Self, TypeAlias, TypeVar

from tests.support.stack import docker, roster
from tests.support.stack.announce import Announcer
from tests.support.stack.cache import Cache
from tests.support.stack.child import Children
from tests.support.stack.connect import Connect
from tests.support.stack.errors import StartFailed
from tests.support.stack.kafka import Kafka
from tests.support.stack.login import PROJECT
from tests.support.stack.mariadb import MariaDb
from tests.support.stack.mysql import MySql
from tests.support.stack.native import Place
from tests.support.stack.port import Ports
from tests.support.stack.postgres import Postgres
from tests.support.stack.redis import Redis
from tests.support.stack.redis_cluster import RedisCluster
from tests.support.stack.redis_sentinel import RedisSentinel
from tests.support.stack.registry import Registry
from tests.support.stack.server import Server

T = TypeVar("T", bound=Server)
STATE = PROJECT / ".stack"

AnyRedis: TypeAlias = Redis | RedisSentinel | RedisCluster


class Stack:
    """Running servers. Use it as a context manager: leaving it ends them and removes their data."""

    def __init__(self, servers: Mapping[str, Server], place: Place) -> None:
        self.servers = dict(servers)
        self._place = place

    @classmethod
    def start(
        cls,
        databases: Sequence[str] = ("mysql",),
        redis: Sequence[str] = ("standalone",),
        registry: bool = False,
        *,
        kind: str = "auto",
        ports: Mapping[str, int] | None = None,
        redis_settings: Mapping[str, str] | None = None,
        flush_interval_ms: int = 1_000,
        has_replicas: bool = False,
        has_detour: bool = False,
        logs: Path | None = None,
    ) -> Self:
        """Start the servers and return when each answers; on any failure end what had started.

        ``kind`` is ``native``, ``docker``, or ``auto``: Docker where an engine answers, but native servers after all
        where the containers do not start. ``has_replicas``: the masters of a cluster have one each. ``has_detour``:
        native servers have a listener of Kafka for a gate (:meth:`Kafka.gate`). ``logs`` is where logs go; they are
        kept after a failed start, because its error names them.
        """
        settings = redis_settings or {}
        wanted = roster.Wanted(
            tuple(databases), tuple(redis), registry, settings, flush_interval_ms, has_replicas, has_detour
        )
        if kind != "auto":
            return cls._start_all(kind, wanted, ports or {}, logs)
        if docker.answers():
            try:
                return cls._start_all("docker", wanted, ports or {}, logs)
            except Exception as error:  # the engine's client has many
                print(f"no stack from Docker, starting native servers: {error}", file=sys.stderr)
        return cls._start_all("native", wanted, ports or {}, logs)

    @classmethod
    def _start_all(cls, kind: str, wanted: roster.Wanted, ports: Mapping[str, int], logs: Path | None) -> Self:
        place = _place(ports, logs)
        stack: Self | None = None
        try:
            stack = cls(roster.servers(kind, place, wanted), place)
            stack._start()
        except BaseException as error:
            if stack:
                stack._end()
            _clear(place)
            if not isinstance(error, StartFailed):  # only its text sends a person to the logs
                shutil.rmtree(place.logs, ignore_errors=True)
            raise
        return stack

    @property
    def place(self) -> Place:
        """Where servers live that a test adds; they end with the stack at the latest."""
        return self._place

    @property
    def mysql(self) -> MySql:
        return self._get("mysql", MySql)

    @property
    def kafka(self) -> Kafka:
        return self._get("kafka", Kafka)

    @property
    def connect(self) -> Connect:
        return self._get("connect", Connect)

    @property
    def redis(self) -> AnyRedis:
        """What tests follow: the single server if the run has one, else the sentinels' master or the cluster."""
        if "redis" in self.servers:
            return self._get("redis", Redis)
        return self._get("redis-sentinel", RedisSentinel) if "redis-sentinel" in self.servers else self.redis_cluster

    @property
    def mariadb(self) -> MariaDb:
        return self._get("mariadb", MariaDb)

    @property
    def postgres(self) -> Postgres:
        return self._get("postgres", Postgres)

    def database(self, name: str) -> MySql | Postgres:
        """The database server of that name."""
        return self.postgres if name == "postgres" else self._get(name, MySql)

    @property
    def redis_cluster(self) -> RedisCluster:
        return self._get("redis-cluster", RedisCluster)

    @property
    def registry(self) -> Registry:
        return self._get("registry", Registry)

    def exports(self) -> dict[str, str]:
        """Environment for a shell. Where two servers answer for a name, the first one does."""
        found: dict[str, str] = {}
        for server in self.servers.values():
            found = server.exports() | found
        return found

    def close(self) -> None:
        self._end()
        _clear(self._place)
        shutil.rmtree(self._place.logs, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> None:
        for server in self.servers.values():
            server.runtime.discard()

    def _get(self, name: str, kind: type[T]) -> T:
        server = self.servers.get(name)
        if not isinstance(server, kind):
            raise LookupError(f"the stack was started without {name}; it has {', '.join(self.servers)}")
        return server

    def _start(self) -> None:
        """Everything at once, but for servers that need another one first."""
        with ThreadPoolExecutor(len(self.servers), thread_name_prefix="stack") as pool:
            started: dict[str, Future[None]] = {}
            try:
                for name, server in self.servers.items():
                    before = [started[each] for each in roster.AFTER.get(name, ()) if each in started]
                    started[name] = pool.submit(self._start_one, server, before)
                done, _ = wait(started.values(), return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self._place.children.close()  # so that no thread waits on for a server that nobody wants
                raise

    def _start_one(self, server: Server, before: Sequence[Future[None]]) -> None:
        for future in before:
            future.result()
        with self._place.announcer.step(f"starting {server.name}"):
            server.start()


def _place(ports: Mapping[str, int], logs: Path | None) -> Place:
    data = Path(tempfile.mkdtemp(prefix="cdc-"))
    data.chmod(0o711)  # servers run under another account and reach their own directory in it
    kept = logs or STATE / "logs" / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
    kept.mkdir(parents=True, exist_ok=True)
    return Place(data, kept, Cache(), Children(), Announcer(), Ports(dict(ports)))


def _clear(place: Place) -> None:
    place.children.close()
    shutil.rmtree(place.data, ignore_errors=True)
