"""Rows of linked tables, such as transactions and money requests: their effects on the user they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from consumer.errors import InvalidValue, MissingColumn, Unsupported
from consumer.events.event import ChangeEvent, Operation, RowImage, TableSchema
from consumer.events.value import NO_SCHEMA, Kind, of_column, timestamp, whole_number
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import LinkedTable, Rules
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.planning.effect import Fields, Nothing, Plan
from consumer.planning.shape import Mode, PlanShape, shared

_WHOLE = re.compile(r"-?[0-9]{1,20}")


class LinkedEffect(StrEnum):
    """The meaning of a linked row's change, by its old and new status."""

    DONE = "done"
    TAKEN_BACK = "taken back"
    NOT_DONE = "not done"
    STILL_DONE = "still done"


DELETED = "the row was deleted; its effect on the user is not undone"
_WHY_NOTHING = {
    LinkedEffect.NOT_DONE: "the transaction is not completed",
    LinkedEffect.STILL_DONE: "the transaction was completed before; its other columns are not published",
}


@dataclass(frozen=True, slots=True)
class LinkedChange:
    """A change of a linked row: its user, its meaning, the fields it writes, and its details for subscribers.

    ``key``: identifies the row in its table. ``drifts``: what is unexpected in its columns.
    """

    user: UserId
    key: str
    turn: LinkedEffect
    fields: Fields = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    drifts: tuple[Drift, ...] = ()


@dataclass(frozen=True, slots=True)
class UnknownUserType:
    """A linked row whose user type has no user table. ``drifts``: set if the mapping does not list the type."""

    drifts: tuple[Drift, ...] = ()


def linked_change(event: ChangeEvent, table: LinkedTable, rules: Rules) -> LinkedChange | UnknownUserType:
    """The user, meaning, fields and details of ``event``.

    Raises:
        MissingColumn, InvalidValue: the row can't be used; the error names the column.
    """
    row = event.after
    if row is None or (event.op is Operation.UPDATE and event.before is None and not rules.accept_missing_before):
        raise Unsupported(
            f"an update of {event.table} without the old row image",
            field="before",
            advice=f"on PostgreSQL: ALTER TABLE {event.table} REPLICA IDENTITY FULL; or accept that a row counts as"
            " newly done then, with CDC_SOURCE__ACCEPT_MISSING_BEFORE=true",
        )
    user_type = table.user_type or _text(row, table.user_type_column, table)
    if user_type not in {each.user_type for each in rules.tables}:
        is_known = user_type in table.other_types
        return UnknownUserType(() if is_known else (Drift(table.table, table.user_type_column, DriftKind.VALUE),))
    user = UserId(user_type, _number(row, table.user_id, table, event.schema))
    turn = _turn(event, table)
    key = str(_required(row, table.key, table))
    if turn is not LinkedEffect.DONE:
        return LinkedChange(user, key, turn, drifts=_unknown_status(row, table))
    fields = {name: _text(row, column, table) for column, name in table.writes.items()}
    if fields and table.time_field:
        fields[table.time_field] = timestamp(event.position.ts_ms)
    details, drifts = _details(event, row, table)
    return LinkedChange(user, key, turn, fields, details, drifts)


def plan_linked(event: ChangeEvent, table: LinkedTable, change: LinkedChange, rules: Rules) -> Plan | Nothing:
    """The plan for a row of a linked table. It never writes a balance and has no message."""
    if change.turn in _WHY_NOTHING:
        return Nothing(_WHY_NOTHING[change.turn])
    if not change.fields and not table.clears:
        return Nothing("it enriches the message of the same database transaction, and changes nothing itself")
    shape = PlanShape(
        table=table.table,
        user_type=change.user.user_type,
        guard=rules.names.guard,
        mode=Mode.FILL if event.is_incremental else Mode.CHANGE,
        # The user's own row may create the hash later: either of the two rows may be read first.
        update=rules.names.config,
        updated=tuple((name, name) for name in change.fields),
        is_kept=bool(change.fields),
        cleared=table.clears,
        reasons=(f"{table.table}: {change.turn}",),
    )
    return Plan(change.user, shared(shape), Version.of(event, rules.epoch), change.fields)


def _turn(event: ChangeEvent, table: LinkedTable) -> LinkedEffect:
    assert event.after is not None  # deletes do not come here, and other ops without it are not parsed
    is_done = _text(event.after, table.status, table) in table.done
    status = None if event.before is None else event.before.get(table.status)
    was_done = isinstance(status, str) and status.rstrip(" ") in table.done
    if is_done:
        return LinkedEffect.STILL_DONE if was_done else LinkedEffect.DONE
    return LinkedEffect.TAKEN_BACK if was_done else LinkedEffect.NOT_DONE


def _unknown_status(row: RowImage, table: LinkedTable) -> tuple[Drift, ...]:
    """For a row that is not done: a drift if its status may be misspelt, or is not in the mapping."""
    status = _text(row, table.status, table)
    is_known = status in table.not_done if table.not_done else status.lower() not in map(str.lower, table.done)
    return () if status in table.done or is_known else (Drift(table.table, table.status, DriftKind.VALUE),)


def _details(event: ChangeEvent, row: RowImage, table: LinkedTable) -> tuple[Mapping[str, object], tuple[Drift, ...]]:
    """The details, with numbers as numbers and money as exact text; and drifts of columns that can't be read."""
    details: dict[str, object] = {}
    drifts: tuple[Drift, ...] = ()
    for each in table.enriches:
        if each.column not in row:
            continue
        try:
            text = of_column(row[each.column], each.column, each.kind, each.scale, event.schema)
        except InvalidValue:
            drifts += (Drift(table.table, each.column, DriftKind.UNREADABLE),)
            continue
        is_number = each.kind in (Kind.INTEGER, Kind.BITS) and text is not None and _WHOLE.fullmatch(text)
        details[each.field] = int(text) if is_number and text is not None else text
    return details, drifts


def _text(row: RowImage, column: str, table: LinkedTable) -> str:
    value = _required(row, column, table)
    if not isinstance(value, str):
        raise InvalidValue("should be text", field=column)
    return value.rstrip(" ")  # a CHAR column's padding


def _number(row: RowImage, column: str, table: LinkedTable, schema: TableSchema) -> int:
    value = _required(row, column, table)
    try:
        return whole_number(value, schema.get(column, NO_SCHEMA))
    except InvalidValue as error:
        error.field = column
        raise


def _required(row: RowImage, column: str, table: LinkedTable) -> object:
    if column not in row:
        raise MissingColumn(f"not in the row image of {table.table}", field=column)
    return row[column]
