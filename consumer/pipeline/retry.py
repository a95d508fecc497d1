"""Retries while a server is away: the pauses, the number of attempts, and the log lines.

The reason of a wait is logged when the wait begins, when the reason changes, and then every few seconds
(:class:`Reminder`). So the last lines of a waiting program always contain the reason.
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
"""Default number of seconds after which the reason of a wait is logged again."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
_MOST_DOUBLINGS = 64  # more would exceed the range of a float; the longest pause is reached much earlier
_T = TypeVar("_T")


def backoff_s(failures: int, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S) -> float:
    """The pause in seconds after ``failures`` in a row: doubled each time, up to ``longest_s``.

    Up to half of it is random, so that processes that failed together do not retry together.
    """
    pause = min(longest_s, first_s * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311  # not for security


def retry(
    attempt: Callable[[], _T],
    *,
    sleep: Callable[[float], None],
    on_wait: Callable[[ServerUnavailable, float], None],
    should_stop: Callable[[], bool],
) -> _T:
    """Call ``attempt`` until its server is available, and answer its result.

    Between attempts ``sleep`` is called with the pause in seconds; before it, ``on_wait`` gets the error and the pause.

    Raises:
        ServerUnavailable: told to stop while the server was away.
    """
    try:
        return attempt()
    except ServerUnavailable as error:
        failures = [error]

    def attempt_again() -> _T:
        if failures:
            raise failures.pop()
        return attempt()

    def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ServerUnavailable) and state.next_action:
            on_wait(error, state.next_action.sleep)

    # A Retrying has reference cycles, so none is created if the first attempt succeeds (decision 22).
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ServerUnavailable),
        wait=lambda state: backoff_s(state.attempt_number),
        stop=lambda _: should_stop(),
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )
    return attempts(attempt_again)


class Reminder:
    """Decides when to log a lasting problem: when it begins or its reason changes, then every ``every_s`` seconds."""

    def __init__(self, every_s: float = REPEAT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._last_reason = ""
        self._logged_at = 0.0
        self._began_at = 0.0
        self._since = ""
        self._is_on = False

    @property
    def is_on(self) -> bool:
        """Whether the problem lasts."""
        return self._is_on

    @property
    def since(self) -> str:
        """When it began, as UTC time for log lines; "" before the first problem."""
        return self._since

    @property
    def lasted_s(self) -> float:
        """How long it has lasted, in seconds."""
        return self._clock() - self._began_at if self._is_on else 0.0

    def is_due(self, reason: str) -> bool:
        """The problem exists or still exists: whether to log ``reason`` now. If true, it counts as logged."""
        now = self._clock()
        if not self._is_on:
            self._is_on, self._began_at = True, now
            self._since = timestamp(round(time.time() * 1000))
        elif reason == self._last_reason and now - self._logged_at < self._every_s:
            return False
        self._last_reason, self._logged_at = reason, now
        return True

    def is_over(self) -> None:
        """The problem is over."""
        self._is_on = False


class Retry(Protocol):
    """:func:`retry` with all arguments given except the attempt; ``server`` is the server's name for log lines."""

    def __call__(self, server: str, attempt: Callable[[], _T], /) -> _T: ...


class Outages:
    """Which servers are away. Logs when an outage begins, every ``repeat_s`` seconds, and when it ends."""

    def __init__(
        self, observer: Observer, repeat_s: float = REPEAT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._observer = observer
        self._reminders = {server: Reminder(repeat_s, clock) for server in _BEGINS}

    def is_of(self, server: str) -> bool:
        """Whether ``server`` is away."""
        return self._reminders[server].is_on

    def failed(self, error: ServerError, seconds: float) -> str:
        """An attempt failed; the next one is in ``seconds``. Answers the server's name in this class."""
        server = error.server if error.server in _BEGINS else REGISTRY
        if self._reminders[server].is_due(""):
            _log.warning(
                f"{error.server} is not available, waiting; no record is lost",
                **_BEGINS[server],
                since=self._reminders[server].since,
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
        began, waited_s = reminder.since, round(reminder.lasted_s, 1)
        reminder.is_over()
        _log.info(f"{server} is available again", **_ENDS[server], since=began, waited_s=waited_s)
        if not any(each.is_on for each in self._reminders.values()):
            self._observer.servers_available()
