"""``run``: the parts put together, started in the order in which they can be waited for, and stopped in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import structlog
import tenacity

from consumer import metrics
from consumer.config import Settings
from consumer.errors import ServerUnavailable
from consumer.pipeline import Pipeline
from consumer.rules import Rules
from consumer.sink import RedisSink
from consumer.source import KafkaSource

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Stop:
    """Set by SIGTERM and SIGINT; ``by`` is the signal's number, 0 until then."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.by = 0

    def __call__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until told to stop."""
        self._event.wait(seconds)

    def listen(self) -> None:
        """From now on signals end the program in good order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, frame: object) -> None:
        self.by = self.by or number
        self._event.set()


def run(settings: Settings, rules: Rules, stop: Stop) -> None:
    """Follow the topics and keep Redis right, until ``stop``.

    Raises:
        ConfigError: before anything was read: a setting can't be used.
        Halt: a record can't be applied; nothing past it was committed.
        ServerError: Kafka can't go on.

    """
    with ExitStack() as exits:
        watching = metrics.Metrics()
        exits.callback(metrics.serve(settings.metrics, watching))
        sink = RedisSink(settings.redis, settings.guard, rules)
        exits.callback(sink.close)
        if _patiently(sink.reach, stop) is None:
            return
        pipeline = Pipeline(sink, rules, observer=watching, commit_interval_s=settings.kafka.commit_interval_ms / 1000)
        tables = [table.table for table in rules.tables]
        source = _patiently(lambda: KafkaSource(settings.kafka, tables, pipeline.revoked), stop)
        if source is None:
            return
        exits.callback(source.close)
        if not _topics(source, stop):
            return
        source.subscribe()
        _log.info("following", action="run.following", prefix=settings.kafka.topic_prefix)
        pipeline.run(source, stop)
        _log.info("stopped; everything that was done is committed", action="run.stopped")


def _patiently(attempt: Callable[[], _T], stop: Stop) -> _T | None:
    """What ``attempt`` answers, tried until the server is there; None if told to stop before."""

    def waits(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        _log.warning("waiting for a server", action="start.waiting", error=str(error))

    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ServerUnavailable),
        wait=tenacity.wait_exponential_jitter(initial=0.5, max=10),
        stop=lambda _: stop(),
        sleep=stop.wait,
        before_sleep=waits,
        reraise=True,
    )
    try:
        return tries(attempt)
    except ServerUnavailable:
        return None


def _topics(source: KafkaSource, stop: Stop) -> bool:
    """Wait until there is something to follow; False if told to stop before."""
    said = ""
    while not stop():
        missing = source.missing_topics()
        if not missing:
            return True
        if missing != said:
            _log.warning("waiting for topics", action="start.waiting", missing=missing)
            said = missing
        stop.wait(1.0)
    return False
