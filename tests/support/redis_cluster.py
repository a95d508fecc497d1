"""A real Redis Cluster of three masters with a replica each, and what can happen to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from consumer.sink.cluster.plan_slots import SLOTS, slot
from tests.support.moving_slot import MovingSlot
from tests.support.redis_server import RedisServer
from tests.support.redis_view import eventually
from tests.support.stack.redis_cluster import ClusterClient

MASTERS = 3


class TestCluster:
    """Its first three nodes begin as masters, each of the others as the replica of one."""

    __test__ = False

    def __init__(
        self, binary: str, folder: Path, node_timeout_ms: int = 5000, more: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        """``more`` are further settings, asked for once a node."""
        settings = {
            "cluster_enabled": "yes",
            "cluster_node_timeout": str(node_timeout_ms),
            "cluster_replica_validity_factor": "0",
            "repl_diskless_sync_delay": "0",
            "repl_ping_replica_period": "1",
        }
        names = [f"node-{number}" for number in range(2 * MASTERS)]
        self.nodes = [RedisServer(binary, folder / name, settings=settings | dict(more())) for name in names]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[:MASTERS])}/"

    def start(self) -> None:
        """Start the nodes, deal out the slots, and wait until all agree."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.start_is_over()
        share = -(-SLOTS // MASTERS)
        for number, node in enumerate(self.nodes):
            with node.connect_once() as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                if number < MASTERS:
                    slots = range(number * share, min((number + 1) * share, SLOTS))
                    client.execute_command("CLUSTER ADDSLOTS", *slots)
        # Only then: a node that knows another one refuses an epoch.
        for node in self.nodes:
            with node.connect() as client:
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port, self.nodes[0].bus)
        eventually(lambda: all(self._knows_all(node) for node in self.nodes), 30, "the nodes do not meet")
        for number, node in enumerate(self.nodes[MASTERS:]):
            with node.connect() as client:
                client.execute_command("CLUSTER REPLICATE", self.id_of(self.nodes[number]))
        eventually(self.is_whole, 30, "the cluster is not whole")

    def end(self) -> None:
        for node in self.nodes:
            node.end()

    def connect(self) -> ClusterClient:
        """A client that answers with text."""
        return ClusterClient(host="127.0.0.1", port=self.nodes[0].port, decode_responses=True)

    def is_whole(self) -> bool:
        """Whether every node runs, every master has its replica, and all agree on that."""
        return all(self._sees_all(node) for node in self.nodes)

    def id_of(self, node: RedisServer) -> str:
        with node.connect() as client:
            return str(client.execute_command("CLUSTER MYID"))

    def master_of(self, key: str) -> RedisServer:
        """The node that is the master of the key's slot."""
        return next(node for node in self._masters() if self._has(node, slot(key)))

    def move(self, number: int, to: RedisServer, pause_s: float = 0.0) -> None:
        """Move a slot key by key to another master, as a resharding does, with a pause after each key."""
        source = next(node for node in self._masters() if self._has(node, number))
        moving = MovingSlot(number, source, to)
        while moving.move(1):
            time.sleep(pause_s)
        moving.end()

    def promote(self, replica: RedisServer) -> None:
        """Make it master in place of its master, without any loss."""
        with replica.connect() as client:
            client.execute_command("CLUSTER FAILOVER")
            eventually(lambda: client.info("replication")["role"] == "master", 30)

    def replace_unseen(self, master: RedisServer) -> None:
        """Its replica takes its place while it knows no other node; :meth:`reunite` ends that."""
        replica = self.replica_of(master)
        with master.connect() as client, replica.connect() as other:
            client.config_set("cluster-require-full-coverage", "no")
            for node in self.nodes:
                if node is not master:
                    client.execute_command("CLUSTER FORGET", self.id_of(node))
            other.execute_command("CLUSTER FAILOVER", "TAKEOVER")
            eventually(lambda: other.info("replication")["role"] == "master", 30)

    def reunite(self, master: RedisServer) -> None:
        """After :meth:`replace_unseen`: it becomes the replica of the node that has its place."""
        with master.connect() as client:
            client.config_set("cluster-require-full-coverage", "yes")
            for node in self.nodes:
                if node is not master:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", node.port, node.bus)

    def replica_of(self, master: RedisServer) -> RedisServer:
        """A replica that follows it."""
        for node in self.nodes:
            with node.connect() as client:
                told = client.info("replication")
                if told["role"] == "slave" and told["master_port"] == master.port:
                    return node
        raise AssertionError("it has no replica")

    def _masters(self) -> list[RedisServer]:
        found = []
        for node in self.nodes:
            with node.connect() as client:
                if client.info("replication")["role"] == "master":
                    found.append(node)
        return found

    def _has(self, node: RedisServer, number: int) -> bool:
        with node.connect() as client:
            told = client.execute_command("CLUSTER SLOTS")
        return any(first <= number <= last and master[1] == node.port for first, last, master, *_ in told)

    def _knows_all(self, node: RedisServer) -> bool:
        with node.connect() as client:
            told = client.execute_command("CLUSTER INFO")
        return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == len(self.nodes)

    def _sees_all(self, node: RedisServer) -> bool:
        if not self._knows_all(node):
            return False
        with node.connect() as client:
            told = client.execute_command("CLUSTER SLOTS")
            role = client.info("replication")
        has_replicas = all(replicas for _, _, _, *replicas in told)
        return has_replicas and (role["role"] == "master" or role["master_link_status"] == "up")
