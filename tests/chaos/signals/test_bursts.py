"""SIGTERM again and again: a handler that takes a lock would wait for itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.signals.burst import Way, away, burst, program
from tests.support.stack.port import Ports


@pytest.mark.parametrize("way", Way)
def test_a_burst_ends_it_as_one_signal_does(way: Way, tmp_path: Path) -> None:
    started = program(way, away(Ports()), tmp_path)
    outcome = burst(way, started, random.Random(str(way)))  # noqa: S311  # spreads moments, guards nothing
    assert outcome.is_well, f"{outcome}\n{outcome.said}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_bursts(request: pytest.FixtureRequest) -> None:
    """``pytest tests/chaos/signals --bursts 1000`` for more of them."""
    count = str(request.config.getoption("--bursts"))
    ran = subprocess.run(
        [sys.executable, "-m", "tests.chaos.signals", "--bursts", count], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


# What a handler does runs within the main thread, and within itself.
_STORM = """
import os, signal, sys
from consumer.commands.shared.stop import Stop
stop = Stop()
stop.listen()
parent = os.getpid()
if not (child := os.fork()):
    for _ in range(20_000):
        os.kill(parent, signal.SIGTERM)
    os._exit(0)
while not stop():
    stop.wait(0.0)
stop.wait(60)
os.waitpid(child, 0)
sys.exit(stop.by)
"""


def test_a_storm_is_one_signal() -> None:
    """As fast as the kernel delivers them: neither a deadlock nor handlers within handlers without an end."""
    for _ in range(5):
        ran = subprocess.run([sys.executable, "-c", _STORM], capture_output=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (signal.SIGTERM, b"")


_WAITING = """
import sys, time
from consumer.commands.shared.stop import Stop
stop = Stop()
stop.listen()
print(".", flush=True)
stop.wait(100)
sys.exit(stop.by)
"""


def test_who_waits_is_woken_and_the_exit_code_is_its_own() -> None:
    """Also while the interpreter ends, when a signal would find no handler any more."""
    with subprocess.Popen([sys.executable, "-c", _WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"."
        while child.poll() is None:
            os.kill(child.pid, signal.SIGTERM)
        assert (child.returncode, child.communicate()[1]) == (signal.SIGTERM, b"")
