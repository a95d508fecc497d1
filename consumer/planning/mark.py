"""The mark of a user with a change that could not be applied: the user's next good change writes the whole image.

A change contains the difference from the change before it. If that one was not applied, the difference is not enough.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from consumer.errors import Place, RecordError
from consumer.events.avro import Schemas
from consumer.events.envelope import key_of
from consumer.events.event import ChangeEvent
from consumer.events.position import Origin
from consumer.events.record import SourceRecord
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Plan
from consumer.planning.plan import user_in
from consumer.planning.shape import Mode, PlanShape, shared


def marks_unread(
    record: SourceRecord, event: ChangeEvent | None, tables: Collection[str], rules: Rules, schemas: Schemas
) -> tuple[Plan, ...]:
    """The marks for the user of ``record``; empty if the user can't be known, or if a mark would heal nobody.

    ``event``: None if the record could not be parsed. Then the record's key gives the user, and the record may be of
    any of ``tables``, the known tables of its topic. If nothing is known of the topic, it may be of any table of the
    mapping. A needless mark makes one change write the whole row. A missing mark leaves an old value forever.

    Raises:
        ServerError: from ``schemas``, which only Avro keys need.
    """
    names = (event.table,) if event is not None else tables or [table.table for table in rules.tables]
    found = [rules.table(name) for name in names]
    marks = [mark_unread(record, event, table, rules, schemas) for table in found if table is not None]
    return tuple(each for each in marks if each is not None)


def mark_unread(
    record: SourceRecord, event: ChangeEvent | None, table: UserTable, rules: Rules, schemas: Schemas
) -> Plan | None:
    """The mark for the user of ``record``, if it is of ``table``; None if the user can't be known.

    Raises:
        ServerError: as :func:`marks_unread`.
    """
    images = () if event is None else (event.after, event.before)
    for row in (*images, key_of(record.key, schemas)):
        with suppress(RecordError):
            schema = event.schema if event is not None else {}
            return mark(user_in(row or {}, table, schema), table.table, record.place, rules)
    return None


def mark_refused(plan: Plan, rules: Rules) -> Plan | None:
    """The mark for a plan that Redis will always refuse; None for linked tables, where a mark would heal nothing."""
    version = plan.version
    if rules.table(plan.table) is None:
        return None
    return mark(plan.user, plan.table, Place(version.topic, version.partition, version.offset), rules)


def mark(user: UserId, table: str, place: Place, rules: Rules) -> Plan:
    """The mark for a change at ``place``: the next good change of ``user``'s row must write everything.

    Only the place counts. If a later record of the row was applied already, nothing needs healing. A record before the
    place does not heal.
    """
    shape = PlanShape(
        table=table,
        user_type=user.user_type,
        guard=rules.names.guard,
        mode=Mode.MARK,
        reasons=("a change could not be applied",),
    )
    version = Version(rules.epoch, Origin.STREAMED, 0, 0, place.topic, place.partition, place.offset)
    return Plan(user, shared(shape), version)
