"""A Kafka broker that is its own controller (KRaft)."""

from __future__ import annotations

import base64
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.support.stack import java
from tests.support.stack.gate import Gate
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.server import PING_EVERY_S, Runtime, Server

VERSION = "4.3.0"
ADMITS_WITHIN_S = 60.0
PATIENT = {"api_version_auto_timeout_ms": 20_000}
"""For a test's own client: a broker that starts, on a busy machine, may not answer within the client's two seconds."""
_FORMATTED_ID = "AAAAAAAAAAAAAAAAAAAAAA"
ARTIFACTS = (
    *(
        f"org.apache.kafka:{name}:{VERSION}"
        for name in ("kafka_2.13", "connect-runtime", "connect-json", "kafka-tools")
    ),
    # Without this binding the broker logs nothing at all, not even why it ends.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)


@dataclass(frozen=True)
class Detour:
    """A second listener at ``port``. It tells clients that the broker is at the port ``told``, which is for a gate."""

    port: int
    told: int


class Kafka(Server):
    """The broker."""

    name = "kafka"

    def __init__(self, runtime: Runtime, host: str, port: int, detour: Detour | None = None) -> None:
        super().__init__(runtime, host, port)
        self._detour = detour

    @property
    def bootstrap_servers(self) -> str:
        return self.address

    def gate(self) -> Gate:
        """A gate whose clients stay behind it. There can be one at a time."""
        assert self._detour is not None, "the broker was started without a detour"
        return Gate(self.host, self._detour.port, at=self._detour.told)

    def admin(self) -> KafkaAdminClient:
        """A client that is connected. A broker that was frozen or restarted refuses connections for some seconds."""
        deadline = time.monotonic() + ADMITS_WITHIN_S
        while True:
            try:
                return KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
            except KafkaError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PING_EVERY_S)

    def thaw(self) -> None:
        super().thaw()
        self.wait_until_answers()

    def ping(self) -> None:
        self.listens()
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers, api_version_auto_timeout_ms=1_000)
        try:
            admin.list_topics()
        finally:
            admin.close()

    def exports(self) -> dict[str, str]:
        return {"CDC_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers}


def libraries(place: Place) -> Path:
    """The jars of the broker and of Connect, in one folder: most of them are the same."""
    return place.installation(f"kafka-{VERSION}", lambda into: place.maven.libraries(ARTIFACTS, into))


def native(place: Place, option: Callable[[], Sequence[str]] = java.no_options, *, has_detour: bool = False) -> Kafka:
    """A broker with an empty data directory. ``option``: called before the first start, for more options of Java.

    ``has_detour``: :meth:`Kafka.gate` can be called.
    """
    port, controller = place.ports.take("kafka"), place.ports.take("kafka-controller")
    detour = Detour(place.ports.take("kafka-detour"), place.ports.take("kafka-gate")) if has_detour else None

    def prepare() -> Launch:
        home = place.directory("kafka")
        wanted = settings(place.host, port, controller, home / "data")
        if detour:
            _add(wanted, place.host, detour)
        file = java.properties(home / "server.properties", wanted)
        shutil.copytree(_formatted(place), home / "data")
        about = home / "data" / "meta.properties"
        about.write_text(about.read_text().replace(_FORMATTED_ID, _new_id()))
        return Launch(java.command(home, libraries(place), "kafka.Kafka", str(file), options=option()))

    return Kafka(Process(place, "kafka", prepare), place.host, port, detour)


def _add(wanted: dict[str, str], host: str, detour: Detour) -> None:
    wanted["listeners"] += f",DETOUR://{host}:{detour.port}"
    wanted["advertised.listeners"] += f",DETOUR://{host}:{detour.told}"
    wanted["listener.security.protocol.map"] += ",DETOUR:PLAINTEXT"


def _formatted(place: Place) -> Path:
    """A data directory that was formatted. Only the cluster's id is of one broker, and Java starts slowly."""

    def fill(into: Path) -> None:
        home = place.directory("kafka-format")
        file = java.properties(home / "server.properties", settings(place.host, 1, 2, into))
        storage = ("kafka.tools.StorageTool", "format", "-t", _FORMATTED_ID, "-c", str(file))
        place.children.run(java.command(home, libraries(place), *storage), place.log("kafka"), cwd=home)

    return place.cache.entry(f"kafka-{VERSION}-formatted", fill)


def _new_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def settings(host: str, port: int, controller: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{host}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        # One broker: every internal topic has one copy.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # Tests join a group and want their partitions at once, sometimes with a short session.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "delete.topic.enable": "true",
        # How often the cleaner looks for topics to compact; a test waits for it.
        "log.cleaner.backoff.ms": "500",
        # An idle controller writes a record twice a second, which nobody here waits for.
        "metadata.max.idle.interval.ms": "10000",
        # Debezium's signal channel subscribes to a topic that nobody may have made yet.
        "auto.create.topics.enable": "true",
        "num.partitions": "1",
    }
