"""A Redis Cluster of three masters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis as client

from tests.support.stack import redis
from tests.support.stack.native import Launch, Place, Process
from tests.support.stack.nodes import Nodes
from tests.support.stack.port import BUS
from tests.support.stack.redis import Redis
from tests.support.stack.server import Server

NODES = 3
SLOTS = 16_384
AGREEMENT_TIMEOUT_S = 30.0
_SET_UP_TIMEOUT_S = 60.0
SETTINGS = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", "cluster-require-full-coverage": "yes"}


_OF_EVERY_NODE = ("ACL", "CONFIG", "CONFIG SET")
_OF_EVERY_MASTER = ("SCRIPT", "FUNCTION", "SCRIPT FLUSH", "FUNCTION FLUSH")


class ClusterClient(client.RedisCluster):
    """Does to all nodes what tests do to one server."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        if args[0] in _OF_EVERY_NODE:
            kwargs["target_nodes"] = self.ALL_NODES
        elif args[0] in _OF_EVERY_MASTER:
            kwargs["target_nodes"] = self.PRIMARIES
        answer = super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call]
        if args[:2] == ("FUNCTION", "LIST"):
            return [each for of_one in answer.values() for each in of_one]
        return answer

    def dbsize(self, **kwargs: Any) -> int:
        masters: Any = self.get_primaries()  # type: ignore[no-untyped-call]
        return sum([int(self.execute_command("DBSIZE", target_nodes=each)) for each in masters])

    def mset(self, mapping: Mapping[Any, Any]) -> Any:
        return self.mset_nonatomic(mapping)

    def keys(self, pattern: Any = "*", **kwargs: Any) -> Any:
        """Without the versions beside balances."""
        return [key for key in self.scan_iter(match=pattern, **kwargs) if not key.endswith("}:v")]


class RedisCluster(Server):
    """The cluster; ``nodes`` are its masters, each with faults of its own."""

    name = "redis-cluster"

    def __init__(self, nodes: Sequence[Redis]) -> None:
        super().__init__(Nodes(nodes), nodes[0].host, nodes[0].port)
        self.nodes = tuple(nodes)
        self.announced: dict[int, int] = {}
        """Ports of nodes by the ports under which they announce themselves, where these are others."""

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes)}/"

    def connect(self) -> client.Redis:
        """A client that answers with text, and does what tests do with that of one server."""
        return cast(
            client.Redis,
            ClusterClient(host=self.host, port=self.port, decode_responses=True, address_remap=self._own_address),
        )

    def _own_address(self, announced: tuple[str, int]) -> tuple[str, int]:
        host, port = announced
        return host, self.announced.get(port, port)

    def ping(self) -> None:
        for node in self.nodes:
            node.ping()
            if self._set_up_done and not _agrees(node):
                raise ConnectionError(f"{node.name} is not in the cluster yet")

    def set_up(self) -> None:
        """Deal out the slots, introduce the nodes, and wait until each knows of all."""
        share = -(-SLOTS // NODES)
        for number, node in enumerate(self.nodes):
            # A node that is sent these twice answers an error.
            with node.connect_once(_SET_UP_TIMEOUT_S) as connection:
                slots = range(number * share, min((number + 1) * share, SLOTS))
                connection.execute_command("CLUSTER ADDSLOTS", *slots)
                connection.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        # Only then: a node that knows another one refuses an epoch.
        for node in self.nodes:
            with node.connect() as connection:
                connection.execute_command("CLUSTER MEET", self.host, self.port)
        deadline = time.monotonic() + AGREEMENT_TIMEOUT_S
        while not all(_agrees(node) for node in self.nodes):
            if time.monotonic() > deadline:
                raise self._failed("its nodes did not agree")
            time.sleep(0.05)

    def exports(self) -> dict[str, str]:
        return {"CDC_REDIS__URL": self.url, "STACK_REDIS_CLUSTER_URL": self.url}


def _agrees(node: Redis) -> bool:
    with node.connect() as connection:
        info = connection.execute_command("CLUSTER INFO")
    found: Mapping[str, str] = info if isinstance(info, dict) else {}
    return found.get("cluster_state") == "ok" and int(found.get("cluster_known_nodes", 0)) == NODES


def native(place: Place, settings: Mapping[str, str] | None = None) -> RedisCluster:
    """The nodes as processes; ``settings`` are lines of redis.conf for each."""
    lines = SETTINGS | dict(settings or {})
    return RedisCluster([_node(place, f"redis-cluster-{number}", lines) for number in range(1, NODES + 1)])


def _node(place: Place, name: str, settings: Mapping[str, str]) -> Redis:
    port = place.ports.take(name, BUS)
    node = Redis(Process(place, name, lambda: Launch(redis.command(place, name, port, settings))), place.host, port)
    node.name = name
    return node
