"""Child processes that can't outlive the stack, and the set of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.stack.account import Account
from tests.support.stack.errors import StackError, StartFailed

GUARD = Path(__file__).with_name("guard.py")
TAIL_LINES = 15


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, or nothing when there is none yet."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Child:
    """One running command behind a guard. Signals go to the command's whole process group."""

    def __init__(self, guard: subprocess.Popen[str], pid: int, log: Path) -> None:
        self._guard = guard
        self.pid = pid
        self.log = log

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the command has ended (its pid may be someone else's)."""
        if not self.running:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            if number in (signal.SIGSTOP, signal.SIGCONT):  # PostgreSQL's processes have groups of their own
                for each in psutil.Process(self.pid).children(recursive=True):
                    each.send_signal(number)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code, 128 + N for signal N. Raises subprocess.TimeoutExpired."""
        code = self._guard.wait(timeout_s)
        if self._guard.stdin:
            self._guard.stdin.close()
        return code

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, timeout_s: float) -> None:
        """Ask to end, and insist after ``timeout_s``. A frozen process is thawed first: it could not hear."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        try:
            self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass
class Children:
    """Every process of one stack, so that closing it ends them all, also those still downloading."""

    _living: list[Child] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def spawn(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        account: Account | None = None,
        remove: Path | None = None,
    ) -> Child:
        """Start a command with its output appended to ``log``; ``remove`` goes if the stack is killed."""
        options = ["--account", str(account)] if account else []
        options += ["--remove", str(remove)] if remove else []
        with self._lock, log.open("ab") as output:
            if self._closed:
                raise StackError("the stack is closing")
            guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), *options, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
            assert guard.stdout is not None
            with guard.stdout as reported:
                pid = reported.readline().strip()
            if not pid:
                guard.wait()
                raise StartFailed(Path(command[0]).name, "could not be run", str(log), tail(log))
            child = Child(guard, int(pid), log)
            self._reap()
            self._living.append(child)
            return child

    def run(
        self,
        command: Sequence[str],
        log: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        account: Account | None = None,
    ) -> None:
        """Run a command to its end; a failure shows the end of its log."""
        child = self.spawn(command, log, cwd=cwd, environment=environment, account=account)
        if code := child.wait():
            raise StartFailed(Path(command[0]).name, f"ended with code {code}", str(log), tail(log))

    def _reap(self) -> None:
        for child in [each for each in self._living if not each.running]:
            child.wait()
            self._living.remove(child)

    def close(self) -> None:
        """End everything; data directories are thrown away, so nobody is asked politely."""
        with self._lock:
            self._closed = True
            living = list(self._living)
        for child in living:
            child.signal(signal.SIGKILL)
        for child in living:
            child.wait()
