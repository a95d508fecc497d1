"""Trying again while a server is away: how long to pause, how often, and what the operator hears of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog
import tenacity

from consumer.errors import ServerError, ServerUnavailable
from consumer.events.value import timestamp
from consumer.pipeline.protocols import Observer

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
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
_MOST_DOUBLINGS = 64  # more would leave the range of a float, and the longest pause is reached long before
_T = TypeVar("_T")


def backoff_s(failures: int, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> float:
    """The pause after so many ``failures`` in a row, in seconds: doubled each time, up to ``longest_s``.

    Half of it is random, so that processes that failed together do not try again together.
    """
    pause = min(longest_s, first_s * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads attempts, guards nothing


def retry(
    attempt: Callable[[], _T],
    *,
    sleep: Callable[[float], None],
    on_wait: Callable[[ServerUnavailable, float], None],
    should_stop: Callable[[], bool],
) -> _T:
    """What ``attempt`` answers, tried until its server is there.

    Between attempts ``sleep`` is called with the pause in seconds; before it ``on_wait`` gets the error and the pause.

    Raises:
        ServerUnavailable: told to stop while the server was away.
    """
    try:
        return attempt()
    except ServerUnavailable as error:
        failures = [error]

    def again() -> _T:
        if failures:
            raise failures.pop()
        return attempt()

    def waits(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ServerUnavailable) and state.next_action:
            on_wait(error, state.next_action.sleep)

    # A Retrying is a tangle of reference cycles, so none is made for an attempt that succeeds (decision 22).
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ServerUnavailable),
        wait=lambda state: backoff_s(state.attempt_number),
        stop=lambda _: should_stop(),
        sleep=sleep,
        before_sleep=waits,
        reraise=True,
    )
    return attempts(again)


class Retry(Protocol):
    """:func:`retry` with everything but the attempt given; ``server`` is its name for people."""

    def __call__(self, server: str, attempt: Callable[[], _T], /) -> _T: ...


class Outages:
    """Which servers are away. One log line when an outage begins, one when it ends."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._began_at: dict[str, float] = {}

    def is_of(self, server: str) -> bool:
        """Whether ``server`` is away."""
        return server in self._began_at

    def failed(self, error: ServerError, seconds: float) -> str:
        """An attempt failed; the next one is ``seconds`` away. Answers the server's name here."""
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
        return server

    def succeeded(self, server: str) -> None:
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
