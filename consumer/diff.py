"""Row images to what changed between them, by value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.errors import MissingColumn
from consumer.event import UNAVAILABLE, RowImage, TableSchema
from consumer.rules import Column, UserTable
from consumer.value import of_column

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """An owned field's old and new canonical value; None is NULL, and ``old_known`` is False without an old one."""

    old: str | None
    new: str | None
    old_known: bool = True


@dataclass(frozen=True, slots=True)
class Diff:
    """``fields``: changed fields. ``outside``: changed columns that are news without having a field."""

    fields: Mapping[str, Change]
    outside: tuple[str, ...]

    def then(self, later: Diff) -> Diff:
        """Both changes as one: whatever changed in either, from its first value to its last."""
        fields = dict(self.fields)
        for name, change in later.fields.items():
            first = fields.get(name, change)
            fields[name] = Change(first.old, change.new, first.old_known)
        return Diff(fields, tuple(dict.fromkeys((*self.outside, *later.outside))))


def whole_image(row: RowImage, table: UserTable, schema: TableSchema) -> dict[str, str]:
    """Every owned field of a row in Redis form, NULL as ``""`` or as the column's default.

    Raises:
        MissingColumn: a required column is not in the row.
        InvalidValue: a column's value is not of its kind.

    """
    image: dict[str, str] = {}
    for column in table.columns:
        raw = row.get(column.name, _ABSENT)
        if raw is UNAVAILABLE:
            continue
        if raw is _ABSENT:
            if column.required:
                raise MissingColumn(f"not in the row image of {table.table}", field=column.name)
            if column.default is not None:
                image[column.field] = column.default
            continue
        image[column.field] = redis_text(_canonical(raw, column, schema), column)
    return image


def is_whole(row: RowImage, table: UserTable) -> bool:
    """Whether the row tells every owned column: none of them is an unchanged value that the database did not send."""
    return UNAVAILABLE not in row.values() or not any(row.get(column.name) is UNAVAILABLE for column in table.columns)


def redis_text(value: str | None, column: Column) -> str:
    """A canonical value as the string that Redis holds."""
    if value is None:
        return column.default or ""
    return value


def diff(before: RowImage, after: RowImage, table: UserTable, schema: TableSchema) -> Diff:
    """What changed from ``before`` to ``after``. A column that only ``after`` has is a change from something unknown.

    Raises:
        InvalidValue: a column's value is not of its kind.

    """
    fields: dict[str, Change] = {}
    owned = set()
    for column in table.columns:
        owned.add(column.name)
        new = after.get(column.name, _ABSENT)
        old = before.get(column.name, _ABSENT)
        if new is _ABSENT or new is UNAVAILABLE or (new == old and type(new) is type(old)):
            continue
        new_value = _canonical(new, column, schema)
        if old is _ABSENT or old is UNAVAILABLE:
            fields[column.field] = Change(None, new_value, old_known=False)
            continue
        old_value = _canonical(old, column, schema)
        if old_value != new_value:
            fields[column.field] = Change(old_value, new_value)
    outside = tuple(
        name
        for name, value in after.items()
        if name not in owned
        and value is not UNAVAILABLE
        and before.get(name, _ABSENT) != value
        and table.is_outside(name)
    )
    return Diff(fields, outside)


def _canonical(raw: object, column: Column, schema: TableSchema) -> str | None:
    return of_column(raw, column.name, column.kind, column.scale, schema)
