"""``run``: builds the consumer from its parts, starts them in the right order, and stops them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

import structlog

from consumer.commands.replay.background import BackgroundRebuild
from consumer.commands.run.background import every
from consumer.commands.run.member_reporter import LOOK_S, MemberReporter
from consumer.commands.run.minute_reporter import MinuteReporter
from consumer.commands.run.source_watch import watch_source
from consumer.commands.shared.stop import Stop
from consumer.errors import ServerUnavailable
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.record import Partition, SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import Histories
from consumer.mapping.rules import Rules
from consumer.observability.metrics import Metrics
from consumer.observability.probes import serve
from consumer.pipeline.dead_letter_limit import Limit
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Rebuild, RecordResult
from consumer.pipeline.retry import Reminder, retry
from consumer.settings import extras
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.minute_store import MinuteStore
from consumer.sink.redis_sink import RedisSink
from consumer.sink.report_store import ReportStore
from consumer.source.consumed_topics import say_if_uneven, selected
from consumer.source.dead_letter_topic import DeadLetterTopic
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.group_consumer import KafkaSource
from consumer.source.registry import Registry
from consumer.source.topic_selection import Selection

_log = structlog.get_logger(__name__)
_YOUNG_OBJECTS = 200_000
"""After so many new objects the garbage collector looks at them: several batches' worth."""


def run(settings: Settings, rules: Rules, stop: Stop, worker: int | None = None) -> None:
    """Consume the topics and keep Redis up to date, until ``stop``. ``worker``: the number of this process, if several.

    Raises:
        ConfigError: a setting can't be used; nothing was read.
        Halt: a record can't be applied; nothing after it was committed.
        ServerError: Kafka can't continue.
    """
    _collect_garbage_less_often()
    tables = TopicTables(rules.captured())
    with ExitStack() as exits:
        sink = RedisSink(settings.redis, settings.guard, rules, settings.kafka.group_id)
        exits.callback(sink.close)
        observer = _open_observer(settings, sink, tables, exits)
        exits.callback(serve(settings.metrics, observer, sink.is_reachable))
        schemas: Schemas = NO_SCHEMAS
        if settings.registry.url is not None:
            schemas = registry = Registry(settings.registry)
            exits.callback(registry.close)
            with suppress(ServerUnavailable):  # the pipeline waits for it when it is needed
                registry.reach()
        letters = DeadLetterTopic(settings.kafka, settings.dead_letter_topic)
        exits.callback(letters.close)
        earlier = KafkaEarlierRecords(settings.kafka, schemas, placeholder=rules.placeholder)
        exits.callback(earlier.close)

        def connect() -> KafkaSource:
            return KafkaSource(settings.kafka, rules.captured(), revoked, observer, settings.log.repeat_s)

        def revoked(partitions: Sequence[Partition]) -> None:
            pipeline.revoked(partitions)  # it exists before the source joins the group

        reminder = Reminder(settings.log.repeat_s)

        def log_wait(error: ServerUnavailable, seconds: float) -> None:
            observer.waiting(error, seconds)
            if reminder.is_due(str(error)):
                _log.warning("waiting for a server", action="start.waiting", since=reminder.since, error=str(error))

        reporter = MemberReporter(ReportStore(settings.redis, settings.kafka.group_id), observer.figures, worker)
        try:
            retry(sink.reach, sleep=stop.wait, on_wait=log_wait, should_stop=stop)
            _report(settings, reporter, observer, exits)
            source = retry(connect, sleep=stop.wait, on_wait=log_wait, should_stop=stop)
            retry(letters.reach, sleep=stop.wait, on_wait=log_wait, should_stop=stop)
        except ServerUnavailable:
            return  # told to stop before anything was read
        observer.servers_available()
        exits.callback(source.close)
        earlier.keep_alive = lambda: source.idle(0.001)
        try:
            selection = _selection(settings, rules, schemas, stop, log_wait, reminder)
        except ServerUnavailable:
            return
        observer.servers_available()
        tables.include(selection.tables, selection.topics)
        rules = replace(rules, databases=selection.databases)
        pipeline = Pipeline(
            sink,
            rules,
            schemas=schemas,
            dead_letters=letters,
            limit=Limit(settings.dead_letters.in_a_row, settings.dead_letters.share),
            attempts=settings.dead_letters.attempts,
            group=settings.kafka.group_id,
            tables=tables,
            history=Histories(earlier, settings.guard.clock_ms),
            observer=observer,
            rebuild=_rebuild(settings, rules, tables, exits),
            repeat_s=settings.log.repeat_s,
            commit_interval_s=settings.kafka.commit_interval_ms / 1000,
            linger_s=settings.kafka.linger_ms / 1000,
        )
        say_if_uneven(selection)
        reporter.heartbeat_age_s = watch_source(settings, selection.topics, observer, exits).age_s
        source.subscribe(selection)
        _log.info(
            "consuming",
            action="run.following",
            prefix=settings.kafka.topic_prefix,
            databases=", ".join(sorted(selection.databases)),
            topics=len(selection.topics),
        )
        pipeline.run(source, stop)
        _log.info("stopped; everything that was applied is committed", action="run.stopped")


