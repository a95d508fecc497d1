"""The progress of a long command: a bar on a terminal, else a log line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_log = structlog.get_logger(__name__)
_EVERY_S = 5.0
_MESSAGES = {"offsets": "reading the topics", "users": "comparing"}
_LOGGED_AS = {"offsets": "read", "users": "users"}


class Progress:
    """Counts what is done, in parts that follow one another, and says how many that are per second.

    ``action``: the action of the log line. ``unit``: what is counted. If ``is_shown`` is off, there is no bar.
    """

    def __init__(
        self,
        action: str,
        unit: Literal["offsets", "users"],
        *,
        is_shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._action = action
        self._unit = unit
        self._clock = clock
        self._began = self._logged_at = clock()
        self._done = 0
        self._end: int | None = None
        self._bar: Bar | None = None
        if is_shown and sys.stderr.isatty():
            count = TextColumn(f"{{task.fields[done]}} {unit}, {{task.fields[rate]}}/s")
            columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, part: str, end: int | None) -> None:
        """Begin a part, called so on the bar. It is over at ``end``; None: that is not known."""
        self._end = end
        if self._bar is not None:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(part, total=end, done=f"{self._done:,}", rate="0")

    def advance(self, count: int, reached: int | None = None) -> None:
        """``count`` more are done. ``reached``: how far the part is, where that is something else than a count.

        A table's rows are slow to count. So a part of it goes from the first key to the last.
        """
        self._done += count
        now = self._clock()
        rate = self._done / max(now - self._began, 0.001)
        if self._bar is not None:
            for task in self._bar.task_ids:
                at = self._done if reached is None else reached
                self._bar.update(task, completed=at, done=f"{self._done:,}", rate=f"{rate:,.0f}")
        elif now - self._logged_at >= _EVERY_S:
            self._logged_at = now
            left = {} if reached is not None or self._end is None else self._left(self._end, rate)
            done = {_LOGGED_AS[self._unit]: self._done}
            _log.info(_MESSAGES[self._unit], action=self._action, **done, per_s=round(rate), **left)

    def _left(self, end: int, rate: float) -> dict[str, int | None]:
        left = max(0, end - self._done)
        return {"left": left, "seconds_left": round(left / rate) if rate else None}
