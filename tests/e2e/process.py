"""The program as a child that does not outlive the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.stack.child import GUARD

CLI = str(Path(sys.executable).with_name("cdc-consumer"))


class Process:
    """``cdc-consumer run``, or another command that stays, as a child that does not outlive the test."""

    def __init__(self, environment: Mapping[str, str], log: Path, *arguments: str, command: str = "run") -> None:
        self.log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
        with log.open("ab") as out:
            self._guard = subprocess.Popen(
                [sys.executable, str(GUARD), "--", CLI, command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                env={**clean, **environment},
            )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline())

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = 20.0) -> int:
        """The exit code; 128 + N for signal N."""
        code = self._guard.wait(seconds)
        for pipe in (self._guard.stdin, self._guard.stdout):
            assert pipe is not None
            pipe.close()
        return code

    def close(self) -> None:
        if self._guard.poll() is None:
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
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
    ran = subprocess.run(
        [CLI, *arguments],
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
    return ran
