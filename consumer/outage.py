"""The outages of servers as the operator hears of them: one line when one begins, one when it is over."""

from __future__ import annotations

import time

import structlog

from consumer.errors import ServerError
from consumer.protocols import Observer
from consumer.value import timestamp

_log = structlog.get_logger(__name__)
REDIS, KAFKA, REGISTRY = "Redis", "Kafka", "registry"
_BEGINS = {
    REDIS: {"action": "redis.waiting"},
    KAFKA: {"action": "kafka.waiting"},
    REGISTRY: {"action": "registry.waiting"},
}
_ENDS = {
    REDIS: {"action": "redis.resumed"},
    KAFKA: {"action": "kafka.resumed"},
    REGISTRY: {"action": "registry.resumed"},
}


class Outage:
    """``began`` as often as an attempt fails, ``ended`` as often as one succeeds: only the first of each is news."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._began_at: dict[str, float] = {}

    def is_of(self, server: str) -> bool:
        """Whether ``server`` is away."""
        return server in self._began_at

    def began(self, error: ServerError, seconds: float) -> None:
        """An attempt failed; the next is ``seconds`` away."""
        server = error.server if error.server in _BEGINS else REGISTRY
        if server not in self._began_at:
            self._began_at[server] = time.time()
            _log.warning(
                f"{error.server} can't serve, waiting; nothing is lost",
                **_BEGINS[server],
                since=self._since(server),
                error=error.problem,
                advice=error.advice,
            )
        self._observer.waiting(error, seconds)

    def ended(self, server: str) -> None:
        """An attempt succeeded."""
        if server not in self._began_at:
            return
        since = self._since(server)
        waited_s = round(time.time() - self._began_at.pop(server), 1)
        _log.info(f"{server} serves again", **_ENDS[server], since=since, waited_s=waited_s)
        if not self._began_at:
            self._observer.resumed()

    def _since(self, server: str) -> str:
        return timestamp(round(self._began_at[server] * 1000))
