"""Which servers a run has, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.stack import (
    class_archive,
    connect,
    docker,
    kafka,
    mariadb,
    mysql,
    postgres,
    redis,
    redis_cluster,
    redis_sentinel,
    registry,
)
from tests.support.stack.native import Place
from tests.support.stack.server import Server

NATIVE_DATABASES: Mapping[str, Callable[[Place], Server]] = {
    "mysql": mysql.native,
    "mariadb": mariadb.native,
    "postgres": postgres.native,
}
DATABASES = tuple(NATIVE_DATABASES)
REDIS = ("standalone", "sentinel", "cluster")
KINDS = ("auto", "native", "docker")
# Who waits for whom. Everything else starts at once.
AFTER = {"connect": ("kafka",)}


@dataclass(frozen=True)
class Wanted:
    """What was asked for."""

    databases: tuple[str, ...] = ("mysql",)
    redis: tuple[str, ...] = ("standalone",)
    registry: bool = False
    redis_settings: Mapping[str, str] = field(default_factory=dict)
    flush_interval_ms: int = 1_000
    has_replicas: bool = False
    has_detour: bool = False


def servers(kind: str, place: Place, wanted: Wanted) -> dict[str, Server]:
    """The servers, not started yet, in an order in which each comes after those it waits for."""
    if kind == "docker":
        flush = wanted.flush_interval_ms
        found = docker.servers(place, wanted.databases, wanted.redis, wanted.registry, flush)
    else:
        found = _native(place, wanted)
    return {server.name: server for server in found}


def _native(place: Place, wanted: Wanted) -> list[Server]:
    broker = kafka.native(place, class_archive.option_of(place, "kafka"), has_detour=wanted.has_detour)
    found: list[Server] = [broker, *(NATIVE_DATABASES[name](place) for name in wanted.databases)]
    if "standalone" in wanted.redis:
        found.append(redis.native(place, wanted.redis_settings))
    if "sentinel" in wanted.redis:
        found.append(redis_sentinel.native(place, wanted.redis_settings))
    if "cluster" in wanted.redis:
        found.append(redis_cluster.native(place, wanted.redis_settings, has_replicas=wanted.has_replicas))
    if wanted.registry:
        found.append(registry.native(place))
    if wanted.databases:
        found.append(
            connect.native(
                place,
                broker,
                wanted.databases,
                avro=wanted.registry,
                flush_interval_ms=wanted.flush_interval_ms,
                option=class_archive.option_of(place, "connect"),
            )
        )
    return found
