"""Joins the events of one database transaction for each user, if the events were read together.

With joining, one transaction causes one message for a user, and the message has more details. The final state of Redis
does not depend on joining. Two things are joined:

* several changes of one user's row become one change, from the first old image to the last new one;
* rows of linked tables (a transaction, an approved request) add details to the messages of the user's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from consumer.events.event import ChangeEvent, Operation
from consumer.mapping.keys import UserId
from consumer.planning.linked import LinkedChange, LinkedEffect

Details = Mapping[str, object]
NO_DETAILS: Details = {}


class Subject(msgspec.Struct, frozen=True, gc=False):
    """An event with the user it is about; ``linked`` is None for the user's own row."""

    event: ChangeEvent
    user: UserId
    linked: LinkedChange | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """``events``: the joined events, by the index of the last record. ``details``: from linked rows, by index.
    ``carriers``: for a record whose change was joined into a later one, the index of that record.
    """

    events: Mapping[int, ChangeEvent]
    details: Mapping[int, Details]
    carriers: Mapping[int, int]


def join(subjects: Mapping[int, Subject]) -> Join:
    """Join the events of each database transaction. Indexes are those of the records, in the order of reading."""
    told: dict[tuple[str, UserId], dict[tuple[str, str], Details]] = {}
    for each in subjects.values():
        if each.linked is not None and each.linked.turn is LinkedEffect.DONE and each.event.transaction_id:
            # By row, because Debezium may have sent a row twice.
            rows = told.setdefault((each.event.transaction_id, each.user), {})
            rows[each.event.table, each.linked.key] = each.linked.details
    events: dict[int, ChangeEvent] = {}
    details: dict[int, Details] = {}
    carriers: dict[int, int] = {}
    last: dict[tuple[str, str, UserId], int] = {}
    for at, each in subjects.items():
        event = each.event
        transaction = event.transaction_id
        if not transaction or each.linked is not None:
            continue
        where = (transaction, event.table, each.user)
        earlier = last.get(where)
        if earlier is not None:
            before = events.get(earlier) or subjects[earlier].event
            if (one := _one_change(before, event)) is not None:
                events.pop(earlier, None)
                details.pop(earlier, None)
                carriers[earlier] = at
                events[at] = one
        last[where] = at
        if told and (linked := told.get((transaction, each.user))):
            details[at] = _details(list(linked.values()))
    return Join(events, details, carriers)


def _one_change(earlier: ChangeEvent, later: ChangeEvent) -> ChangeEvent | None:
    """Two changes of a row as one, at the position of ``later``; None if they stay two (delete, then insert).

    The images between them are kept. If the program was stopped, the earlier change may have been applied alone. So a
    column that changed and changed back must still be written.
    """
    if later.op is Operation.UPDATE and earlier.op in (Operation.CREATE, Operation.UPDATE):
        assert earlier.after is not None  # the earlier event is not a delete
        return replace(later, op=earlier.op, before=earlier.before, between=(*earlier.between, earlier.after))
    if later.op is Operation.DELETE and earlier.op is Operation.UPDATE:
        return later
    return None


def _details(told: Sequence[Details]) -> Details:
    """Merge the details of linked rows; the last row wins. If several rows are transactions, all are listed too."""
    merged: dict[str, object] = {}
    for each in told:
        merged |= each
    transactions = [each for each in told if "transaction_id" in each]
    if len(transactions) > 1:
        merged["transactions"] = transactions
    return merged
