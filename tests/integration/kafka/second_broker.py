"""A second broker beside the stack's: it leads partitions, and the first one is the controller and the coordinator."""

from __future__ import annotations

from pathlib import Path

from tests.support.stack import Stack, java, kafka
from tests.support.stack.kafka import Kafka
from tests.support.stack.native import Launch, Process

ID = 2


def second_broker(stack: Stack) -> Kafka:
    """It joins the cluster of the stack's broker when it is started."""
    place = stack.place
    first, home = place.directory("kafka"), place.directory("kafka-2")
    port = place.ports.take("kafka-2")
    address = f"PLAINTEXT://{place.host}:{port}"
    own = {
        "process.roles": "broker",
        "node.id": str(ID),
        "listeners": address,
        "advertised.listeners": address,
        "log.dirs": str(home / "data"),
    }

    def prepare() -> Launch:
        file = java.properties(home / "server.properties", _lines(first / "server.properties") | own)
        (home / "data").mkdir()
        cluster = _lines(first / "data" / "meta.properties")["cluster.id"]
        java.properties(home / "data" / "meta.properties", {"version": "1", "cluster.id": cluster, "node.id": str(ID)})
        return Launch(java.command(home, kafka.libraries(place), "kafka.Kafka", str(file)))

    return Kafka(Process(place, "kafka-2", prepare), place.host, port)


def _lines(file: Path) -> dict[str, str]:
    """A properties file."""
    lines = (line.partition("=") for line in file.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines}
