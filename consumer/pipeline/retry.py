"""Trying again while a server is away: how long to pause, how often, and what the operator hears of it.

What is waited for is said when it begins, when it is something else, and then every so often (:class:`Reminder`): an
operator who looks at the last lines of a program that waits must find the reason there.
"""

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
REPEAT_S = 60.0
"""How often what is still waited for is said again, in seconds, where nobody says otherwise."""
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


class Reminder:
    """When something that lasts is to be said: at its beginning, when it is another, and then every ``every_s``."""

    def __init__(self, every_s: float = REPEAT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._said = ""
        self._said_at = 0.0
        self._began_at = 0.0
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """Whether it lasts."""
        return self._is_on

    @property
    def lasted_s(self) -> float:
        """For how long it has, in seconds."""
        return self._clock() - self._began_at if self._is_on else 0.0

    def is_due(self, said: str) -> bool:
        """It is so, or still so: whether ``said`` is to be said now. Then that counts as done."""
        now = self._clock()
        if not self._is_on:
            self._is_on, self._began_at = True, now
        elif said == self._said and now - self._said_at < self._every_s:
            return False
        self._said, self._said_at = said, now
        return True

    def is_over(self) -> None:
        """It is so no more."""
        self._is_on = False


class Retry(Protocol):
    """:func:`retry` with everything but the attempt given; ``server`` is its name for people."""

    def __call__(self, server: str, attempt: Callable[[], _T], /) -> _T: ...


class Outages:
    """Which servers are away. A log line when an outage begins, one every ``repeat_s`` seconds, one when it ends."""

    def __init__(
        self, observer: Observer, repeat_s: float = REPEAT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observer = observer
        self._reminders = {server: Reminder(repeat_s, clock) for server in _BEGINS}

    def is_of(self, server: str) -> bool:
        """Whether ``server`` is away."""
        return self._reminders[server].is_on

    def failed(self, error: ServerError, seconds: float) -> str:
        """An attempt failed; the next one is ``seconds`` away. Answers the server's name here."""
        server = error.server if error.server in _BEGINS else REGISTRY
        if self._reminders[server].is_due(""):
            _log.warning(
                f"{error.server} can't serve, waiting; nothing is lost",
                **_BEGINS[server],
                since=since(self._reminders[server]),
                error=error.problem,
                advice=error.advice,
            )
        self._observer.waiting(error, seconds)
        return server

    def succeeded(self, server: str) -> None:
        """An attempt succeeded."""
        reminder = self._reminders[server]
        if not reminder.is_on:
            return
        began, waited_s = since(reminder), round(reminder.lasted_s, 1)
        reminder.is_over()
        _log.info(f"{server} serves again", **_ENDS[server], since=began, waited_s=waited_s)
        if not any(each.is_on for each in self._reminders.values()):
            self._observer.resumed()


def since(reminder: Reminder) -> str:
    """When it began, as log lines say it."""
    return timestamp(round((time.time() - reminder.lasted_s) * 1000))
