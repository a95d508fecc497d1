"""Asks Kafka which topics to consume; the same code for every command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from consumer.errors import RecordError, ServerError, ServerUnavailable
from consumer.events.avro import Schemas
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.mapping.rules import Rules
from consumer.settings.sections import Kafka
from consumer.settings.sources import Settings
from consumer.source.clients.kafka import committed_topics, topics
from consumer.source.topic_reader import read_edges
from consumer.source.topic_selection import Known, Row, Selection, select, to_look_at

_log = structlog.get_logger(__name__)


def selected(
    settings: Settings, rules: Rules, schemas: Schemas, remembered: Callable[[Settings], frozenset[str]]
) -> Selection:
    """The topics to consume. ``remembered`` answers which databases the group consumed before.

    Raises:
        ConfigError: as :func:`consumer.source.topic_selection.select`, or a server refuses the settings.
        ServerUnavailable, ServerError: from Kafka, Redis or the registry.
    """
    kafka, tables = settings.kafka, rules.captured()
    explicit = frozenset(settings.source.database)
    known = Known(
        topics(kafka),
        explicit,
        frozenset() if explicit else remembered(settings),
        frozenset() if explicit else committed_topics(kafka),
    )
    rows = _rows(kafka, to_look_at(known, kafka, tables), rules, schemas)
    return select(replace(known, rows=rows), kafka, tables)


def say_if_uneven(selection: Selection) -> None:
    """Log that the topics' partition numbers differ: then a user's tables may be assigned to different members."""
    if selection.uneven:
        _log.warning(
            "topics differ in their number of partitions: one database transaction may cause several messages",
            action="start.not_copartitioned",
            partitions=selection.uneven,
        )


def _rows(settings: Kafka, names: Sequence[str], rules: Rules, schemas: Schemas) -> list[Row]:
    """The tables and databases in the oldest and the newest records of these topics."""
    found: dict[Row, None] = {}
    try:
        records = read_edges(settings, names) if names else []
    except ServerError as error:
        # Topics that can't be read, or that this account may not read, are reported by the code that consumes them.
        if isinstance(error, ServerUnavailable) and "Authorization" not in error.cause:
            raise
        records = []
    for record in records:
        try:
            event = parse(record, schemas)
        except RecordError:
            continue
        if isinstance(event, ChangeEvent) and event.database:
            table = rules.captured_name(event.table) or event.table
            found[Row(record.topic, table, event.database)] = None
    return list(found)
