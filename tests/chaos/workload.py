"""Writes the script's steps at a steady pace, in a thread of its own, and keeps what must be heard.

Faults are counted in its steps. Some take a while to come about (a server starts), so it waits once it is too far
ahead: otherwise there would be no changes left for the faults that come later.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.script import Script, Step
from tests.support.stack.trading import Trading

_AHEAD = 200
Ledger = dict[tuple[str, str], list[str]]


class Workload:
    """``expected`` are the tokens by user and channel, in the order of commit."""

    def __init__(self, trading: Trading, script: Script, per_second: float) -> None:
        self.expected: Ledger = defaultdict(list)
        self.changes = 0
        self.written = 0
        self._trading = trading
        self._script = script
        self._pause_s = 1 / per_second
        self._moved = threading.Condition()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._allowed = 0
        self._steps = 0
        self._writing = threading.Lock()

    def start(self, steps: int) -> None:
        """Write so many steps; ``written`` counts them from 0."""
        self.written = self._allowed = 0
        self._steps = steps
        self._thread = threading.Thread(target=self._write, args=(steps,), name="workload", daemon=True)
        self._thread.start()

    def reached(self, step: int) -> None:
        """Return once ``step`` steps are written. It goes on, but not far."""
        with self._moved:
            self._allowed = step + _AHEAD
            self._moved.notify_all()
            self._moved.wait_for(lambda: self.written >= step or self._failure is not None)
        self._raise()

    def go_on(self, steps: int) -> None:
        """Return once so many steps more are written, or all."""
        self.reached(min(self.written + steps, self._steps))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No step is under way inside the block: a database that can't be written to makes its writers wait."""
        with self._writing:
            yield

    def write_to(self, trading: Trading) -> None:
        """Write to another server; inside :meth:`paused`."""
        self._trading = trading

    def close(self) -> None:
        """End its connection to the database."""
        self._trading.connection.close()

    def finish(self) -> None:
        """Return once all steps are written."""
        with self._moved:
            self._allowed = sys.maxsize
            self._moved.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._raise()

    def write(self, step: Step) -> None:
        step.run(self._trading)
        for told in step.told:
            self.expected[told.user, told.channel].append(told.token)
        self.changes += max(1, len({told.user for told in step.told}))

    def forget(self) -> None:
        """Begin a new count of what must be heard."""
        self.expected = defaultdict(list)

    def _write(self, steps: int) -> None:
        due = time.monotonic()
        try:
            for _ in range(steps):
                with self._moved:
                    self._moved.wait_for(lambda: self.written < self._allowed)
                with self._writing:
                    self.write(self._script.next())
                due = max(due + self._pause_s, time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))
                with self._moved:
                    self.written += 1
                    self._moved.notify_all()
        except BaseException as error:
            with self._moved:
                self._failure = error
                self._moved.notify_all()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
