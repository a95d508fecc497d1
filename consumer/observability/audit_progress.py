"""How far an audit is: a bar on a terminal, a line in the log now and then where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_log = structlog.get_logger(__name__)
_EVERY_S = 5.0


class AuditProgress:
    """Keys of a table passed of so many: nobody counts the rows of a large table beforehand."""

    def __init__(self, *, is_shown: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._said = clock()
        self._users = 0
        self._bar: Progress | None = None
        if is_shown and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[users]} users"))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, what: str, last: int | None) -> None:
        """Another part of the work, up to the key ``last``; None where nobody knows how long it is."""
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(what, total=last, users=f"{self._users:,}")

    def reach(self, key: int, users: int) -> None:
        """``users`` more were compared, up to ``key``."""
        self._users += users
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.update(task, completed=key, users=f"{self._users:,}")
        elif self._clock() - self._said >= _EVERY_S:
            self._said = self._clock()
            rate = self._users / max(self._said - self._began, 0.001)
            _log.info("comparing", action="audit.progress", users=self._users, per_s=round(rate))
