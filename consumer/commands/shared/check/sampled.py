"""Findings about the newest records of a topic: their faults come from the connector or the database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consumer.commands.shared.finding import Finding, Level, failure, ok, warning
from consumer.errors import RecordError, Unsupported
from consumer.events.avro import MAGIC, Schemas
from consumer.events.codec import decode
from consumer.events.event import Operation
from consumer.events.record import SourceRecord
from consumer.mapping.rules import Rules
from consumer.mapping.schema_drift import DriftKind
from consumer.pipeline.policy import OTHER_DATABASE
from consumer.planning.decision import Decision, Outcome, decide

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_OLDER = "; older records still stop `run` unless CDC_SOURCE__ACCEPT_MISSING_BEFORE=true"


@dataclass(frozen=True, slots=True)
class _Seen:
    record: SourceRecord
    decision: Decision

    @property
    def lacks_before(self) -> bool:
        event = self.decision.event
        return event is not None and event.op is Operation.UPDATE and event.before is None


def of_sample(topic: str, records: Sequence[SourceRecord], rules: Rules, schemas: Schemas) -> Iterator[Finding]:
    """Findings about ``records``, the newest of ``topic``. No finding contains a row value.

    Raises:
        ServerError: from ``schemas``.
    """
    subject = f"records of {topic}"
    seen = [_Seen(record, decide(record, rules, schemas)) for record in records]
    found = [
        *_without_before(subject, seen, rules, schemas),
        *_rejected(subject, seen),
        *_of_other_databases(subject, seen),
        *_formats(subject, seen),
        *_columns(subject, seen),
    ]
    if found:
        yield from found
    elif records:
        yield ok(subject, f"the newest {len(records)} can be read")
    else:
        yield ok(subject, "there are none yet, so nothing could be checked")


def _without_before(subject: str, seen: Sequence[_Seen], rules: Rules, schemas: Schemas) -> Iterator[Finding]:
    lacking = [each for each in seen if each.lacks_before]
    if not lacking:
        return
    updates = [each for each in seen if each.decision.event and each.decision.event.op is Operation.UPDATE]
    newest = max(updates, key=lambda each: each.record.timestamp_ms)
    last = max(lacking, key=lambda each: each.record.timestamp_ms)
    problem = f"{len(lacking)} of {len(updates)} updates come without the old row image, such as {last.record.place}"
    if not newest.lacks_before:
        yield warning(subject, f"{problem}; the newest update has it", f"nothing more to change{_OLDER}")
        return
    level = Level.WARNING if rules.accept_missing_before else Level.FAILURE
    yield Finding(level, subject, problem, _advice(last.record, schemas) + _OLDER)


def _advice(record: SourceRecord, schemas: Schemas) -> str:
    assert record.value is not None  # an update has one
    source = decode(record.value, schemas).payload["source"]
    if source.get("connector") != "postgresql":
        return "set binlog_row_image=FULL on the database server, in its option file too"
    table = ".".join(_quoted(str(source[name])) for name in ("schema", "table") if source.get(name))
    return f"ALTER TABLE {table} REPLICA IDENTITY FULL;"


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _rejected(subject: str, seen: Sequence[_Seen]) -> Iterator[Finding]:
    """Each kind of rejection once, with the place of its last record."""
    last: dict[tuple[str, str], RecordError] = {}
    count: Counter[tuple[str, str]] = Counter()
    for each in seen:
        error = each.decision.error
        if each.decision.outcome is Outcome.REJECTED and error is not None and not each.lacks_before:
            kind = (type(error).__name__, error.field)
            last[kind] = error
            count[kind] += 1
    for kind, error in last.items():
        more = f" ({count[kind]} of {len(seen)} records)" if count[kind] > 1 else ""
        # A TRUNCATE is in the past: it stops `run` there, but the connector is configured correctly.
        say = warning if isinstance(error, Unsupported) else failure
        yield say(subject, f"{error}{more}", error.advice)


def _of_other_databases(subject: str, seen: Sequence[_Seen]) -> Iterator[Finding]:
    counts = Counter(each.decision.database for each in seen if each.decision.database)
    for database, count in sorted(counts.items()):
        yield warning(
            subject,
            f"{count} of {len(seen)} are rows of the database {database}, which is not consumed: they are not applied",
            OTHER_DATABASE,
        )


def _formats(subject: str, seen: Sequence[_Seen]) -> Iterator[Finding]:
    events = [(each.record.value, each.decision.event) for each in seen if each.record.value]
    if any(value[0] == MAGIC and event is not None for value, event in events if value):
        yield warning(
            subject,
            "Avro: NULL in a column that has a default arrives as the default",
            "JSON with value.converter.replace.null.with.default=false, or columns without a default",
        )


_DRIFTS = {
    DriftKind.SCALE: (
        "precise decimals in JSON without schema: the record does not contain the scale, so the mapping's is used",
        "set decimal.handling.mode=string on the connector, or check that the mapping's scales are the columns'",
    ),
    DriftKind.UNKNOWN: (
        "columns that the mapping does not name: {}; their changes are not published",
        "name them in the mapping: in columns, outside or ignored",
    ),
    DriftKind.MISSING: (
        "columns of the mapping that the rows lack: {}; their fields are not written",
        "add them to the connector's column.include.list, or remove them from the mapping",
    ),
    DriftKind.UNREADABLE: (
        "optional columns with values that can't be read: {}; their fields are not changed",
        "check these values in the database, and the kind of these columns in the mapping",
    ),
    DriftKind.VALUE: (
        "columns with values that the mapping does not list: {}; such rows change nothing",
        "check these values in the database; add the right ones to the mapping: done, not_done, other_types",
    ),
}


def _columns(subject: str, seen: Sequence[_Seen]) -> Iterator[Finding]:
    drifts = {drift for each in seen for drift in each.decision.drifts}
    for kind, (text, advice) in _DRIFTS.items():
        if columns := sorted(drift.column for drift in drifts if drift.kind is kind):
            yield warning(subject, text.format(", ".join(columns)), advice)
