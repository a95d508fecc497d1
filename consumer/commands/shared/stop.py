"""The stop of a command by SIGTERM and SIGINT; the only way in this program.

There is no signal handler. A handler runs between any two steps of the main thread, also within itself and within code
that holds a lock; if it needs that lock, it waits for ever. So the signals are blocked in all threads, also in later
ones, and one thread waits for them (``sigwait``). So a signal interrupts nothing, several signals count as one, and
signals while the interpreter ends change nothing.
"""

from __future__ import annotations

import signal
import threading
from multiprocessing.resource_tracker import ensure_running


class Stop:
    """Is set by a signal. ``by``: the signal's number, 0 before."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.by = 0

    def __call__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not after a stop."""
        self._event.wait(seconds)

    def listen(self, *, spawns: bool = False, is_worker: bool = False) -> None:
        """From now on a signal sets this object; a second SIGINT ends the program at once.

        Call this before other threads are started. ``spawns``: the program will have worker processes. A worker ignores
        SIGINT: a terminal sends it to every process, and the parent stops its workers.
        """
        if spawns:
            ensure_running()  # it unblocks the signals; else the first worker would start it later
        numbers = {signal.SIGTERM} if is_worker else {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        signal.signal(signal.SIGINT, signal.SIG_IGN if is_worker else signal.SIG_DFL)
        threading.Thread(target=self._wait_for_signals, args=(numbers,), name="signals", daemon=True).start()

    def _wait_for_signals(self, numbers: set[signal.Signals]) -> None:
        interrupts = 0
        while True:
            number = signal.sigwait(numbers)
            self.by = self.by or number
            self._event.set()
            interrupts += number == signal.SIGINT
            if interrupts > 1:  # a hanging server may delay the normal end
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                signal.raise_signal(signal.SIGINT)
