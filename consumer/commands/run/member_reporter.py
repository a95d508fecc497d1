"""Leaves the figures of this member in Redis, for ``status``, in a thread beside the loop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from consumer import __version__
from consumer.errors import ServerError, ServerUnavailable
from consumer.pipeline.reports import Figures, MemberReport, Rate, by_topic
from consumer.sink.report_store import ReportStore, log_refusal

LOOK_S = 5.0


class MemberReporter:
    """Writes a report at each look, and removes it at the end.

    A report is not needed for anything else. So nothing waits for it: if Redis is away, the next look writes it, and
    other parts of the program say that Redis is away. A refusal is logged once.

    ``worker``: the number of this process with ``--workers``.
    """

    def __init__(
        self,
        store: ReportStore,
        figures: Callable[[], Figures],
        worker: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._figures = figures
        self._worker = worker
        self._clock = clock
        self._started_ms = _ms(clock())
        self._rate = Rate()
        self._last: MemberReport | None = None
        self._is_refused = False
        self.heartbeat_age_s: Callable[[], float | None] = lambda: None
        """Is set when the heartbeats are watched, which begins later."""

    def look(self) -> None:
        """Write the report once."""
        report = self.report()
        try:
            self._store.write_member(report)
        except ServerUnavailable:
            return
        except ServerError as error:
            if not self._is_refused:
                self._is_refused = True
                log_refusal(error, "this member")
            return
        self._is_refused, self._last = False, report

    def close(self) -> None:
        """Remove the report: this member ends in good order."""
        if self._last is not None:
            with suppress(ServerError):
                self._store.remove_member(self._last)

    def report(self) -> MemberReport:
        """The figures now."""
        figures, now = self._figures(), self._clock()
        return MemberReport(
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_ms=self._started_ms,
            written_ms=_ms(now),
            worker=self._worker,
            partitions=by_topic(figures.partitions),
            per_minute=round(self._rate.per_minute(figures.done, now), 1),
            lag_records=figures.lag_records,
            lag_s=round(figures.lag_s, 1),
            waits_for=figures.waits_for,
            unready=figures.unready,
            index=figures.index,
            heartbeat_age_s=None if (age := self.heartbeat_age_s()) is None else round(age, 1),
        )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
