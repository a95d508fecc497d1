"""Compares two row images by value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import compress
from operator import ne
from typing import NamedTuple

import msgspec

from consumer.errors import InvalidValue, MissingColumn
from consumer.events.event import UNAVAILABLE, RowImage, TableSchema
from consumer.events.value import NO_SCHEMA, Speller, speller
from consumer.mapping.rules import UserTable

_ABSENT = object()
_PLAIN = frozenset({str, int})
"""Classes of raw values that can be cached. ``bool`` is excluded: True equals 1, but is not valid as text."""
_MOST_KNOWN = 2048


class Change(msgspec.Struct, frozen=True):
    """The old and new canonical value of a field. None is NULL. ``old_known``: False if the old value is not known."""

    old: str | None
    new: str | None
    old_known: bool = True


class Diff(msgspec.Struct, frozen=True):
    """``fields``: changed fields. ``outside``: changed columns without a field whose change is published."""

    fields: Mapping[str, Change]
    outside: tuple[str, ...]

    def then(self, later: Diff) -> Diff:
        """Both changes as one: every field that changed in either, from its first value to its last value."""
        fields = dict(self.fields)
        for name, change in later.fields.items():
            first = fields.get(name, change)
            fields[name] = Change(first.old, change.new, first.old_known)
        return Diff(fields, tuple(dict.fromkeys((*self.outside, *later.outside))))


class _Cell(NamedTuple):
    """A column in the form for the loops below.

    ``default``: used for a column that is not in the row. ``null``: what Redis holds for NULL. ``known``: a cache of
    the texts of raw values, for records without schema. The same amounts, groups and flags occur often.
    """

    name: str
    field: str
    null: str
    known: dict[object, str]
    spell: Speller
    scale: int
    default: str | None
    is_required: bool


@lru_cache(maxsize=64)
def _cells(table: UserTable) -> tuple[_Cell, ...]:
    return tuple(
        _Cell(
            each.name,
            each.field,
            each.default or "",
            {},
            speller(each.kind),
            each.scale,
            each.default,
            each.required,
        )
        for each in table.columns
    )


def _remember(cell: _Cell, raw: object, text: str) -> None:
    if len(cell.known) > _MOST_KNOWN:
        cell.known.clear()
    cell.known[raw] = text


class Image(NamedTuple):
    """A row's fields in Redis form. ``unreadable``: columns whose value does not have the column's kind."""

    fields: dict[str, str]
    unreadable: tuple[str, ...]


def whole_image(row: RowImage, table: UserTable, schema: TableSchema) -> dict[str, str]:
    """The fields of :func:`read_image`.

    Raises:
        MissingColumn, InvalidValue: as :func:`read_image`.
    """
    return read_image(row, table, schema).fields


def read_image(row: RowImage, table: UserTable, schema: TableSchema) -> Image:
    """Every field of a row. NULL becomes ``""`` or the column's default. Values that can't be read are left out.

    Raises:
        MissingColumn: a required column is not in the row.
        InvalidValue: the value of a required column does not have the column's kind.

    """
    image: dict[str, str] = {}
    unreadable: tuple[str, ...] = ()
    for cell in _cells(table):
        raw = row.get(cell.name, _ABSENT)
        if raw is None:
            image[cell.field] = cell.null
        elif not schema and raw.__class__ in _PLAIN and (text := cell.known.get(raw)) is not None:
            image[cell.field] = text  # the most frequent case: without the call below
        elif raw is _ABSENT:
            if cell.is_required:
                raise MissingColumn(f"not in the row image of {table.table}", field=cell.name)
            if cell.default is not None:
                image[cell.field] = cell.default
        elif raw is not UNAVAILABLE:
            try:
                image[cell.field] = _spelled_value(raw, cell, schema)
            except InvalidValue:
                if cell.is_required:
                    raise
                unreadable += (cell.name,)
    return Image(image, unreadable)


def is_whole(row: RowImage, table: UserTable) -> bool:
    """Whether the row is whole: no mapped column is an unchanged value that the database did not send."""
    return UNAVAILABLE not in row.values() or not any(row.get(column.name) is UNAVAILABLE for column in table.columns)


def diff(before: RowImage, after: RowImage, table: UserTable, schema: TableSchema) -> Diff:
    """What changed from ``before`` to ``after``.

    A column that only ``after`` has, or that can't be read in ``before``, is a change from an unknown value. An
    optional column that can't be read in ``after`` counts as unchanged, as a column that the database did not send.

    Raises:
        InvalidValue: the new value of a required column does not have the column's kind.

    """
    differing = _differing(before, after)
    fields: dict[str, Change] = {}
    for cell in [each for each in _cells(table) if each.name in differing]:
        differing.discard(cell.name)
        new, old = after[cell.name], before.get(cell.name, _ABSENT)
        if new is UNAVAILABLE:
            continue
        try:
            new_value = _spelled(new, cell, schema)
        except InvalidValue:
            if cell.is_required:
                raise
            continue
        old_value, is_known = _known(old, cell, schema)
        if not is_known or old_value != new_value:
            fields[cell.field] = Change(old_value, new_value, is_known)
    if not differing:
        return Diff(fields, ())
    # In the row's order, because people read the list in the plan's reasons.
    outside = (name for name in after if name in differing and after[name] is not UNAVAILABLE)
    return Diff(fields, tuple(name for name in outside if table.is_outside(name)))


def _known(old: object, cell: _Cell, schema: TableSchema) -> tuple[str | None, bool]:
    """The old value, and whether the old row contains it."""
    if old is _ABSENT or old is UNAVAILABLE:
        return None, False
    try:
        return _spelled(old, cell, schema), True
    except InvalidValue:
        return None, False


def _spelled(raw: object, cell: _Cell, schema: TableSchema) -> str | None:
    return None if raw is None else _spelled_value(raw, cell, schema)


def _spelled_value(raw: object, cell: _Cell, schema: TableSchema) -> str:
    is_plain = not schema and raw.__class__ in _PLAIN
    if is_plain and (known := cell.known.get(raw)) is not None:
        return known
    try:
        text = cell.spell(raw, cell.scale, schema.get(cell.name, NO_SCHEMA))
    except InvalidValue as error:
        error.field = cell.name
        raise
    if is_plain:
        _remember(cell, raw, text)
    return text


def _differing(before: RowImage, after: RowImage) -> set[str]:
    """The columns whose raw values differ. Usually both rows have the same columns in the same order."""
    if len(before) == len(after) and tuple(before) == tuple(after):
        return set(compress(after, map(ne, after.values(), before.values())))
    return {name for name, value in after.items() if before.get(name, _ABSENT) != value}