def _open_observer(settings: Settings, sink: RedisSink, tables: TopicTables, exits: ExitStack) -> Metrics:
    """The observer of the pipeline: metrics, and traces if they are enabled."""
    ready_lag_s = settings.metrics.ready_lag_s or float("inf")
    if not settings.tracing.enabled:
        return Metrics(index=sink.index_state, ready_lag_s=ready_lag_s, tables=tables)
    extras.need("otel", "CDC_TRACING__ENABLED")
    from consumer.observability.tracing import open_tracing  # optional, and slow to import

    tracing = open_tracing(settings.kafka.group_id)
    exits.callback(tracing.close)

    class Traced(Metrics):
        def batch_started(self, records: Sequence[SourceRecord]) -> None:
            tracing.batch_started(records)

        def records_done(self, results: Sequence[RecordResult]) -> None:
            super().records_done(results)
            tracing.records_done(results)

    return Traced(index=sink.index_state, ready_lag_s=ready_lag_s, tables=tables)


def _rebuild(settings: Settings, rules: Rules, tables: TopicTables, exits: ExitStack) -> Rebuild | None:
    """The rebuild of an emptied Redis; None if the settings leave that to an operator."""
    if settings.redis.when_emptied == "wait":
        return None
    rebuild = BackgroundRebuild(settings, rules, tables)
    exits.callback(rebuild.close)
    return rebuild


def _report(settings: Settings, reporter: MemberReporter, observer: Metrics, exits: ExitStack) -> None:
    """Leave this member's figures, and its part of the group's minutes, in Redis, until the end."""
    exits.callback(every(LOOK_S, reporter.look, "report", reporter.close))
    minutes = MinuteReporter(MinuteStore(settings.redis, settings.kafka.group_id), observer.figures)
    exits.callback(every(LOOK_S, minutes.look, "minutes", lambda: None))


def _selection(
    settings: Settings,
    rules: Rules,
    schemas: Schemas,
    stop: Stop,
    on_wait: Callable[[ServerUnavailable, float], None],
    reminder: Reminder,
) -> Selection:
    """Wait until there are topics to consume.

    Raises:
        ServerUnavailable: told to stop before.
    """
    while True:
        found = retry(
            lambda: _select_and_store(settings, rules, schemas), sleep=stop.wait, on_wait=on_wait, should_stop=stop
        )
        if not found.lacking:
            return found
        if reminder.is_due(found.lacking):
            _log.warning("waiting for topics", action="start.waiting", since=reminder.since, missing=found.lacking)
        stop.wait(1.0)
        if stop():
            raise ServerUnavailable("Kafka", found.lacking)


def _select_and_store(settings: Settings, rules: Rules, schemas: Schemas) -> Selection:
    """The topics to consume. The database is stored in Redis, for members that join the group later."""
    found = selected(settings, rules, schemas, group_databases.load)
    if found.lacking:
        return found
    if settings.source.database:
        group_databases.store(settings, found.databases)
        return found
    if group_databases.store_if_absent(settings, found.databases) != found.databases:
        return selected(settings, rules, schemas, group_databases.load)  # another member stored its database first
    return found


def _collect_garbage_less_often() -> None:
    """Let Python's garbage collector look seldom, and never at what exists already: the program itself.

    A batch makes tens of thousands of objects that live until it is done, and hardly any reference cycles. By default
    the collector looks at all of them several times a batch. That costs a sixth of the processor time of a change
    (docs/decisions/0022-two-batches-in-flight.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 50, 100)
