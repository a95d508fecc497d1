"""The records that ``plan`` reads: of a recording, or of the live topics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from consumer.errors import ConfigError, UnknownTable
from consumer.events.avro import Schemas
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import TopicTables, parse_topic_name
from consumer.mapping.rules import Rules
from consumer.observability.progress import Progress
from consumer.pipeline.batch import batched
from consumer.planning.decision import Decision, Outcome, decide_all, first_database
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.source import recording
from consumer.source.bounds import Bound, check_order
from consumer.source.consumed_topics import selected
from consumer.source.ordered_reader import read_in_order
from consumer.source.range_reader import resolve


@dataclass(frozen=True, slots=True)
class Inputs:
    """Batches of records. ``name``: where they are, in a text. ``databases``: those that are consumed; None: the first
    one in the records.
    """

    batches: Iterator[list[SourceRecord]]
    name: str
    databases: frozenset[str] | None = None


def of_recording(file: Path) -> Inputs:
    """The records of a recording."""
    return Inputs(batched(recording.read(file)), recording.shown(file))


def of_topics(
    settings: Settings, rules: Rules, other: Rules | None, schemas: Schemas, begin: Bound, end: Bound
) -> Inputs:
    """The records of the topics of ``rules``, and of those of ``other``.

    Raises:
        ConfigError: the bounds are not possible, or there is no topic.
        ServerUnavailable, ServerError: from Kafka, or from the registry.
    """
    check_order(begin, end)
    found = selected(settings, _together(rules, other), schemas, group_databases.load_if_reachable)
    if found.lacking:
        raise ConfigError("CDC_KAFKA__TOPICS", f"does not exist: {found.lacking}", allowed="topics of this cluster")
    spans = resolve(settings.kafka, found.topics, begin, end)

    def records() -> Iterator[SourceRecord]:
        with Progress(action="plan.progress", unit="offsets") as progress:
            progress.begin("plan", sum(span.size for span in spans))
            yield from read_in_order(settings.kafka, spans, progress.advance)

    return Inputs(batched(records()), "the topics between --from and --to", found.databases)


def _together(rules: Rules, other: Rules | None) -> Rules:
    """Rules with the tables of both, to find the topics."""
    if other is None:
        return rules
    known = set(rules.captured())
    tables = tuple(each for each in other.tables if each.table not in known)
    linked = tuple(each for each in other.linked if each.table not in known)
    return replace(rules, tables=(*rules.tables, *tables), linked=(*rules.linked, *linked))


class Decider:
    """Decides batches of records with one mapping, as ``run`` would."""

    def __init__(
        self, rules: Rules, schemas: Schemas, databases: frozenset[str] | None, topics: tuple[str, ...]
    ) -> None:
        """``topics``: those that the settings name; other topics are consumed only if the mapping names their table."""
        self._rules = rules if databases is None or rules.databases else replace(rules, databases=databases)
        self._schemas = schemas
        self._tables = TopicTables(rules.captured())
        self._topics = topics

    def decide(self, records: list[SourceRecord]) -> list[Decision]:
        """The decisions about ``records``.

        Raises:
            ServerError: from the registry.
        """
        if not self._rules.databases:  # as `run`, which applies only the first database that it meets
            self._rules = replace(self._rules, databases=first_database(records, self._schemas))
        return decide_all(records, self._rules, self._schemas, self._tables)

    def as_consumed(self, record: SourceRecord, decision: Decision) -> Decision:
        """The decision; but `run` does not even read a topic whose table the mapping does not name."""
        event = decision.event
        if not isinstance(decision.error, UnknownTable) or event is None or record.topic in self._topics:
            return decision
        if parse_topic_name(record.topic, (event.table,)) is None:  # another name: the topic may be consumed
            return decision
        return Decision(Outcome.IGNORED, "no rule names its table, so its topic is not consumed", event)
