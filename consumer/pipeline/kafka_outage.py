"""A time in which Kafka can't be read: logged when it begins and repeatedly, with growing pauses between attempts."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from consumer.errors import ServerError
from consumer.pipeline.protocols import Observer
from consumer.pipeline.retry import REPEAT_S, Reminder, backoff_s

_log = structlog.get_logger(__name__)
# The client reconnects by itself, so a lost connection is logged only if it lasts.
_GRACE_S = 3.0
# One successful attempt proves nothing: it may have ended before the error came, or another call fails.
_STABLE_S = 3.0


class KafkaOutage:
    """Knows since when reading fails and when to try again. While reading works it logs nothing; else it logs the
    reason every ``repeat_s`` seconds.
    """

    def __init__(
        self, observer: Observer, clock: Callable[[], float] = time.monotonic, repeat_s: float = REPEAT_S
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._reminder = Reminder(repeat_s, clock)
        self._unconnected_since: float | None = None
        self._working_since: float | None = None
        self._failures = 0
        self._again_at = 0.0
        self._last_cause = ""

    @property
    def is_on(self) -> bool:
        """Whether Kafka can't be read."""
        return self._reminder.is_on

    @property
    def rest_s(self) -> float:
        """Seconds until the next attempt; 0 if it may be made now."""
        return max(0.0, self._again_at - self._clock())

    def failed(self, error: ServerError, cause: str = "") -> None:
        """An attempt failed: the next one is due after a pause.

        ``cause``: a more exact reason than the error's, or "". A new cause is logged at once.
        """
        self._failures += 1
        pause = backoff_s(self._failures)
        self._again_at = self._clock() + pause
        self._begin(error, pause, cause)

    def unconnected(self, error: ServerError, cause: Callable[[], str]) -> None:
        """Nothing failed, but there is no connection. The client reconnects by itself, so there is no pause.

        ``cause`` finds a more exact reason than the error's, or answers "". A new cause is logged at once.
        """
        now = self._clock()
        if self._unconnected_since is None:
            self._unconnected_since = now
        elif now - self._unconnected_since >= _GRACE_S:
            self._begin(error, 0.0, cause())
            # Not before: it may take longer than the grace, and the client connects only in between.
            self._unconnected_since = self._clock()

    def worked(self) -> None:
        """An attempt succeeded."""
        self._unconnected_since = None
        if not self._reminder.is_on:
            return
        if self._working_since is None:
            self._working_since = self._clock()
        if self._clock() - self._working_since < _STABLE_S:
            return
        waited = self._reminder.lasted_s
        self._reminder.is_over()
        self._failures, self._last_cause = 0, ""
        _log.info("Kafka can be read again", action="kafka.resumed", waited_s=round(waited, 1))
        self._observer.source_available()

    def _begin(self, error: ServerError, pause: float, cause: str) -> None:
        self._working_since = None
        self._last_cause = cause or self._last_cause  # an attempt without a cause does not remove a known cause
        if self._reminder.is_due(self._last_cause):
            _log.warning(
                "Kafka can't be read, waiting; nothing is lost",
                action="kafka.waiting",
                since=self._reminder.since,
                error=self._last_cause or error.problem,
                advice=error.advice,
            )
        self._observer.interrupted(error, pause)
