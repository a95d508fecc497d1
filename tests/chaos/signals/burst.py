"""A program that waits for servers that are away, and a burst of SIGTERM to it: it has to end, and soon."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tests.e2e.process import Process
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports

SIGNALS = 300
_LIMIT_S = 60.0
_READY_S = 240.0
_LEFT_S = 20.0
_LONGEST_GAP_S = 50e-6


class Way(StrEnum):
    """What is started, and who gets the signals."""

    RUN = "run"
    WORKERS = "run --workers 3"
    GROUP = "run --workers 3, its process group"
    API = "api"
    WATCH = "audit --watch"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line."""
        return tuple(self.value.partition(",")[0].split())

    @property
    def ready(self) -> str:
        """What the program says when it has its handlers, and waits."""
        return {Way.API: "api.serving", Way.WATCH: "audit.failed"}.get(self, "start.waiting")


class Started(Protocol):
    """A process that was started."""

    pid: int

    def wait(self, seconds: float) -> int:
        """The exit code, 128 + N for signal N. Raises subprocess.TimeoutExpired."""
        ...

    def said(self) -> str:
        """Everything it wrote."""
        ...

    def close(self) -> None:
        """Kill it, if it is still there."""
        ...


@dataclass(frozen=True)
class Outcome:
    """``code`` is None for a program that hangs; ``left``: processes of its group that outlive it for long."""

    way: Way
    code: int | None
    seconds: float
    left: int
    said: str

    @property
    def is_well(self) -> bool:
        """It ended as if one signal had come."""
        return self.code == 0 and self.left == 0 and "Traceback" not in self.said

    def __str__(self) -> str:
        end = "hangs" if self.code is None else f"exit code {self.code} after {self.seconds:.1f} s"
        return f"{self.way}: {end}, {self.left} processes left"


def away(ports: Ports) -> dict[str, str]:
    """An environment in which no server is there."""
    return {
        "CDC_REDIS__URL": f"redis://127.0.0.1:{ports.take('redis')}/0",
        "CDC_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{ports.take('kafka')}",
        "CDC_DATABASE__URL": f"mysql://reader:secret@127.0.0.1:{ports.take('mysql')}/trading",
        "CDC_API__PORT": str(ports.take("api")),
        "CDC_API__TOKEN": "0123456789abcdef0123456789abcdef",
        "CDC_AUDIT__INTERVAL_S": "3600",
        "CDC_LOG__FORMAT": "json",
        "CDC_METRICS__PORT": "0",
    }


def program(way: Way, environment: Mapping[str, str], folder: Path) -> Process:
    """The program as a user starts it."""
    command, *arguments = way.arguments
    return Process(environment, folder / "log", *arguments, command=command)


def burst(way: Way, started: Started, dice: random.Random, signals: int = SIGNALS) -> Outcome:
    """Send it ``signals`` times SIGTERM, from a moment by chance on; it is closed after that."""
    send: Callable[[int, int], None] = os.killpg if way is Way.GROUP else os.kill
    try:
        eventually(lambda: way.ready in started.said(), _READY_S, f"{way} does not wait")
        time.sleep(dice.uniform(0, 0.1))
        with suppress(ProcessLookupError):
            for _ in range(signals):
                send(started.pid, signal.SIGTERM)
                # Signals that are pending already are not sent again: each has to find a handler at work.
                until = time.perf_counter() + dice.uniform(0, _LONGEST_GAP_S)
                while time.perf_counter() < until:
                    pass
        began = time.monotonic()
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = started.wait(_LIMIT_S)
        seconds = time.monotonic() - began
        with suppress(AssertionError):
            eventually(lambda: code is None or not _left(started.pid), _LEFT_S)
        return Outcome(way, code, seconds, _left(started.pid), started.said())
    finally:
        started.close()


def _left(group: int) -> int:
    """Processes that are still there of a group."""
    found = 0
    for each in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (each / "stat").read_text().rpartition(")")[2].split()
            found += int(fields[2]) == group and fields[0] != "Z"
    return found
