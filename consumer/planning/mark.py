"""The mark of a user whose change could not be applied: the next good change of theirs writes the whole image.

A change tells what differs from the one before it. If that one never reached Redis, the difference is not enough.
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
from consumer.mapping.keys import UserId, render
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Mode, Plan
from consumer.planning.plan import user_in


def marks_unread(
    record: SourceRecord, event: ChangeEvent | None, tables: Collection[str], rules: Rules, schemas: Schemas
) -> tuple[Plan, ...]:
    """The marks for the user whose row ``record`` is about; none where that can't be known or nobody would be healed.

    ``event`` is there if the record could be read so far; else its key says whose row it is, and ``tables`` are those
    that its topic carries, of each of which it may be. Where nothing is known of the topic it may be of any table: a
    mark too many makes one change write the whole row, a mark too few leaves an old value for ever.

    Raises:
        ServerError: from ``schemas``, which only Avro keys ask.
    """
    names = (event.table,) if event is not None else tables or [table.table for table in rules.tables]
    found = [rules.table(name) for name in names]
    marks = [mark_unread(record, event, table, rules, schemas) for table in found if table is not None]
    return tuple(each for each in marks if each is not None)


def mark_unread(
    record: SourceRecord, event: ChangeEvent | None, table: UserTable, rules: Rules, schemas: Schemas
) -> Plan | None:
    """The mark for the user of ``table`` whose row ``record`` is about, or None where that can't be known.

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
    """The mark for the user of a plan that Redis refused for good; of linked tables' rows nothing would be healed."""
    version = plan.version
    if rules.table(plan.table) is None:
        return None
    return mark(plan.user, plan.table, Place(version.topic, version.partition, version.offset), rules)


def mark(user: UserId, table: str, place: Place, rules: Rules) -> Plan:
    """The mark that from ``place`` on the next good change of ``user``'s row must write everything.

    Only the place matters: what was applied since, from a later one, needs no healing; an earlier one heals nothing.
    """
    return Plan(
        user=user,
        table=table,
        guard=render(rules.names.guard, user),
        version=Version(rules.epoch, Origin.STREAMED, 0, 0, place.topic, place.partition, place.offset),
        mode=Mode.MARK,
        reasons=(f"not whole since {place}",),
    )
