"""How a command is told to stop: by SIGTERM and SIGINT, in the one way that this program has.

There is no signal handler. One runs between any two steps of the main thread, also within itself and within code that
holds a lock: what it does with that lock waits for ever. So the signals are blocked, in every thread that is begun
later too, and one thread waits for them (``sigwait``). They interrupt nothing, many are one, and those that come while
the interpreter ends change nothing.
"""

from __future__ import annotations

import signal
import threading
from multiprocessing.resource_tracker import ensure_running


class Stop:
    """Told by a signal; ``by`` is its number, 0 until then."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self.by = 0

    def __call__(self) -> bool:
        return self._told.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until told to stop."""
        self._told.wait(seconds)

    def listen(self, *, spawns: bool = False, is_worker: bool = False) -> None:
        """From now on signals end the program in good order; the second SIGINT ends it at once.

        To be called before other threads are begun. ``spawns``: the program will have worker processes. A worker hears
        no SIGINT: a terminal sends it to every process, and the parent tells its workers.
        """
        if spawns:
            ensure_running()  # which lets the signals through again, and is done with the first worker if not before
        numbers = {signal.SIGTERM} if is_worker else {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        signal.signal(signal.SIGINT, signal.SIG_IGN if is_worker else signal.SIG_DFL)
        threading.Thread(target=self._hear, args=(numbers,), name="signals", daemon=True).start()

    def _hear(self, numbers: set[signal.Signals]) -> None:
        interrupts = 0
        while True:
            number = signal.sigwait(numbers)
            self.by = self.by or number
            self._told.set()
            interrupts += number == signal.SIGINT
            if interrupts > 1:  # a server that hangs may keep the end in good order waiting
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                signal.raise_signal(signal.SIGINT)
