"""Bursts of SIGTERM in numbers: ``python -m tests.chaos.signals --bursts 1000``.

``run`` and its workers are begun by a fork of this process, which has the modules loaded already: a thousand programs
that load them would take an hour. One in ten is started as a user starts it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from consumer.commands import cli
from consumer.commands.run import service, workers  # noqa: F401  # loaded before the first fork
from tests.chaos.signals.burst import Started, Way, away, burst, program
from tests.support.stack.guard import PR_SET_PDEATHSIG
from tests.support.stack.port import Ports

_REAL = 10
_WAYS = (Way.RUN,) * 16 + (Way.WORKERS, Way.GROUP, Way.API, Way.WATCH)


class _Forked:
    """A fork of this process, as tests.chaos.signals.burst.Started."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self._log = log
        self._ended = os.pidfd_open(pid)
        self._code: int | None = None

    def wait(self, seconds: float) -> int:
        if self._code is None:
            if not select.select([self._ended], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired("the program", seconds)
            os.close(self._ended)
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self._code = code if code >= 0 else 128 - code
        return self._code

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(60)


def main() -> tuple[str, ...]:
    """Answers twice: in a fork with the command line of what it has to be, here with nothing, at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.signals")
    parser.add_argument("--bursts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    asked = parser.parse_args()
    dice = random.Random(asked.seed)  # noqa: S311  # spreads moments, guards nothing
    found: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="bursts-"))
    for number in range(asked.bursts):
        way = dice.choice(_WAYS)
        environment, place = away(Ports()), folder / str(number)
        place.mkdir()
        started: Started
        if number % _REAL == 0:
            started = program(way, environment, place)
        elif pid := os.fork():
            started = _Forked(pid, place / "log")
        else:
            _become(environment, place / "log")
            return way.arguments
        outcome = burst(way, started, dice)
        found[way if outcome.is_well else str(outcome)] += 1
        if not outcome.is_well:
            print(f"{outcome}\n{outcome.said}", file=sys.stderr)
        shutil.rmtree(place)
    shutil.rmtree(folder)
    bad = asked.bursts - sum(found[way] for way in Way)
    print(f"{asked.bursts} bursts (seed {asked.seed}), {bad} that did not end well: {dict(found)}")
    if bad:
        sys.exit(1)
    return ()


def _become(environment: Mapping[str, str], log: Path) -> None:
    """A session, an environment and a log of its own."""
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for name in [name for name in os.environ if name.startswith("CDC_")]:
        del os.environ[name]
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


if __name__ == "__main__":
    if arguments := main():
        sys.argv = ["cdc-consumer", *arguments]
        cli.main()
