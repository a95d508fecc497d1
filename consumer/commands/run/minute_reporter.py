"""Adds what this member does to the minutes of its group in Redis, from which the console draws its charts."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from consumer.errors import ServerError, ServerUnavailable
from consumer.pipeline.minutes import MinuteCounter
from consumer.pipeline.reports import Figures
from consumer.sink.minute_store import MinuteStore

_log = structlog.get_logger(__name__)


class MinuteReporter:
    """Nothing waits for it. If Redis is away, what was done meanwhile is missing in the charts."""

    def __init__(
        self, store: MinuteStore, figures: Callable[[], Figures], clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._figures = figures
        self._clock = clock
        self._counter = MinuteCounter()
        self._is_refused = False

    def look(self) -> None:
        """Add what was done since the look before. A refusal is logged once."""
        figures = self._figures()
        minute = self._counter.take(figures.done, figures.lag_records, self._clock())
        try:
            self._store.add(minute)
        except ServerUnavailable:
            return
        except ServerError as error:
            if not self._is_refused:
                self._is_refused = True
                _log.warning(
                    "Redis refused the minutes of this member: the charts of the console lack it",
                    action="minutes.refused",
                    error=str(error),
                    advice="cdc-consumer check prints the rights that the account needs",
                )
            return
        self._is_refused = False
