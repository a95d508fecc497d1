"""Child processes that don't outlive this one, however it ends."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_STOP_S = 10.0


def _last_wish() -> Callable[[], None] | None:
    """For Linux: the kernel ends the child with its parent, even after a ``kill -9``."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork, where little may be done
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def child(
    command: Sequence[str], output: IO[Any] | int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs. Start it from the main thread: the last wish is bound to the thread.

    It has a session of its own, so that Ctrl-C reaches only this program, which then ends it in good order.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=None if environment is None else dict(environment),
        start_new_session=True,
        preexec_fn=_last_wish(),  # noqa: PLW1509  # one call of the kernel
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_on_sigterm() -> None:
    """SIGTERM runs the cleanup too, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
