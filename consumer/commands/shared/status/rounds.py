"""Carries out surveys beside each other, and waits for all of them only a few seconds.

A server that hangs is one line of the screen and delays nothing else. Its survey goes on in its own thread; the next
round does not begin it a second time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from consumer.commands.shared.status.facts import Facts, Unknown
from consumer.commands.shared.status.surveys import connectors, kafka_group, letters, redis_servers
from consumer.errors import CdcError
from consumer.settings.sources import Settings

WITHIN_S = 5.0
_LETTERS_S = 10.0
_T = TypeVar("_T")


class Survey(Generic[_T]):
    """One survey, again and again. ``server``: whom it asks. ``keep_s``: how long an answer is good enough."""

    def __init__(self, server: str, ask: Callable[[], _T], keep_s: float = 0.0) -> None:
        self._server = server
        self._ask = ask
        self._keep_s = keep_s
        self._answer: _T | Unknown | None = None
        self._answered_at = float("-inf")
        self._done = threading.Event()
        self._done.set()

    def begin(self) -> None:
        """Ask, unless the last question has no answer yet, or its answer is good enough."""
        if not self._done.is_set() or time.monotonic() - self._answered_at < self._keep_s:
            return
        self._done.clear()
        # A daemon, so that the program can end while a server hangs.
        threading.Thread(target=self._run, name=self._server, daemon=True).start()

    @property
    def has_answer(self) -> bool:
        """Whether nothing is being asked now."""
        return self._done.is_set()

    def answer(self, deadline: float) -> _T | Unknown | None:
        """The answer, if it comes until ``deadline``."""
        if not self._done.wait(max(0.0, deadline - time.monotonic())):
            why = f"{self._server} did not answer within {WITHIN_S:g} s"
            return Unknown(why, "check that it runs, and the network to it")
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except CdcError as error:
            self._answer = Unknown.of(error)
        except Exception as error:  # a mistake of this program: the other lines of the screen are true nevertheless
            self._answer = Unknown(f"{self._server} could not be asked: {type(error).__name__}", "report this")
        self._answered_at = time.monotonic()
        self._done.set()


class Surveys:
    """All surveys that a screen needs."""

    def __init__(self, settings: Settings) -> None:
        self._connectors = Survey("Kafka Connect", lambda: connectors(settings))
        self._redis = Survey("Redis", lambda: redis_servers(settings, _now_ms()))
        self._kafka = Survey("Kafka", lambda: kafka_group(settings))
        # The topic of dead letters is read from its beginning each time.
        self._letters = Survey("Kafka", lambda: letters(settings), _LETTERS_S)

    def facts(self) -> Facts:
        """Ask everybody once."""
        deadline = time.monotonic() + WITHIN_S
        for survey in (self._connectors, self._redis, self._kafka, self._letters):
            survey.begin()
        connectors_now = self._connectors.answer(deadline)
        redis_now, kafka_now = self._redis.answer(deadline), self._kafka.answer(deadline)
        letters_now = self._letters.answer(deadline)
        assert redis_now is not None  # noqa: S101  # only the survey of Connect answers None
        assert kafka_now is not None  # noqa: S101
        assert letters_now is not None  # noqa: S101
        return Facts(_now_ms(), connectors_now, redis_now, kafka_now, letters_now)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
