"""Compares two row images by value."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import compress
from operator import getitem, itemgetter, ne
from typing import NamedTuple

import msgspec

from consumer.errors import InvalidValue, MissingColumn
from consumer.events.event import UNAVAILABLE, RowImage, TableSchema
from consumer.events.value import NO_SCHEMA, Canonicalizer, Kind, canonicalizer_of, plain_money
from consumer.mapping.rules import Column, UserTable

_ABSENT = object()
_MOST_KNOWN = 2048
_ACCEPTED: Mapping[Kind, tuple[type, ...]] = {Kind.MONEY: (int,), Kind.INTEGER: (int, bool), Kind.TEXT: (int, str)}


class Change(msgspec.Struct, frozen=True, gc=False):
    """The old and new canonical value of a field. None is NULL. ``old_known``: False if the old value is not known."""

    old: str | None
    new: str | None
    old_known: bool = True


class Diff(msgspec.Struct, frozen=True, gc=False):
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


class Texts(dict[object, str]):
    """The texts of a column's raw values of one class. The same amounts, groups and flags occur often."""

    def __init__(self, canonicalize: Canonicalizer, scale: int) -> None:
        self._canonicalize = canonicalize
        self._scale = scale

    def __missing__(self, raw: object) -> str:
        text = self._canonicalize(raw, self._scale, NO_SCHEMA)
        if len(self) >= _MOST_KNOWN:
            self.clear()
        self[raw] = text
        return text


class Cell(NamedTuple):
    """A column in the form for the loops below.

    ``at``: its place in the table. ``default``: used for a column that is not in the row. ``null``: what Redis holds
    for NULL. ``texts``: for records without schema, by class of the raw value. ``is_money``: its values seldom occur
    again, so they are not kept in ``texts`` if that is not needed. ``accepted``: classes of which every value can be
    read, if whole numbers have 64 bits at most.
    """

    at: int
    name: str
    field: str
    null: str
    texts: Mapping[type, Texts]
    canonicalize: Canonicalizer
    scale: int
    default: str | None
    is_required: bool
    is_money: bool
    accepted: frozenset[type]

    def text(self, raw: object) -> str:
        """The text of a raw value of a record without schema, of a class that ``texts`` has.

        Raises:
            InvalidValue: the value does not have the column's kind.
        """
        if self.is_money and raw.__class__ is str and (text := plain_money(raw)) is not None:
            return text
        return self.texts[raw.__class__][raw]


class Cells:
    """The columns of a table. ``raw_of`` gets the raw values of all columns from a row, if all are there.

    It is None for a table with one column.
    """

    def __init__(self, table: UserTable) -> None:
        self.all = tuple(_cell(at, each) for at, each in enumerate(table.columns))
        self.of = {each.name: each for each in self.all}
        self.fields = tuple(each.field for each in self.all)
        self.raw_of = itemgetter(*(each.name for each in self.all)) if len(self.all) > 1 else None
        self._by_classes: dict[tuple[type, ...], tuple[Texts, ...] | None] = {}

    def texts_of(self, classes: tuple[type, ...]) -> tuple[Texts, ...] | None:
        """The texts of each column for raw values of these classes; None if a class can't be looked up."""
        try:
            return self._by_classes[classes]
        except KeyError:
            found = [each.texts.get(one) for each, one in zip(self.all, classes, strict=True)]
        texts = tuple([each for each in found if each is not None])
        if len(self._by_classes) >= _MOST_KNOWN:
            self._by_classes.clear()
        self._by_classes[classes] = known = texts if len(texts) == len(found) else None
        return known


def _cell(at: int, column: Column) -> Cell:
    canonicalize, null = canonicalizer_of(column.kind), column.default or ""
    texts = {each: Texts(canonicalize, column.scale) for each in (str, int, bool, type(None))}
    texts[type(None)][None] = null
    how = canonicalize, column.scale, column.default, column.required
    accepted = frozenset({type(None), *_ACCEPTED.get(column.kind, ())})
    return Cell(at, column.name, column.field, null, texts, *how, column.kind is Kind.MONEY, accepted)


