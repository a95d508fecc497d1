"""Kafka Connect with Debezium's plugins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from consumer.source.connect.client import ConnectApi
from tests.support.stack import java, kafka, registry
from tests.support.stack.archive import unpack_tar
from tests.support.stack.kafka import Kafka
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.server import Server

DEBEZIUM = "3.5.0.Final"
CONVERTER = "org.apache.kafka.connect.json.JsonConverter"


class Connect(Server):
    """The REST address of one Connect worker."""

    name = "connect"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def api(self, timeout_s: float = 30.0) -> ConnectApi:
        """A client. The address is HTTP: to load certificates for each client takes 26 ms of a processor."""
        return ConnectApi(self.url, timeout=timeout_s, transport=httpx.HTTPTransport(verify=False))

    def ping(self) -> None:
        self.listens()  # a client of HTTP costs more, and would be made for each attempt
        with self.api(timeout_s=2.0) as api:
            api.names()  # answers only once the worker is in its group

    def exports(self) -> dict[str, str]:
        return {"CDC_CONNECT__URL": self.url}


def native(
    place: Place,
    broker: Kafka,
    databases: Sequence[str],
    *,
    avro: bool = False,
    flush_interval_ms: int = 1_000,
    option: Callable[[], Sequence[str]] = java.no_options,
) -> Connect:
    """A worker for connectors of ``databases``.

    ``flush_interval_ms`` is how often source offsets are kept: after a kill everything since then is
    sent again, so a test that wants duplicates makes it long. ``option``: as of :func:`kafka.native`.
    """
    port = place.ports.take("connect")

    def prepare() -> Launch:
        home, plugins = place.directory("connect"), place.directory("connect/plugins")
        for database in databases:
            (plugins / database).symlink_to(plugin(place, database))
        if avro:
            (plugins / "avro").symlink_to(registry.converter(place))
        worker = settings(place.host, port, broker.bootstrap_servers, plugins, flush_interval_ms)
        file = java.properties(home / "connect.properties", worker)
        main = "org.apache.kafka.connect.cli.ConnectDistributed"
        command = java.command(home, kafka.libraries(place), main, str(file), heap_mb=1024, options=option())
        return Launch(command)

    return Connect(Process(place, "connect", prepare), place.host, port)


def plugin(place: Place, database: str) -> Path:
    """Debezium's connector for one database, unpacked."""

    def fill(into: Path) -> None:
        artifact = f"io.debezium:debezium-connector-{database}:{DEBEZIUM}:tar.gz:plugin"
        unpack_tar(place.maven.archive(artifact, into), into)

    return place.installation(f"debezium-{database}-{DEBEZIUM}", fill)


def settings(host: str, port: int, bootstrap: str, plugins: Path, flush_interval_ms: int) -> dict[str, str]:
    return {
        "bootstrap.servers": bootstrap,
        "listeners": f"http://{host}:{port}",
        "rest.advertised.host.name": host,
        "group.id": "stack-connect",
        "config.storage.topic": "stack-connect-configs",
        "offset.storage.topic": "stack-connect-offsets",
        "offset.storage.partitions": "1",
        "status.storage.topic": "stack-connect-status",
        "status.storage.partitions": "1",
        **{f"{kind}.storage.replication.factor": "1" for kind in ("config", "offset", "status")},
        "key.converter": CONVERTER,
        "key.converter.schemas.enable": "false",
        "value.converter": CONVERTER,
        "value.converter.schemas.enable": "false",
        "offset.flush.interval.ms": str(flush_interval_ms),
        "plugin.path": str(plugins),
        # Reads the plugins' manifests instead of scanning every class: seconds, and half the memory.
        "plugin.discovery": "service_load",
        # Of its own topics: the broker answers at once when there is a record, and need not be asked twice a second.
        "fetch.max.wait.ms": "10000",
        "scheduled.rebalance.max.delay.ms": "0",
        "topic.creation.enable": "true",
    }
