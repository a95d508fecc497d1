"""How a command is told to stop: by SIGTERM and SIGINT, heard by the one handler that this program has.

A handler runs between any two steps of the main thread, also within a handler and within code that holds a lock. So it
takes no lock, calls nobody and logs nothing: it sets a plain number. Whoever waits is woken through a pipe, into which
the interpreter itself writes (``signal.set_wakeup_fd``) before any handler runs.
"""

from __future__ import annotations

import os
import select
import signal


class Stop:
    """Told by a signal; ``by`` is its number, 0 until then. One of them listens in a process."""

    def __init__(self) -> None:
        # Never closed: a signal may come until the process has ended.
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self.by = 0

    def __call__(self) -> bool:
        return self.by != 0

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until told to stop."""
        waiting = select.poll()
        waiting.register(self._woken, select.POLLIN)
        waiting.poll(max(0.0, seconds) * 1000)

    def listen(self, *, is_worker: bool = False) -> None:
        """From now on signals end the program in good order; the second SIGINT ends it at once.

        A worker hears no SIGINT: a terminal sends it to every process, and the parent tells its workers.
        """
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._signalled)
        signal.signal(signal.SIGINT, signal.SIG_IGN if is_worker else self._signalled)

    def _signalled(self, number: int, frame: object) -> None:
        # SIGTERM again says nothing new; while the interpreter ends, without handlers, it would change the exit code.
        # SIGINT again ends the program at once: a server that hangs may keep the end in good order waiting.
        signal.signal(number, signal.SIG_DFL if number == signal.SIGINT else signal.SIG_IGN)
        self.by = self.by or number
