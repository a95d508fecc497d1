"""A tombstone whose delete was compacted away: the user is gone all the same."""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import key_of
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import Origin, SourcePosition
from consumer.events.record import SourceRecord
from consumer.guard.history import History
from consumer.mapping.rules import Rules
from consumer.planning.effect import Mode, Plan
from consumer.planning.plan import user_in

CONNECTOR = "kafka"
"""Stands for the database's connector where a change is known from Kafka alone."""


def orphaned_delete(
    record: SourceRecord, table_name: str, rules: Rules, schemas: Schemas, history: History
) -> ChangeEvent | None:
    """The delete that a tombstone stands for, or None where the delete itself is there, or nobody's row is gone.

    All that is known of it is the record's key, Kafka's timestamp, and the one table that its topic carries.

    Raises:
        ServerError: from ``schemas`` or ``history``.
    """
    table = rules.table(table_name)
    key = key_of(record.key, schemas)
    if table is None or not key or not history.is_orphan(record, key):
        return None
    with suppress(RecordError):
        user_in(key, table)
        place = f"{record.topic}/{record.partition}/{record.offset}"
        return ChangeEvent(
            table=table.table,
            op=Operation.DELETE,
            key=key,
            before=None,
            after=None,
            position=SourcePosition(CONNECTOR, "0", place, place, record.timestamp_ms, Origin.STREAMED),
            transaction_id=None,
            place=record.place,
            schema={},
            written_ms=record.timestamp_ms,
        )
    return None


def is_orphaned(event: ChangeEvent) -> bool:
    """Whether ``event`` was made of a tombstone."""
    return event.position.connector == CONNECTOR


def if_there(plan: Plan) -> Plan:
    """A removal that tells nobody where nothing of the user is there: on a compacted topic most tombstones are old."""
    return replace(plan, mode=Mode.REBUILD)
