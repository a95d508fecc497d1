"""Finds the records about one user in the topics, with a client outside of any group."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

from consumer.commands.shared.explain.history import is_of
from consumer.commands.shared.explain.timeline import Window
from consumer.errors import ConfigError
from consumer.events.avro import Schemas
from consumer.events.envelope import key_of
from consumer.events.record import Partition, SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.search import EarlierRecords
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.planning.decision import decide_all
from consumer.settings.sections import Kafka
from consumer.source.bounds import At, Bound, Span
from consumer.source.range_reader import read, resolve
from consumer.source.topic_selection import Selection

_MARGIN_MS = 2000
_SHORTER = "choose a shorter one"


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much may be read. None: any number.

    ``records``: of all users whose partition is the user's. ``of_user``: what may be about the user; these are kept in
    memory. ``check`` is called again and again while records are read, and may raise to end it.
    """

    records: int | None = None
    of_user: int | None = None
    check: Callable[[], None] = lambda: None

    def check_spans(self, spans: Sequence[Span]) -> None:
        """Refuse a range that is too large.

        Raises:
            ConfigError: it has more records than allowed.
        """
        size = sum(span.size for span in spans)
        if self.records is not None and size > self.records:
            text = f"this range has {size:,} records in the user's partitions, more than {self.records:,}"
            raise ConfigError("range", text, fix=_SHORTER)

    def check_found(self, count: int) -> None:
        """Refuse ``count`` records about the user, which were found so far, if they are too many.

        Raises:
            ConfigError: there are more than allowed.
        """
        self.check()
        if self.of_user is not None and count > self.of_user:
            raise ConfigError("range", f"this range has more than {self.of_user:,} records of the user", fix=_SHORTER)


NO_LIMITS = ReadLimits()


def spans_of(
    settings: Kafka, selection: Selection, user: UserId, rules: Rules, stored: Mapping[str, Version], window: Window
) -> Sequence[Span]:
    """The ranges that may have records of ``user`` in ``window``, at most up to the present ends of the topics.

    A stored version of a table shows the partition of the user's rows.

    Raises:
        ConfigError: a bound names a partition that does not exist.
        ServerUnavailable, ServerError: from the broker.
    """
    others = {table.table for table in rules.tables if table.user_type != user.user_type}
    tables = [name for name in rules.captured() if name not in others]
    home = {version.topic: version.partition for version in stored.values()}
    return [
        span
        for span in resolve(settings, selection.carrying(tables), window.begin, window.end, may_be_later=True)
        if home.get(span.topic, span.partition) == span.partition
    ]


def with_margins(window: Window) -> Window:
    """``window``, a little wider: rows of one database transaction may be on both sides of a bound."""
    return Window(_moved(window.begin, -_MARGIN_MS), _moved(window.end, _MARGIN_MS))


def _moved(bound: Bound, by_ms: int) -> Bound:
    return At(max(0, bound.ms + by_ms)) if isinstance(bound, At) else bound


def removed(spans: Sequence[Span], earlier: EarlierRecords, begin_ms: int) -> Mapping[str, int]:
    """By topic, the time before which records may be missing, if it is after ``begin_ms``; UTC milliseconds.

    Retention or compaction removed them. The latest time counts if the partitions differ.

    Raises:
        ServerUnavailable: from the broker.
    """
    found: dict[str, int] = {}
    for span in spans:
        kept_ms = earlier.coverage(Partition(span.topic, span.partition)).kept_ms
        if kept_ms > begin_ms:
            found[span.topic] = max(kept_ms, found.get(span.topic, 0))
    return found


def records_of(
    settings: Kafka,
    spans: Sequence[Span],
    user: UserId,
    rules: Rules,
    schemas: Schemas,
    tables: TopicTables,
    advance: Callable[[int], None],
    limits: ReadLimits = NO_LIMITS,
) -> list[SourceRecord]:
    """The records in ``spans`` that may be about ``user``, approximately in the order of their times.

    ``tables``: the known tables of each topic. ``advance`` is called with the number of offsets that were read.

    Raises:
        ConfigError: there are more than ``limits`` allow.
        ServerUnavailable, ServerError: from the broker, or from the registry.
    """
    is_theirs = _filter(user, rules, schemas, tables)
    found: dict[Span, list[SourceRecord]] = {span: [] for span in spans}
    at = {span: span.begin for span in spans}
    for span, records, position in read(settings, spans):
        found[span] += [record for record in records if is_theirs(record)]
        limits.check_found(sum(map(len, found.values())))
        advance(position - at[span])
        at[span] = position
    # Each partition keeps its order, whatever the times are.
    return list(merge(*found.values(), key=lambda record: record.timestamp_ms))


def _filter(user: UserId, rules: Rules, schemas: Schemas, tables: TopicTables) -> Callable[[SourceRecord], bool]:
    """A test whether a record may be about ``user``. It searches the text of JSON, so that few records are decoded."""
    names = {table.key for table in rules.tables} | {table.user_id for table in rules.linked}
    columns = "|".join(re.escape(name) for name in sorted(names)).encode()
    number = re.compile(rb'"(?:%s)"\s*:\s*"?%d"?\s*[,}]' % (columns, user.id))

    def is_theirs(record: SourceRecord) -> bool:
        value = record.value
        if value is None:
            row = key_of(record.key, schemas)  # a tombstone has only a key
            return any(str(row[name]) == str(user.id) for name in names & row.keys())
        if number.search(value) or (record.key is not None and number.search(record.key)):
            return True
        if value[:1] == b"{":
            return False
        (decision,) = decide_all([record], rules, schemas, tables)
        return is_of(user, decision, rules)

    return is_theirs
