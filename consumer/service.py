"""``run``: the parts put together, started in the order in which they can be waited for, and stopped in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import structlog

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.collector import relax
from consumer.config import Settings
from consumer.dead_letter_topic import DeadLetterTopic
from consumer.earlier import KafkaEarlier
from consumer.errors import ConfigError, ServerUnavailable
from consumer.guard.history import Histories
from consumer.metrics import Metrics
from consumer.patience import patiently
from consumer.pipeline import Pipeline
from consumer.probes import serve
from consumer.protocols import Step
from consumer.record import SourceRecord
from consumer.registry import Registry
from consumer.rules import Rules
from consumer.sink import RedisSink
from consumer.source import KafkaSource
from consumer.tolerance import Limit

_log = structlog.get_logger(__name__)


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
        if (
            self.by == number == signal.SIGINT
        ):  # Ctrl-C again: a server that hangs may keep the end in good order waiting
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.by = self.by or number
        self._event.set()


def run(settings: Settings, rules: Rules, stop: Stop) -> None:
    """Follow the topics and keep Redis right, until ``stop``.

    Raises:
        ConfigError: before anything was read: a setting can't be used.
        Halt: a record can't be applied; nothing past it was committed.
        ServerError: Kafka can't go on.
    """
    relax()
    with ExitStack() as exits:
        sink = RedisSink(settings.redis, settings.guard, rules, settings.kafka.group_id)
        exits.callback(sink.close)
        watching = _watching(settings, sink, exits)
        exits.callback(serve(settings.metrics, watching, sink.is_reachable))
        schemas: Schemas = NO_SCHEMAS
        if settings.registry.url is not None:
            schemas = registry = Registry(settings.registry)
            exits.callback(registry.close)
            with suppress(ServerUnavailable):  # it is waited for when it is needed
                registry.reach()
        letters = DeadLetterTopic(settings.kafka, settings.dead_letter_topic)
        exits.callback(letters.close)
        earlier = KafkaEarlier(settings.kafka, schemas, placeholder=rules.placeholder)
        exits.callback(earlier.close)
        pipeline = Pipeline(
            sink,
            rules,
            schemas=schemas,
            history=Histories(earlier, settings.guard.clock_ms),
            dead_letters=letters,
            limit=Limit(settings.dead_letters.in_a_row, settings.dead_letters.share),
            group=settings.kafka.group_id,
            observer=watching,
            commit_interval_s=settings.kafka.commit_interval_ms / 1000,
            linger_s=settings.kafka.linger_ms / 1000,
        )
        tables = rules.captured()

        def connect() -> KafkaSource:
            return KafkaSource(settings.kafka, tables, pipeline.revoked, watching)

        def waits(error: ServerUnavailable, seconds: float) -> None:
            watching.waiting(error, seconds)
            _log.warning("waiting for a server", action="start.waiting", error=str(error), again_in_s=round(seconds, 1))

        try:
            patiently(sink.reach, sleep=stop.wait, on_wait=waits, should_stop=stop)
            source = patiently(connect, sleep=stop.wait, on_wait=waits, should_stop=stop)
            patiently(letters.reach, sleep=stop.wait, on_wait=waits, should_stop=stop)
        except ServerUnavailable:
            return  # told to stop before there was anything to follow
        watching.resumed()
        exits.callback(source.close)
        if not _topics(source, stop):
            return
        source.subscribe()
        _log.info("following", action="run.following", prefix=settings.kafka.topic_prefix)
        pipeline.run(source, stop)
        _log.info("stopped; everything that was done is committed", action="run.stopped")


def _watching(settings: Settings, sink: RedisSink, exits: ExitStack) -> Metrics:
    """Whoever is told of everything: metrics, and traces if they are wanted."""
    ready_lag_s = settings.metrics.ready_lag_s or float("inf")
    if not settings.tracing.enabled:
        return Metrics(index=sink.index_state, ready_lag_s=ready_lag_s)
    try:
        from consumer.tracing import open_tracing  # optional, and slow to import
    except ImportError:
        raise ConfigError(
            "CDC_TRACING__ENABLED", "OpenTelemetry is not installed", "false, or pip install 'cdc-consumer[otel]'"
        ) from None
    tracing = open_tracing(settings.kafka.group_id)
    exits.callback(tracing.close)

    class Traced(Metrics):
        def took(self, records: Sequence[SourceRecord]) -> None:
            tracing.took(records)

        def stepped(self, steps: Sequence[Step]) -> None:
            super().stepped(steps)
            tracing.stepped(steps)

    return Traced(index=sink.index_state, ready_lag_s=ready_lag_s)


def _topics(source: KafkaSource, stop: Stop) -> bool:
    """Wait until there is something to follow; False if told to stop before."""
    said = ""
    while not stop():
        try:
            missing = source.missing_topics()
        except ServerUnavailable as error:
            missing = str(error)
        if not missing:
            return True
        if missing != said:
            _log.warning("waiting for topics", action="start.waiting", missing=missing)
            said = missing
        stop.wait(1.0)
    return False
