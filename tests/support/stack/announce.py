"""Progress for a person: plain lines on stderr, a live display on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Announcer:
    """Tells which steps are under way, from any thread."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._lock = threading.Lock()
        self._display: Progress | None = None
        self._open = 0

    def say(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(text, highlight=False, markup=False)
        else:
            sys.stderr.write(f"{text}\n")  # one write: lines of several threads stay whole

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show ``text`` while the block runs, and its time after. A failed step says nothing: its error does."""
        began = time.monotonic()
        if not self._console.is_terminal:
            self.say(f"{text} ...")
            yield
        else:
            display = self._enter()
            task = display.add_task(text, total=None)
            try:
                yield
            finally:
                display.remove_task(task)
                self._leave()
        self.say(f"{text}: {time.monotonic() - began:.1f} s")

    def _enter(self) -> Progress:
        with self._lock:
            if self._display is None:
                columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
                self._display = Progress(*columns, console=self._console, transient=True)
                self._display.start()
            self._open += 1
            return self._display

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._display is not None:
                self._display.stop()
                self._display = None
