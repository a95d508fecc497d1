"""Free TCP ports on loopback."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path
from typing import ClassVar

HOST = "127.0.0.1"
LOWEST = 15_000
BUS = 10_000
"""So far above its port a node of a Redis Cluster has its bus."""
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Ports:
    """Hands out ports, each once in this process, whichever object hands it out.

    They lie below the range from which the kernel takes the source port of outgoing connections:
    a server that is stopped and started again on its port must not find a client sitting there.
    Workers of one test run take theirs from different shares: between a look at a port and the start of the server
    that is to have it, another worker would find it free too, and its tests would talk to a server of the first.
    """

    _taken: ClassVar[set[int]] = set()
    """Of all objects: a port is free until its server listens, and two nodes of a cluster would be given one port."""

    def __init__(self, given: dict[str, int] | None = None) -> None:
        self._given = dict(given or {})
        self._taken.update(self._given.values())
        worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
        self._worker = int(worker) if worker.isdecimal() else 0
        self._workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        self._highest = int(EPHEMERAL.read_text().split()[0]) - 1 if EPHEMERAL.exists() else 32_767

    def take(self, name: str, second: int = 0) -> int:
        """The port given for ``name``, else a free one; ``second`` is the distance to another it needs."""
        if name in self._given:
            return self._given[name]
        choices = range(min(LOWEST, self._highest - second - 1_000), self._highest - second)
        for port in random.sample(choices, len(choices)):
            wanted = {port, port + second}
            if not wanted & self._taken and all(self._is_mine(each) and _free(each) for each in wanted):
                self._taken.update(wanted)
                return port
        raise OSError("no free port")

    def _is_mine(self, port: int) -> bool:
        """Two neighbours, and a port with its bus, are of the same share."""
        return port % BUS // 2 % self._workers == self._worker % self._workers


def _free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True
