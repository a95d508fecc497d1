"""The consumers' only way to Redis: a gate in front of each of its servers."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.redis_view import eventually
from tests.support.stack.gate import Gate
from tests.support.stack.redis import Redis
from tests.support.stack.redis_cluster import RedisCluster

_WITHIN_S = 60.0


class Gates:
    """``url`` is what consumers are given. The nodes of a cluster announce the ports of their gates."""

    def __init__(self, server: Redis | RedisCluster) -> None:
        self._server = server
        self.nodes: Sequence[Redis] = server.nodes if isinstance(server, RedisCluster) else (server,)
        self._gates = [Gate(node.host, node.port) for node in self.nodes]
        addresses = ",".join(gate.address for gate in self._gates)
        self.url = f"redis+cluster://{addresses}/" if isinstance(server, RedisCluster) else f"redis://{addresses}/0"
        self.announce()

    def announce(self) -> None:
        """Have the nodes of a cluster announce their gates, and wait until all know and reach each other.

        Only then a message that one node publishes arrives at the subscribers of all. Redis forgets it in a restart.
        """
        if not isinstance(self._server, RedisCluster):
            return
        self._server.announced |= {gate.port: node.port for gate, node in zip(self._gates, self.nodes, strict=True)}
        for gate, node in zip(self._gates, self.nodes, strict=True):
            with node.connect() as client:
                client.config_set("cluster-announce-port", gate.port)
        eventually(lambda: all(self._sees_gates(node) for node in self.nodes), _WITHIN_S, "the nodes do not agree")

    def shut(self) -> None:
        """Break all connections of consumers, and return when the servers have done all that had arrived by them."""
        broken = set().union(*(gate.shut() for gate in self._gates))
        for node in self.nodes:
            with node.connect() as client:
                eventually(lambda client=client: broken.isdisjoint(each["addr"] for each in client.client_list()))  # type: ignore[misc]

    def open(self) -> None:
        for gate in self._gates:
            gate.open()

    def cut_replies(self, count: int) -> None:
        """At each gate so many of the next replies end in the middle."""
        for gate in self._gates:
            gate.cut_replies(count)

    def close(self) -> None:
        for gate in self._gates:
            gate.close()
        if isinstance(self._server, RedisCluster):
            # The nodes hear of it one after the other: until then clients are given the ports of the gates.
            for node in self.nodes:
                with node.connect() as client:
                    client.config_set("cluster-announce-port", 0)

    def _sees_gates(self, node: Redis) -> bool:
        """Whether a node knows the gate of every node, and has a connection to each of the others."""
        with node.connect() as client:
            told: dict[str, dict[str, object]] = client.execute_command("CLUSTER NODES")
        ports = {int(address.partition("@")[0].rpartition(":")[2]) for address in told}
        return ports == {gate.port for gate in self._gates} and all(each["connected"] for each in told.values())
