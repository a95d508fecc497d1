"""The progress of an audit: a bar on a terminal, else a log line every few seconds."""

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
    """Counts users. A bar shows the key reached and the last key, because counting a large table's rows is slow."""

    def __init__(self, *, is_shown: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._logged_at = clock()
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
        """Begin another part, up to the key ``last``, or to that many users of a sample; None: length unknown."""
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(what, total=last, users=f"{self._users:,}")

    def reach(self, key: int, users: int) -> None:
        """``users`` more users were compared, up to ``key``, or to that many users of a sample."""
        self._users += users
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.update(task, completed=key, users=f"{self._users:,}")
        elif self._clock() - self._logged_at >= _EVERY_S:
            self._logged_at = self._clock()
            rate = self._users / max(self._logged_at - self._began, 0.001)
            _log.info("comparing", action="audit.progress", users=self._users, per_s=round(rate))
