"""A server's outage as the operator hears of it: one line when it begins, one when it is over."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import structlog

from consumer.errors import ServerError
from consumer.protocols import Observer

_log = structlog.get_logger(__name__)
_BEGINS = {
    "Redis": {"action": "redis.waiting"},
    "Kafka": {"action": "kafka.waiting"},
    "registry": {"action": "registry.waiting"},
}
_ENDS = {
    "Redis": {"action": "redis.resumed"},
    "Kafka": {"action": "kafka.resumed"},
    "registry": {"action": "registry.resumed"},
}


class Outage:
    """``began`` as often as an attempt fails, ``ended`` as often as one succeeds: only the first of each is news."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._began_at: float | None = None
        self._server = ""

    def began(self, error: ServerError, seconds: float) -> None:
        """An attempt failed; the next is ``seconds`` away."""
        if self._began_at is None:
            self._began_at = time.time()
            self._server = error.server if error.server in _BEGINS else "registry"
            _log.warning(
                f"{error.server} can't serve, waiting; nothing is lost",
                **_BEGINS[self._server],
                since=self._since(),
                error=error.problem,
                advice=error.advice,
            )
        self._observer.waiting(error, seconds)

    def ended(self) -> None:
        """An attempt succeeded."""
        if self._began_at is None:
            return
        waited_s = round(time.time() - self._began_at, 1)
        _log.info(f"{self._server} serves again", **_ENDS[self._server], since=self._since(), waited_s=waited_s)
        self._began_at = None
        self._observer.resumed()

    def _since(self) -> str:
        return datetime.fromtimestamp(self._began_at or 0.0, UTC).isoformat(timespec="seconds")
