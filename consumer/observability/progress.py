"""The progress of a replay: a bar on a terminal, else a log line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_log = structlog.get_logger(__name__)
_EVERY_S = 5.0


class ReplayProgress:
    """Counts offsets: how many are read per second, how many are left, and how long that will take."""

    def __init__(
        self, total: int, what: str = "replay", *, action: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``total``: the number of offsets. ``what``: the bar's name. ``action``: the action of the log line."""
        self._action = action
        self._clock = clock
        self._total = total
        self._done = 0
        self._began = self._logged_at = clock()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
            rate = TextColumn("{task.fields[rate]}/s, {task.fields[left]} left")
            self._bar = Progress(*columns, rate, TimeRemainingColumn(), console=Console(stderr=True))
            self._task = self._bar.add_task(what, total=total, rate="0", left=f"{total:,}")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, offsets: int) -> None:
        """``offsets`` more offsets were read."""
        self._done += offsets
        left = max(0, self._total - self._done)
        seconds = max(self._clock() - self._began, 0.001)
        rate = self._done / seconds
        if self._bar is not None:
            self._bar.update(self._task, advance=offsets, rate=f"{rate:,.0f}", left=f"{left:,}")
        elif self._clock() - self._logged_at >= _EVERY_S:
            self._logged_at = self._clock()
            _log.info(
                "reading the topics",
                action=self._action,
                read=self._done,
                left=left,
                per_s=round(rate),
                seconds_left=round(left / rate) if rate else None,
            )
