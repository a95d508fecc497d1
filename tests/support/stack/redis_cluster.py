"""A Redis Cluster of three masters, with replicas or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis as client
from redis.cluster import ClusterNode

from tests.support.redis_view import eventually
from tests.support.stack import redis, redis_replicas
from tests.support.stack.native import Place
from tests.support.stack.nodes import Nodes
from tests.support.stack.port import BUS
from tests.support.stack.redis import Redis
from tests.support.stack.redis_replicas import Pair, is_master, pairs
from tests.support.stack.server import Server

MASTERS = 3
SLOTS = 16_384
AGREEMENT_TIMEOUT_S = 60.0
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
    """The cluster; ``nodes`` are its masters and replicas, each with faults of its own."""

    name = "redis-cluster"

    def __init__(self, nodes: Sequence[Redis]) -> None:
        """The first three begin as masters, the others as their replicas."""
        super().__init__(Nodes(nodes), nodes[0].host, nodes[0].port)
        self.nodes = tuple(nodes)
        self.announced: dict[int, int] = {}
        """Ports of nodes by the ports under which they announce themselves, where these are others."""
        self._ports: dict[int, int] = {}

    @property
    def url(self) -> str:
        return self.url_through([node.address for node in self.nodes])

    def url_through(self, addresses: Sequence[str]) -> str:
        """The URL for who reaches the nodes at other addresses."""
        return f"redis+cluster://{','.join(addresses)}/"

    def connect(self) -> client.Redis:
        """A client that answers with text, and does what tests do with that of one server."""
        known = [ClusterNode(node.host, node.port) for node in self.nodes]
        return cast(
            client.Redis,
            ClusterClient(startup_nodes=known, decode_responses=True, address_remap=self._own_address),
        )

    def listening_address(self) -> tuple[str, int]:
        """Host and port of a node that passes on what anybody publishes: each does."""
        node = next(node for node in self.nodes if node.runtime.running)
        return node.host, node.port

    def ping(self) -> None:
        for node in self.nodes:
            node.ping()
        if self._set_up_done and not (self._all_agree() and self._all_see_each_other()):
            raise ConnectionError("the nodes of the cluster do not agree yet")

    def set_up(self) -> None:
        """Deal out the slots, introduce the nodes, and wait until each knows of all."""
        share = -(-SLOTS // MASTERS)
        for number, node in enumerate(self.nodes):
            # A node that is sent these twice answers an error.
            with node.connect_once(_SET_UP_TIMEOUT_S) as connection:
                slots = range(number * share, min((number + 1) * share, SLOTS))
                if number < MASTERS:
                    connection.execute_command("CLUSTER ADDSLOTS", *slots)
                connection.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        # Only then: a node that knows another one refuses an epoch.
        for node in self.nodes:
            with node.connect() as connection:
                connection.execute_command("CLUSTER MEET", self.host, self.port)
        eventually(self._all_agree, AGREEMENT_TIMEOUT_S, "the nodes of the cluster do not agree")
        for number, node in enumerate(self.nodes[MASTERS:]):
            with node.connect() as connection:
                connection.execute_command("CLUSTER REPLICATE", node_id(self.nodes[number]))
        eventually(self.is_whole, AGREEMENT_TIMEOUT_S, "a node of the cluster has no replica")

    def announce(self, ports: Mapping[int, int]) -> None:
        """Have the nodes announce other ports than their own: ``ports`` are these, by their own.

        Returns when all know and reach each other: only then a message that one node publishes is heard at all.
        """
        self.announced |= {announced: port for port, announced in ports.items()}
        for node in self.nodes:
            with node.connect() as connection:
                connection.config_set("cluster-announce-port", ports.get(node.port, 0))
                connection.config_rewrite()
        self._ports = dict(ports)
        eventually(self._all_see_each_other, AGREEMENT_TIMEOUT_S, "the nodes do not agree")
        self.announced = {announced: port for port, announced in ports.items()}

    def pairs(self) -> list[Pair]:
        return pairs(self.nodes, self.announced)

    def promote(self, pair: Pair) -> None:
        """Make the replica of a master that is gone the master, and return when all others know it.

        By TAKEOVER: two votes for one shard need twice the node timeout between them, which is long here.
        """
        master, replica = pair
        gone = _id_at(replica, self._ports.get(master.port, master.port))
        with replica.connect() as connection:
            connection.execute_command("CLUSTER FAILOVER TAKEOVER")
        others = [node for node in self.nodes if node is not master]
        eventually(
            lambda: is_master(replica) and not any(_has_slots(node, gone) for node in others),
            AGREEMENT_TIMEOUT_S,
            "the cluster does not fail over",
        )

    def is_whole(self) -> bool:
        """Whether all nodes agree, and each replica has a master."""
        return self._all_agree() and len(self.pairs()) == len(self.nodes) - MASTERS

    def exports(self) -> dict[str, str]:
        return {"CDC_REDIS__URL": self.url, "STACK_REDIS_CLUSTER_URL": self.url}

    def _own_address(self, announced: tuple[str, int]) -> tuple[str, int]:
        host, port = announced
        return host, self.announced.get(port, port)

    def _all_agree(self) -> bool:
        return all(self._agrees(node) for node in self.nodes)

    def _agrees(self, node: Redis) -> bool:
        with node.connect() as connection:
            info = connection.execute_command("CLUSTER INFO")
        found: Mapping[str, str] = info if isinstance(info, dict) else {}
        return found.get("cluster_state") == "ok" and int(found.get("cluster_known_nodes", 0)) == len(self.nodes)

    def _all_see_each_other(self) -> bool:
        """Whether every node knows the ports of all, and has a connection to each of the others."""
        ports = {self._ports.get(node.port, node.port) for node in self.nodes}
        for node in self.nodes:
            told = nodes_of(node)
            seen = {int(address.partition("@")[0].rpartition(":")[2]) for address in told}
            if seen != ports or not all(each["connected"] for each in told.values()):
                return False
        return True


def nodes_of(node: Redis) -> dict[str, dict[str, Any]]:
    """What a node says of all nodes, by their addresses."""
    with node.connect() as connection:
        told: dict[str, dict[str, Any]] = connection.execute_command("CLUSTER NODES")
    return told


def node_id(node: Redis) -> str:
    with node.connect() as connection:
        return str(connection.execute_command("CLUSTER MYID"))


def _id_at(node: Redis, port: int) -> str:
    """The id of the node that announces this port, as another one knows it."""
    return next(
        str(told["node_id"])
        for address, told in nodes_of(node).items()
        if address.partition("@")[0].endswith(f":{port}")
    )


def _has_slots(node: Redis, other: str) -> bool:
    """Whether a node believes that another one has slots."""
    return any(told["node_id"] == other and told["slots"] for told in nodes_of(node).values())


def native(place: Place, settings: Mapping[str, str] | None = None, *, has_replicas: bool = False) -> RedisCluster:
    """The nodes as processes; ``settings`` are lines of redis.conf for each."""
    lines = SETTINGS | dict(settings or {})
    if has_replicas:
        lines |= redis_replicas.SETTINGS | {"cluster-announce-ip": place.host}
    nodes = []
    for number in range(1, MASTERS * (2 if has_replicas else 1) + 1):
        name = f"redis-cluster-{number}"
        nodes.append(redis.with_file(place, name, place.ports.take(name, BUS), lines))
    return RedisCluster(nodes)
