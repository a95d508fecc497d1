"""The program as a child that does not outlive the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.support.forked import Forked, base_environment, can_fork
from tests.support.stack.child import GUARD

CLI = str(Path(sys.executable).with_name("cdc-consumer"))


class _Cold:
    """One run of the program as a user starts it, behind a guard that ends it with the test."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, str(GUARD), "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())

    def poll(self) -> int | None:
        return self._guard.poll()

    def wait(self, seconds: float) -> int:
        code = self._guard.wait(seconds)
        for pipe in (self._guard.stdin, self._guard.stdout):
            assert pipe is not None
            pipe.close()
        return code


class Process:
    """``cdc-consumer run``, or another command that stays, as a child that does not outlive the test."""

    def __init__(self, environment: Mapping[str, str], log: Path, *arguments: str, command: str = "run") -> None:
        self.log = log
        full = {**base_environment(), **environment}
        program = [CLI, command, *arguments]
        with log.open("ab") as out:
            self._run = Forked(program, full, out, out) if can_fork(full) else _Cold(program, full, out)
        self.pid = self._run.pid

    @property
    def running(self) -> bool:
        return self._run.poll() is None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 20.0) -> int:
        """The exit code; 128 + N for signal N."""
        return self._run.wait(seconds)

    def close(self) -> None:
        if self.running:
            self.send(signal.SIGKILL)
        self.wait()

    def said(self) -> str:
        """Everything it wrote to stderr."""
        return self.log.read_text()


@contextmanager
def running(environment: Mapping[str, str], log: Path, *arguments: str) -> Iterator[Process]:
    """The consumer, until the end of the block; what it said goes with whatever fails in there."""
    process = Process(environment, log, *arguments)
    try:
        yield process
    except BaseException as error:
        error.add_note(f"the consumer said:\n{process.said()}")
        raise
    finally:
        process.close()


def command(environment: Mapping[str, str], *arguments: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Another command of the program, run to its end, without a terminal."""
    full = {**base_environment(), **environment}
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        if can_fork(full):
            code = _code(Forked([CLI, *arguments], full, out, err), seconds)
        else:
            started = [CLI, *arguments]
            code = subprocess.run(
                started, env=full, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=seconds, check=False
            ).returncode
        for each in (out, err):
            each.seek(0)
        ran = subprocess.CompletedProcess([CLI, *arguments], code, out.read(), err.read())
    assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
    return ran


def _code(ran: Forked, seconds: float) -> int:
    """The exit code; what does not end in time is killed."""
    try:
        return ran.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(ran.pid, signal.SIGKILL)
        ran.wait(seconds)
        raise
