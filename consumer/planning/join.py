"""Joins the events of one database transaction for each user, if the events were read together.

With joining, one transaction causes one message for a user, and the message has more details. The final state of Redis
does not depend on joining. Two things are joined:

* several changes of one user's row become one change, from the first old image to the last new one;
* rows of linked tables (a transaction, an approved request) add details to the messages of the user's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from msgspec.structs import replace

from consumer.events.event import ChangeEvent, Operation
from consumer.mapping.keys import UserId
from consumer.planning.linked import LinkedChange, LinkedEffect

Details = Mapping[str, object]
NO_DETAILS: Details = MappingProxyType({})


class Decided(Protocol):
    """A change that is decided by itself. ``user``: None if there is none. ``linked``: None for the user's own row."""

    @property
    def event(self) -> ChangeEvent | None: ...
    @property
    def user(self) -> UserId | None: ...
    @property
    def linked(self) -> LinkedChange | None: ...


@dataclass(frozen=True, slots=True)
class Join:
    """``events``: the joined events, by the index of the last record. ``details``: from linked rows, by index.
    ``carriers``: for a record whose change was joined into a later one, the index of that record.
    """

    events: Mapping[int, ChangeEvent]
    details: Mapping[int, Details]
    carriers: Mapping[int, int]


def join(decided: Sequence[Decided]) -> Join:
    """Join the events of each database transaction. Indexes are those of the records, in the order of reading."""
    shared = _shared_transactions(decided)
    told: dict[tuple[str, UserId], dict[tuple[str, str], Details]] = {}
    for _, event, user, linked in shared:
        if linked is not None and linked.turn is LinkedEffect.DONE:
            # By row, because Debezium may have sent a row twice.
            rows = told.setdefault((event.transaction_id or "", user), {})
            rows[event.table, linked.key] = linked.details
    events: dict[int, ChangeEvent] = {}
    details: dict[int, Details] = {}
    carriers: dict[int, int] = {}
    last: dict[tuple[str, str, UserId], tuple[int, ChangeEvent]] = {}
    for at, event, user, linked in shared:
        if linked is not None:
            continue
        transaction = event.transaction_id or ""
        where = (transaction, event.table, user)
        earlier = last.get(where)
        if earlier is not None:
            before, single = earlier
            if (one := _one_change(events.get(before) or single, event)) is not None:
                events.pop(before, None)
                details.pop(before, None)
                carriers[before] = at
                events[at] = one
        last[where] = at, event
        if of_linked := told.get((transaction, user)):
            details[at] = _details(list(of_linked.values()))
    return Join(events, details, carriers)


def _shared_transactions(
    decided: Sequence[Decided],
) -> Sequence[tuple[int, ChangeEvent, UserId, LinkedChange | None]]:
    """The changes whose database transaction has several of the changes: index, event, user and linked row of each.

    Most transactions change one row.
    """
    first: dict[str, int] = {}
    shared: set[str] = set()
    for at, each in enumerate(decided):
        transaction = each.event.transaction_id if each.event is not None and each.user is not None else None
        if transaction and first.setdefault(transaction, at) != at:
            shared.add(transaction)
    if not shared:
        return ()
    return [
        (at, each.event, each.user, each.linked)
        for at, each in enumerate(decided)
        if each.event is not None and each.user is not None and each.event.transaction_id in shared
    ]


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
