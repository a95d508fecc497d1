"""A parent waits for its workers, but not for ever."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import psutil
import pytest

from consumer.commands.replay import processes
from consumer.commands.replay.summary import Summary
from consumer.commands.replay.work import Interrupted, Wanted
from consumer.mapping.reference import reference
from consumer.settings.sources import Settings, load
from consumer.source.bounds import Span
from tests.chaos.signals.burst import Way, away, program
from tests.e2e.process import Process
from tests.e2e.test_workers import workers
from tests.support.redis_view import eventually
from tests.support.stack.port import Ports


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in away(Ports()).items():
        monkeypatch.setenv(name, value)
    return load()


def waiting(way: Way, folder: Path) -> Process:
    """The program, once three of its workers wait for Redis."""
    process = program(way, away(Ports()), folder)

    def say() -> set[str]:
        lines = process.said().splitlines()
        return {
            number for number in "012" for line in lines if f'"worker": {number}, "action": "start.waiting"' in line
        }

    eventually(lambda: len(say()) == 3, 240, "the workers do not wait")
    return process


def listens(process: psutil.Process) -> bool:
    """Whether it has begun to wait for SIGTERM."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    blocked = next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk"))
    return bool(blocked >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
def test_a_worker_of_run_that_does_not_end_is_killed(tmp_path: Path) -> None:
    process = waiting(Way.WORKERS, tmp_path)
    try:
        workers(process)[1].send_signal(signal.SIGSTOP)
        process.send(signal.SIGTERM)
        assert process.wait(120) == 1
    finally:
        process.close()
    assert "cdc-consumer: worker 1 did not end within 30 s, and was killed" in process.said()


def test_workers_that_are_told_before_they_listen(tmp_path: Path) -> None:
    """The parent begins them, and is told to end at that moment."""
    process = program(Way.WORKERS, away(Ports()), tmp_path)
    try:
        eventually(lambda: workers(process), 240)
        process.send(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.close()
    assert process.said() == ""


@pytest.mark.parametrize("is_frozen", [False, True])
def test_workers_of_replay(settings: Settings, is_frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told again and again, or frozen: none is left."""
    monkeypatch.setattr(processes, "_JOIN_S", 2.0)
    wanted = Wanted((Span("trading.trading.live_users", 0, 0, 1),), is_rebuild=False, is_dry=True)
    begun: list[psutil.Process] = []

    def should_stop() -> bool:
        begun[:] = [psutil.Process(each.pid) for each in multiprocessing.active_children()]
        if not all(map(listens, begun)):
            return False
        for each in begun:
            for _ in range(300 * (not is_frozen)):
                each.send_signal(signal.SIGTERM)
            if is_frozen:
                each.send_signal(signal.SIGSTOP)
        return True

    tasks = [(number, dict[str, int](), Summary()) for number in range(2)]
    with pytest.raises(Interrupted):
        processes.in_processes(2, settings, reference(), wanted, tasks, lambda message: None, should_stop)
    assert len(begun) == 2
    assert not any(each.is_running() for each in begun)
