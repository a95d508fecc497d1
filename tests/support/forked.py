"""Starts the program from a process that has loaded its modules: a fork, in place of a second of imports each time.

The suite starts the program more than a thousand times. What runs is the whole program, in a process of its own with
its own arguments, environment and output. Only the imports are already done, the command line is built from them, and
no module is taken down one by one at the end: each of the last two took longer than most commands work. Tests of the
start itself (``tests/unit/commands``, ``tests/docs``, ``tests/demo``) start it as a user does.

Each program has a guard, also a fork, that kills it when the test's process is gone and reports its exit code.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

import typer

CLI_MODULE = "consumer.__main__"
_PR_SET_PDEATHSIG = 1
_LONGEST_REQUEST = 128 * 1024
_DESCRIPTORS = 4


def base_environment() -> dict[str, str]:
    """The environment of this process without the program's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}


_LOADED_WITH = base_environment()


class Forked:
    """One run of the program."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], out: IO[Any], err: IO[Any]) -> None:
        self._command = command
        control, self._control = os.pipe()
        self._status, status = os.pipe()
        request = json.dumps({"command": list(command), "environment": dict(environment), "folder": str(Path.cwd())})
        socket.send_fds(_server(), [request.encode()], [control, status, out.fileno(), err.fileno()])
        os.close(control)
        os.close(status)
        self.pid = int(self._line())
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, 128 + N for signal N; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, seconds: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self._code is None:
            if not select.select([self._status], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired(self._command, seconds)
            self._code = int(self._line())
            os.close(self._status)
            os.close(self._control)
        return self._code

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._status, 1)
            assert byte, "the process that forks has ended"
            line += byte
        return line


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether only settings of the program differ; other variables may count while modules are loaded."""
    others = {name: value for name, value in environment.items() if not name.startswith("CDC_")}
    return all(_LOADED_WITH.get(name) == value for name, value in others.items() if name != "PYTEST_CURRENT_TEST")


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=_LOADED_WITH,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def _serve(requests: socket.socket) -> None:
    """Fork for each request; returns only in a process that is to be the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards are not waited for
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, _LONGEST_REQUEST, _DESCRIPTORS)
        if not request:
            os._exit(0)
        if not os.fork():
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _guard(json.loads(request), *descriptors)
            return
        for each in descriptors:
            os.close(each)


def _guard(request: Mapping[str, Any], control: int, status: int, out: int, err: int) -> None:
    """Wait for the program's end, or end it; returns only in the program."""
    guard = os.getpid()
    if not (program := os.fork()):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        _become(request, out, err)
        for each in (control, status, out, err):
            os.close(each)
        return
    os.close(out)
    os.close(err)
    os.write(status, b"%d\n" % program)
    if control in select.select([control, os.pidfd_open(program)], [], [])[0]:
        with suppress(ProcessLookupError):
            os.kill(program, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(program, signal.SIGKILL)  # what it left
    with suppress(BrokenPipeError):
        os.write(status, b"%d\n" % (code if code >= 0 else 128 - code))
    os._exit(0)


def _become(request: Mapping[str, Any], out: int, err: int) -> None:
    os.setsid()
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = request["command"]


def _load() -> None:
    """Load every module of the program, and build its command line."""
    package = importlib.import_module("consumer")
    for each in pkgutil.walk_packages(package.__path__, "consumer."):
        importlib.import_module(each.name)
    built = cache(typer.main.get_command)
    built(importlib.import_module("consumer.commands.cli").app)
    setattr(typer.main, "get_command", built)  # noqa: B010 - the program asks there
    gc.collect()
    gc.freeze()


def _run() -> NoReturn:
    """The program, and what Python does at its end: other threads end, exit functions run, the output is written."""
    code: object = 1
    try:
        importlib.import_module(CLI_MODULE).main()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120  # as Python ends then
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    _run()
