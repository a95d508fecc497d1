"""Makes the plan that rebuilds a user in Redis from the user's last image, whatever Redis holds now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec.structs import replace

from consumer.events.event import UNAVAILABLE, ChangeEvent, Operation, RowImage
from consumer.events.position import Origin
from consumer.events.value import timestamp
from consumer.guard.version import NOWHERE, Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.change_times import ChangeTimes, time_fields
from consumer.planning.database_row import DatabaseRow
from consumer.planning.effect import Plan
from consumer.planning.linked import UnknownUserType, linked_change, plan_linked
from consumer.planning.plan import plan, user_of
from consumer.planning.shape import Extent, Mode, PlanShape, changed_shape
from consumer.planning.user_shapes import deleted_shape

Times = Mapping[str, int]
"""The latest values of the time fields, in UTC milliseconds."""


def rebuild_user(events: Sequence[ChangeEvent], times: Times, table: UserTable, rules: Rules) -> Plan:
    """The plan for the user whose row was written by the last of ``events``.

    The earlier events give the values of columns that the later events do not contain.

    Raises:
        RecordError: the row can't be used.
    """
    last = events[-1]
    user = user_of(last, table)
    if last.op is Operation.DELETE:
        removal = plan(last, table, user, rules)
        assert isinstance(removal, Plan)  # a delete always has a plan
        return removal.publishing(()).in_mode(Mode.REBUILD)
    # Plan the row as a snapshot read, which writes the whole row and publishes nothing.
    position = replace(last.position, origin=Origin.SNAPSHOT)
    read = replace(last, op=Operation.READ, before=None, after=_merged(events), position=position)
    planned = plan(read, table, user, rules)
    assert isinstance(planned, Plan)  # so has a read
    stamps = {name: timestamp(ms) for name, ms in times.items()}
    missing: tuple[str, ...] = ()
    if not planned.values.keys() >= _fields(table):
        owned = (column.field for column in table.columns if column.name not in planned.unreadable)
        missing = tuple(name for name in owned if name not in planned.values)
    shape = _rebuilt_shape(planned.shape, rules, tuple(stamps), missing)
    return replace(planned, shape=shape, version=Version.of(last, rules.epoch), values={**planned.values, **stamps})


@lru_cache(maxsize=4096)
def _rebuilt_shape(read: PlanShape, rules: Rules, stamps: tuple[str, ...], missing: tuple[str, ...]) -> PlanShape:
    """The shape of a rebuild, from the shape of a snapshot read of the row.

    ``stamps``: the time fields whose values are known. The log may no longer have the change that set another one.
    ``missing``: fields of the table that the row does not have.
    """
    in_config, in_portfolio = time_fields(rules)
    image = tuple(each for each in read.changed if each[0] not in in_config)
    whole = (*image, *((name, name) for name in stamps if name in in_config))
    updated = tuple(each for each in read.updated if each[0] not in in_portfolio)
    is_whole = read.extent is Extent.WHOLE
    return changed_shape(
        read,
        mode=Mode.REBUILD,
        changed=image,
        whole=whole if is_whole else (),
        gone=missing if is_whole else (),
        updated=(*updated, *((name, name) for name in in_portfolio if name in stamps)) if read.updated else (),
        reasons=("rebuilt",),
    )


def rebuild_read(row: DatabaseRow, table: UserTable, rules: Rules, seen: str = "") -> Plan:
    """The plan for a user from a row in the database; without a row, the plan that removes the user.

    ``seen``: the version in the guard, as text, before the row was read ("": no version). The plan is right if the
    guard still holds this version and the consumer has passed all changes that the row contains.

    Raises:
        RecordError: the row can't be used.
    """
    times, event = ChangeTimes(rules, table), row.event(table)
    known = () if event.after is None else times.after(event)
    planned = rebuild_user([event], times.by_name(known), table, rules)
    return as_read(planned, seen)


def as_read(plan: Plan, seen: str) -> Plan:
    """``plan`` for data read from the database. It is applied only if the guard still holds the version ``seen``."""
    # With a version that can't be read no change was ever compared.
    return replace(plan, version=Version.known(seen) or NOWHERE, expected=seen)


def rebuild_linked(event: ChangeEvent, rules: Rules) -> Plan | None:
    """The plan for the last done row of a linked table; None if no field of the row is kept.

    Raises:
        RecordError: the row can't be used.
    """
    table = rules.linked_table(event.table)
    assert table is not None  # only rows of linked tables come here
    change = linked_change(event, table, rules)
    if isinstance(change, UnknownUserType):
        return None
    planned = plan_linked(event, table, change, rules)
    if not isinstance(planned, Plan) or planned.update is None:
        return None
    return planned.in_mode(Mode.REBUILD)


def removal(user: UserId, table: str, seen: str, rules: Rules) -> Plan:
    """The plan that removes a user who is not in the log, as a delete would.

    It is applied only if the guard still holds the version ``seen``, as text ("": no version).
    """
    user_table = rules.table(table)
    assert user_table is not None  # only rows of user tables are looked for
    deleted = deleted_shape(rules, user_table)
    shape = changed_shape(deleted, mode=Mode.REBUILD, channels=(), reasons=("an orphan",))
    return as_read(Plan(user, shape, NOWHERE), seen)


@lru_cache(maxsize=64)
def _fields(table: UserTable) -> frozenset[str]:
    return frozenset(column.field for column in table.columns)


def _merged(events: Sequence[ChangeEvent]) -> RowImage:
    if len(events) == 1:
        return events[0].after or {}
    row: dict[str, object] = {}
    for event in events:
        for name, value in (event.after or {}).items():
            if value is not UNAVAILABLE or name not in row:
                row[name] = value
    return row
