"""A tombstone whose delete was removed by compaction still means that the user was deleted."""

from __future__ import annotations

from contextlib import suppress

from consumer.errors import RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import key_of
from consumer.events.event import ChangeEvent, Operation
from consumer.events.position import Origin, SourcePosition
from consumer.events.record import SourceRecord
from consumer.guard.history import History
from consumer.mapping.rules import Rules
from consumer.planning.effect import Plan
from consumer.planning.plan import user_in
from consumer.planning.shape import Mode

CONNECTOR = "kafka"
"""Used instead of the database's connector, if a change is known only from Kafka."""


def delete_of_lone_tombstone(
    record: SourceRecord, table_name: str, rules: Rules, schemas: Schemas, history: History
) -> ChangeEvent | None:
    """The delete for a tombstone; None if the delete itself is in the topic, or if the tombstone is of no user.

    Only the record's key, Kafka's timestamp, and the topic's only table are known of this delete.

    Raises:
        ServerError: from ``schemas`` or ``history``.
    """
    key = key_of(record.key, schemas)
    if rules.table(table_name) is None or not key or not history.is_delete_missing(record, key):
        return None
    return delete_of_tombstone(record, table_name, rules, schemas)


def delete_of_tombstone(record: SourceRecord, table_name: str, rules: Rules, schemas: Schemas) -> ChangeEvent | None:
    """The delete that a lone tombstone means; None if it is of no user.

    Raises:
        ServerError: from ``schemas``.
    """
    table, key = rules.table(table_name), key_of(record.key, schemas)
    if table is None or not key:
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


def is_of_lone_tombstone(event: ChangeEvent) -> bool:
    """Whether ``event`` was made from a tombstone."""
    return event.position.connector == CONNECTOR


def published_if_user_exists(plan: Plan) -> Plan:
    """``plan``, but without messages if Redis has no key of the user: in a compacted topic most tombstones are old."""
    return plan.in_mode(Mode.REBUILD)