@lru_cache(maxsize=64)
def cells_of(table: UserTable) -> Cells:
    return Cells(table)


class Image(NamedTuple):
    """A row's fields in Redis form.

    ``unreadable``: columns whose value does not have the column's kind. ``is_whole``: as :func:`is_whole`.
    """

    fields: dict[str, str]
    unreadable: tuple[str, ...]
    is_whole: bool


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
    cells = cells_of(table)
    fields = None if schema else _usual_image(row, cells)
    return Image(fields, (), True) if fields is not None else _any_image(row, table, schema)


def _usual_image(row: RowImage, cells: Cells) -> dict[str, str] | None:
    """The fields of a row that has all columns, with values that can be read; None if it is another row."""
    if cells.raw_of is None:
        return None
    try:
        raw = cells.raw_of(row)
        classes = tuple(map(type, raw))
        texts = cells.texts_of(classes)
        return dict(zip(cells.fields, map(getitem, texts, raw))) if texts is not None else None  # noqa: B905  # equal
    except (KeyError, InvalidValue):
        return None


def _any_image(row: RowImage, table: UserTable, schema: TableSchema) -> Image:
    image: dict[str, str] = {}
    unreadable: tuple[str, ...] = ()
    for cell in cells_of(table).all:
        value = row.get(cell.name, _ABSENT)
        if value is None:
            image[cell.field] = cell.null
        elif value is _ABSENT:
            if cell.is_required:
                raise MissingColumn(f"not in the row image of {table.table}", field=cell.name)
            if cell.default is not None:
                image[cell.field] = cell.default
        elif value is not UNAVAILABLE:
            try:
                image[cell.field] = _canonical_value(value, cell, schema)
            except InvalidValue:
                if cell.is_required:
                    raise
                unreadable += (cell.name,)
    return Image(image, unreadable, is_whole(row, table))


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
    of = cells_of(table).of
    cells = [of[name] for name in differing if name in of]
    fields: dict[str, Change] = {}
    for cell in sorted(cells) if len(cells) > 1 else cells:
        new, old = after[cell.name], before.get(cell.name, _ABSENT)
        if new is UNAVAILABLE:
            continue
        try:
            new_value = None if new is None else _canonical_value(new, cell, schema)
        except InvalidValue:
            if cell.is_required:
                raise
            continue
        old_value, is_known = _known(old, cell, schema)
        if not is_known or old_value != new_value:
            fields[cell.field] = Change(old_value, new_value, is_known)
    if len(cells) == len(differing):
        return Diff(fields, ())
    others = (name for name in differing if name not in of and after[name] is not UNAVAILABLE)
    return Diff(fields, tuple(name for name in others if table.is_outside(name)))


def _known(old: object, cell: Cell, schema: TableSchema) -> tuple[str | None, bool]:
    """The old value, and whether the old row contains it."""
    if old is _ABSENT or old is UNAVAILABLE:
        return None, False
    try:
        return None if old is None else _canonical_value(old, cell, schema), True
    except InvalidValue:
        return None, False


def _canonical_value(raw: object, cell: Cell, schema: TableSchema) -> str:
    try:
        if not schema and (texts := cell.texts.get(raw.__class__)) is not None:
            return texts[raw]
        return cell.canonicalize(raw, cell.scale, schema.get(cell.name, NO_SCHEMA))
    except InvalidValue as error:
        error.field = cell.name
        raise


def _differing(before: RowImage, after: RowImage) -> list[str]:
    """The columns whose raw values differ, in the row's order. Usually both rows have the same columns in one order."""
    if len(before) == len(after) and [*before] == [*after]:
        return list(compress(after, map(ne, after.values(), before.values())))
    return [name for name, value in after.items() if before.get(name, _ABSENT) != value]
