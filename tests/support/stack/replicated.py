"""A primary and its replica behind one address, and what happens to them: failover and back, logs numbered apart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from tests.support.stack.gate import Gate
from tests.support.stack.mysql import MySql
from tests.support.stack.native import Place

START = Callable[..., MySql]
FAR = 20
"""So many binlog files one server has to be ahead of the other, that restarts do not make up for it."""


def settings(server_id: int) -> dict[str, str]:
    """What a server needs that is to be a replica, and to have replicas once it is the primary."""
    return {"server-id": str(server_id), "log-slave-updates": "ON"}


class Replicated:
    """Two MySQL or MariaDB servers. ``gate`` leads to the primary; whoever connects there outlives a failover."""

    def __init__(self, primary: MySql, replica: MySql) -> None:
        """``replica`` is one whose source is ``primary``."""
        self.primary = primary
        self.replica = replica
        self.gate = Gate(primary.host, primary.port)

    @classmethod
    def made(cls, place: Place, native: START, label: str) -> Self:
        """Two new servers that ``native`` makes; ``label`` begins the names of their folders and logs."""
        primary = native(place, settings(201), label=f"{label}-first")
        return cls(primary, native(place, settings(202), label=f"{label}-second", source=primary))

    def start(self) -> None:
        with ThreadPoolExecutor(1) as pool:  # making a data directory takes seconds
            launched = pool.submit(self.replica.runtime.start)
            self.primary.start()
            launched.result()
        self.replica.start()

    def close(self) -> None:
        """End both servers; their data goes with the stack's."""
        self.gate.close()
        for server in (self.primary, self.replica):
            server.kill()

    def fail_over(self) -> None:
        """Kill the primary, promote the replica, and lead the gate to it. The replica has all that was committed.

        Writers have to be quiet: what the primary commits here and does not pass on is lost to the database itself.
        """
        self.replica.catch_up(self.primary)
        self.primary.kill()
        self.replica.promote()
        self.primary, self.replica = self.replica, self.primary
        self.gate.lead_to(self.primary.host, self.primary.port)

    def rejoin(self) -> None:
        """Start the server that failed, as the replica of the one that was promoted; nothing if it runs."""
        if not self.replica.runtime.running:
            self.replica.start()
            self.replica.follow(self.primary)

    def write_elsewhere(self) -> None:
        """Commit a transaction that no connector captures: on an idle log Debezium stores no newer offset."""
        self.primary.as_origin(
            "CREATE DATABASE IF NOT EXISTS elsewhere",
            "CREATE TABLE IF NOT EXISTS elsewhere.written (id INT AUTO_INCREMENT PRIMARY KEY)",
            "INSERT INTO elsewhere.written VALUES ()",
        )

    def number_logs(self, *, replica_is_lower: bool) -> None:
        """Begin new binlog files until the replica's numbers are far lower, or far higher, than the primary's."""
        low, high = (self.replica, self.primary) if replica_is_lower else (self.primary, self.replica)
        missing = low.log_number() + FAR - high.log_number()
        high.as_origin(*["FLUSH NO_WRITE_TO_BINLOG BINARY LOGS"] * missing, "DO 0")
