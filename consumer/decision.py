"""A source record to a decision: decode, parse, plan, in one pure step that every command shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from consumer.avro import NO_SCHEMAS, Schemas
from consumer.decimals import spelled
from consumer.effect import Plan
from consumer.envelope import parse
from consumer.errors import RecordError
from consumer.event import ChangeEvent, Ignored, Tombstone
from consumer.plan import Nothing, plan
from consumer.record import SourceRecord
from consumer.rules import Rules


class Outcome(StrEnum):
    """What was decided about a record."""

    PLANNED = "planned"
    NOTHING = "nothing"
    IGNORED = "ignored"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Decision:
    """``event`` and ``plan`` are there where the record got so far, ``error`` where it was rejected."""

    outcome: Outcome
    reason: str
    event: ChangeEvent | None = None
    plan: Plan | None = None
    error: RecordError | None = None


def decide(record: SourceRecord, rules: Rules, schemas: Schemas = NO_SCHEMAS) -> Decision:
    """What to do about ``record``; never raises for bad input, but answers with a rejection that has its place.

    Raises:
        ServerError: from ``schemas``, which only Avro asks.

    """
    event: ChangeEvent | Tombstone | Ignored | None = None
    try:
        event = parse(record, schemas)
        if isinstance(event, Tombstone):
            return Decision(Outcome.IGNORED, "a tombstone: the delete came before it")
        if isinstance(event, Ignored):
            return Decision(Outcome.IGNORED, event.reason)
        if (table := rules.table(event.table)) is not None:
            event = spelled(event, table.money())
        planned = plan(event, rules)
    except RecordError as error:
        error.place = record.place
        change = event if isinstance(event, ChangeEvent) else None
        return Decision(Outcome.REJECTED, str(error), change, error=error)
    if isinstance(planned, Nothing):
        return Decision(Outcome.NOTHING, planned.reason, event)
    return Decision(Outcome.PLANNED, "; ".join(planned.reasons), event, planned)
