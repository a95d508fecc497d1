"""How fast something fills Redis, and what it takes of the machine, seen from outside.

Progress is what Redis itself counts: every change sets one balance string, whoever applies it. So one measure serves
every consumer, and asks nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil
import redis

_EVERY_S = 0.02
_SILENCE_S = 60.0
"""So long without a change, and it is given up."""
CONSUMER, REDIS, BROKER = "consumer", "Redis", "broker"


class NotDone(Exception):
    """What was measured ended, or stood still, before it was through."""


@dataclass(frozen=True)
class Rate:
    """Changes a second; microseconds of processor time a change, by role; bytes in memory at most, by role."""

    per_s: float
    cpu_us: Mapping[str, float]
    resident: Mapping[str, int]


@dataclass(frozen=True)
class _Mark:
    """A moment: how many were done, and the processor seconds used."""

    at: float
    done: int
    cpu_s: Mapping[str, float]


class Meter:
    """Watches processes by role while ``done`` rises. ``is_alive`` says whether there is still somebody at work."""

    def __init__(
        self, pids: Mapping[str, Sequence[int]], done: Callable[[], int], is_alive: Callable[[], bool] = lambda: True
    ) -> None:
        self._processes = {role: [psutil.Process(pid) for pid in each] for role, each in pids.items()}
        self._done = done
        self._is_alive = is_alive
        self._resident: dict[str, int] = {}

    def rate(self, begin: int, end: int) -> Rate:
        """Between the moments at which ``begin`` and ``end`` changes were done: the start does not count.

        Raises:
            NotDone: it came to no end.

        """
        first, last = self._reached(begin), self._reached(end)
        count = last.done - first.done
        if count <= 0:
            raise NotDone("all was done before it could be watched: more changes are needed")
        cpu = {role: (last.cpu_s[role] - first.cpu_s[role]) / count * 1e6 for role in last.cpu_s}
        return Rate(count / (last.at - first.at), cpu, dict(self._resident))

    def wait(self, done: int) -> None:
        """Until so many changes are done.

        Raises:
            NotDone: as :meth:`rate`.
        """
        self._reached(done)

    def _reached(self, wanted: int) -> _Mark:
        done, moved_at = -1, time.monotonic()
        while True:
            before, done = done, self._done()
            now = time.monotonic()
            if done > before:
                moved_at = now
            if done >= wanted:
                return self._mark(now, done)
            if not self._is_alive() or now - moved_at > _SILENCE_S:
                raise NotDone(f"{max(done, 0)} of {wanted} changes were done")
            self._look()
            time.sleep(_EVERY_S)

    def _mark(self, now: float, done: int) -> _Mark:
        self._look()
        times = {role: [each.cpu_times() for each in every] for role, every in self._processes.items()}
        return _Mark(now, done, {role: sum(each.user + each.system for each in every) for role, every in times.items()})

    def _look(self) -> None:
        for role, processes in self._processes.items():
            try:
                most = max((each.memory_info().rss for each in processes), default=0)
            except psutil.NoSuchProcess:
                continue
            self._resident[role] = max(most, self._resident.get(role, 0))


def calls(client: redis.Redis, command: str) -> int:
    """How often Redis carried out ``command`` since its counts were last set to nothing, in scripts too."""
    found = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
    return int(found["calls"])


def emptied(client: redis.Redis) -> None:
    """A Redis without keys whose counts begin at nothing."""
    client.flushall()
    client.config_resetstat()
