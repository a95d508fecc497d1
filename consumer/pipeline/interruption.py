"""A time in which Kafka can't be read: said once, with pauses between attempts that grow and are jittered."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from consumer.errors import ServerError
from consumer.pipeline.protocols import Observer
from consumer.pipeline.retry import backoff_s

_log = structlog.get_logger(__name__)
# The client reconnects by itself, so a connection that is gone is news only if it stays away.
_GRACE_S = 3.0
# One attempt that did not fail proves nothing: it may have ended before the refusal came, or another call is refused.
_QUIET_S = 3.0


class Interruption:
    """Knows since when reading does not work, and when to try again. Silent while all is well."""

    def __init__(self, observer: Observer, clock: Callable[[], float] = time.monotonic) -> None:
        self._observer = observer
        self._clock = clock
        self._since: float | None = None
        self._unconnected_since: float | None = None
        self._fine_since: float | None = None
        self._failures = 0
        self._again_at = 0.0
        self._said = ""

    @property
    def rest_s(self) -> float:
        """How long to leave Kafka alone before the next attempt, in seconds; 0 for not at all."""
        return max(0.0, self._again_at - self._clock())

    def failed(self, error: ServerError, cause: str = "") -> None:
        """An attempt failed: the next is due after a pause. ``cause`` is a better reason, if there is one; a new one is
        said.
        """
        self._failures += 1
        pause = backoff_s(self._failures)
        self._again_at = self._clock() + pause
        self._begin(error, pause, cause)

    def unconnected(self, error: ServerError, cause: Callable[[], str]) -> None:
        """Nothing failed, but there is no connection. The client is at it, so there is no pause.

        ``cause`` looks for a better reason than ``error`` has, or answers ""; a new one is said.
        """
        now = self._clock()
        if self._unconnected_since is None:
            self._unconnected_since = now
        elif now - self._unconnected_since >= _GRACE_S:
            self._unconnected_since = now
            self._begin(error, 0.0, cause())

    def worked(self) -> None:
        """An attempt did not fail."""
        self._unconnected_since = None
        if self._since is None:
            return
        if self._fine_since is None:
            self._fine_since = self._clock()
        if self._clock() - self._fine_since < _QUIET_S:
            return
        waited = self._clock() - self._since
        self._since, self._failures = None, 0
        _log.info("Kafka can be read again", action="kafka.resumed", waited_s=round(waited, 1))
        self._observer.continued()

    def _begin(self, error: ServerError, pause: float, cause: str) -> None:
        self._fine_since = None
        if self._since is None or (cause and cause != self._said):
            self._since = self._since or self._clock()
            self._said = cause
            _log.warning(
                "Kafka can't be read, waiting; nothing is lost",
                action="kafka.waiting",
                error=cause or error.problem,
                advice=error.advice,
            )
        self._observer.interrupted(error, pause)
