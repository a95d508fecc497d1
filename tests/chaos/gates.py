"""The consumers' only way to Redis: a gate in front of each of its servers."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import redis

from tests.support.redis_view import eventually
from tests.support.stack.gate import Gate
from tests.support.stack.redis import Redis
from tests.support.stack.stack import AnyRedis


class Gates:
    """``url`` is what consumers are given. The nodes of a cluster, or their sentinels, tell the ports of the gates."""

    def __init__(self, server: AnyRedis) -> None:
        self._server = server
        self.nodes = server.nodes
        self._gates = [Gate(node.host, node.port) for node in self.nodes]
        self.url = server.url_through([gate.address for gate in self._gates])
        server.announce({node.port: gate.port for gate, node in zip(self._gates, self.nodes, strict=True)})

    def shut(self) -> None:
        """Break all connections of consumers, and return when the servers have done all that had arrived by them."""
        # Of each server by itself: connections to two servers may have the same port.
        broken = [gate.shut() for gate in self._gates]
        for node, of_node in zip(self.nodes, broken, strict=True):
            if node.runtime.running:
                with node.connect() as client:
                    eventually(partial(_are_gone, client, of_node), what=f"{node.name} still has broken connections")

    def open(self) -> None:
        for gate in self._gates:
            gate.open()

    def part(self, node: Redis) -> None:
        """Cut a node off from its replica, which goes on without what the node does from now on."""
        self._gates[self.nodes.index(node)].shut(for_servers=True)

    def join(self, node: Redis) -> None:
        """End :meth:`part`."""
        self._gates[self.nodes.index(node)].open(for_servers=True)

    def cut_replies(self, count: int) -> None:
        """At each gate so many of the next replies end in the middle."""
        for gate in self._gates:
            gate.cut_replies(count)

    def close(self) -> None:
        self._server.announce({})
        for gate in self._gates:
            gate.close()


def _are_gone(client: redis.Redis, broken: Collection[str]) -> bool:
    """Whether the server has none of the connections ``broken`` any more.

    Their ports may have been given to newer connections, such as this client's own. Those have higher ids.
    """
    own = client.client_id()
    return all(each["addr"] not in broken or int(each["id"]) >= own for each in client.client_list())
