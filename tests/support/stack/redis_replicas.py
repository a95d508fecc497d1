"""Redis servers that follow others: who follows whom, and what they call each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.stack.gate import SERVERS_HOST
from tests.support.stack.redis import Redis

# They connect to each other from SERVERS_HOST, so that a gate knows them from consumers. They announce the address that
# consumers use.
SETTINGS = {
    "protected-mode": "no",  # to Redis, only 127.0.0.1 is this machine
    "bind-source-addr": SERVERS_HOST,
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
}

Pair = tuple[Redis, Redis]
"""A master, and the replica that follows it."""


def pairs(nodes: Sequence[Redis], announced: Mapping[int, int]) -> list[Pair]:
    """Every replica with its master; ``announced`` are ports of nodes by the ports that others know."""
    by_port = {node.port: node for node in nodes}
    found = []
    for node in nodes:
        with node.connect() as client:
            told = client.info("replication")
        if told["role"] == "slave" and told["master_link_status"] == "up":
            port = int(told["master_port"])
            found.append((by_port[announced.get(port, port)], node))
    return found


def is_caught_up(pair: Pair) -> bool:
    """Whether the replica has everything that its master has."""
    master, replica = pair
    with master.connect() as client:
        written = client.info("replication")["master_repl_offset"]
    with replica.connect() as client:
        return bool(client.info("replication")["slave_repl_offset"] >= written)


def is_master(node: Redis) -> bool:
    with node.connect() as client:
        return bool(client.info("replication")["role"] == "master")
