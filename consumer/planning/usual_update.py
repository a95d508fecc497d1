"""Plans an update of the usual form with less work than :mod:`consumer.planning.plan` needs for any update.

Most changes have this form: both row images of an update have the same columns, all values are readable, the record has
no schema, and the group does not change. Both ways give the same plan; a test proves it. What depends only on the
columns of a row is computed once, in a layout. What depends only on the columns that changed is computed once too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from consumer.errors import InvalidValue
from consumer.events.decimals import has_point
from consumer.events.event import ChangeEvent, Operation
from consumer.events.record import SourceRecord
from consumer.events.row import Columns, changed_places, columns_of, names_of, values_of
from consumer.events.undecoded_row import undecoded
from consumer.events.value import timestamp
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.mapping.schema_drift import Drift, column_drifts
from consumer.planning.diff import Cell, cells_of
from consumer.planning.effect import Plan
from consumer.planning.message import bodies
from consumer.planning.shape import Extent, PlanShape
from consumer.planning.user_shapes import updated_shape

_UPDATE = Operation.UPDATE  # looked up once (decision 29)
_MOST_KNOWN = 2048
_MOST_ID = 2**63 - 1
_AMOUNT = r"-?(?:0|[1-9][0-9]{0,37})\.[0-9]{1,38}"
"""A decimal as databases send it: at most 78 characters, so never longer than money may be (``LONGEST``)."""
_Values: TypeAlias = tuple[object, ...]
_Places: TypeAlias = tuple[int, ...]
_Doubtful: TypeAlias = tuple[tuple[int, Mapping[object, str]], ...]
"""Columns, by place in the row, each with the texts of its values."""


def usual_update(
    event: ChangeEvent, record: SourceRecord, rules: Rules
) -> tuple[Plan, ChangeEvent, tuple[Drift, ...]] | None:
    """The plan for an update of a user's row; None if the change does not have the usual form.

    With the plan come ``event``, without its rows in memory if possible, and what is unexpected about its columns.
    ``event``: parsed from ``record``.
    """
    before, after = event.before, event.after
    if after is None or before is None or event.op is not _UPDATE or event.schema:
        return None
    columns = columns_of(after)
    layout = _layout(rules, event.table, columns)
    if layout is None or columns_of(before) != columns:
        return None
    new, old = values_of(after), values_of(before)
    follows = layout.follows(changed_places(new, old))
    if follows is None:
        return None
    user = layout.user(new)
    if user is None or not layout.is_readable(new):
        return None
    changed: dict[str, str] = {}
    for place, cell in follows.cells:
        raw, raw_before = new[place], old[place]
        text = cell.text(raw)
        if raw is not None and raw_before is not None and _text(cell, raw_before) in (text, None):
            return None  # two ways to write one value, or an old value that may be readable all the same
        changed[cell.field] = text
    try:
        time = timestamp(event.position.ts_ms)
    except InvalidValue:
        return None
    messages = bodies(event, user, follows.event_types, changed)
    event = undecoded(event, record)
    values = _RowTexts(user, event, rules, changed)
    plan = Plan(user, follows.shape, Version.of(event, rules.epoch), values, time, messages)
    return plan, event, layout.drifts


class _Follows(NamedTuple):
    """What follows from an update of certain columns.

    ``cells``: the mapped ones, in the table's order: each with its place in the row.
    """

    cells: tuple[tuple[int, Cell], ...]
    shape: PlanShape
    event_types: tuple[str, ...]


class _Check(NamedTuple):
    """How to find out whether a row can be read, for rows with values of certain classes.

    ``are_plain``: whether the amounts are text, and decimals as databases send them. ``doubtful``: other columns whose
    value may not be readable. ``all``: these and the amounts.
    """

    are_plain: Callable[[_Values], bool]
    doubtful: _Doubtful
    all: _Doubtful


class _Layout:
    """The columns of a user table's rows, in their order.

    ``image``: the fields of the whole config hash. ``drifts``: what is unexpected about the columns.
    """

    def __init__(self, rules: Rules, table: UserTable, columns: Columns) -> None:
        cells, names = cells_of(table), names_of(columns)
        at = {name: place for place, name in enumerate(names)}
        self._constants = tuple(table.constants.values())
        self.image = ("id", "user_type", *table.constants, *cells.fields)
        self.drifts = column_drifts(rules, table.table, columns)
        self._rules = rules
        self._table = table
        self._names = names
        self._mapped = cells
        self._cells = tuple((at[each.name], each) for each in cells.all)
        self._are_ints_short = not isinstance(columns, tuple)  # whole numbers of a Row have 64 bits at most
        self._by_classes: dict[tuple[type, ...], _Check] = {}
        self._key = at[table.key]
        self._amounts = tuple(at[name] for name, _ in table.money())
        self._known: dict[_Places, _Follows | None] = {}

    def follows(self, places: _Places) -> _Follows | None:
        """What follows from a change of the columns at ``places``; None if that is not usual."""
        try:
            return self._known[places]
        except KeyError:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[places] = self._found(places)
            return found

    def user(self, row: _Values) -> UserId | None:
        """The user of ``row``; None if the key is not a number."""
        number = row[self._key]
        return UserId(self._table.user_type, number) if type(number) is int and 0 <= number <= _MOST_ID else None

    def is_readable(self, row: _Values) -> bool:
        """Whether every mapped column of ``row`` can be read, and amounts are text."""
        check = self._check(tuple(map(type, row)))
        doubtful = check.doubtful
        if not check.are_plain(row):
            if self._amounts and not has_point(map(row.__getitem__, self._amounts)):
                return False  # the amounts may be unscaled decimals
            doubtful = check.all
        try:
            for place, texts in doubtful:
                texts[row[place]]
        except (InvalidValue, KeyError, TypeError):  # or a value of an unusual class
            return False
        return True

    def image_of(self, user: UserId, row: _Values) -> dict[str, str]:
        """The whole config hash without its time fields, of a row that :meth:`is_readable`."""
        columns = [cell.texts[row[place].__class__][row[place]] for place, cell in self._cells]
        return dict(zip(self.image, (str(user.id), user.user_type, *self._constants, *columns), strict=True))

    def _check(self, classes: tuple[type, ...]) -> _Check:
        """For rows with values of these ``classes``."""
        try:
            return self._by_classes[classes]
        except KeyError:
            none: Mapping[object, str] = {}
            texts = {
                place: cell.texts.get(classes[place], none)
                for place, cell in self._cells
                if classes[place] not in cell.accepted or (classes[place] is int and not self._are_ints_short)
            }
        amounts = [place for place in self._amounts if classes[place] is str]
        others = tuple((place, some) for place, some in texts.items() if place not in amounts)
        if len(self._by_classes) >= _MOST_KNOWN:
            self._by_classes.clear()
        check = self._by_classes[classes] = _Check(_plain_at(amounts), others, tuple(texts.items()))
        return check

    def _found(self, places: _Places) -> _Follows | None:
        names = [self._names[place] for place in places]
        of, table, rules = self._mapped.of, self._table, self._rules
        cells = sorted((of[name], place) for name, place in zip(names, places, strict=True) if name in of)
        outside = tuple(name for name in names if name not in of and table.is_outside(name))
        fields = tuple(cell.field for cell, _ in cells)
        if not (fields or outside) or rules.group_field in fields:
            return None
        what = fields, outside, self._mapped.fields
        shape, event_types = updated_shape(
            rules, table, *what, Extent.CHANGED, is_complete=True, is_group_changed=False
        )
        return _Follows(tuple((place, cell) for cell, place in cells), shape, event_types)


@lru_cache(maxsize=256)
def _layout(rules: Rules, table_name: str, columns: Columns) -> _Layout | None:
    """The layout of a user table's rows with these columns; None if it is not usual.

    Not usual: another table or a table's partition, a mapped column is missing, or only one is mapped.
    """
    table = rules.table(table_name)
    if table is None or table.table != table_name or len(table.columns) < 2:
        return None
    needed = {table.key, *(column.name for column in table.columns)}
    return _Layout(rules, table, columns) if needed <= set(names_of(columns)) else None


class _RowTexts(Mapping[str, str]):
    """The fields of the whole config hash without its time fields. Most plans need only the ``changed`` ones."""

    __slots__ = ("_changed", "_event", "_image", "_rules", "_user")

    def __init__(self, user: UserId, event: ChangeEvent, rules: Rules, changed: Mapping[str, str]) -> None:
        self._user = user
        self._event = event
        self._rules = rules
        self._changed = changed
        self._image: Mapping[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        found = self._changed.get(name)
        return self._whole()[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return repr(dict(self))

    def _whole(self) -> Mapping[str, str]:
        if self._image is None:
            row = self._event.after
            assert row is not None  # of an update
            # If the row is decoded again, its columns may be in another order.
            layout = _layout(self._rules, self._event.table, columns_of(row))
            assert layout is not None  # it depends on the names of the columns, not on their order
            self._image = layout.image_of(self._user, values_of(row))
        return self._image


def _plain_at(places: Sequence[int]) -> Callable[[_Values], bool]:
    """Answers whether the values at ``places``, which are text, are decimals as databases send them."""
    if not places:
        return lambda row: False
    match = re.compile("\n".join([_AMOUNT] * len(places))).fullmatch
    if len(places) == 1:
        (only,) = places
        return lambda row: match(row[only]) is not None  # type: ignore[call-overload]  # it is text
    amounts = itemgetter(*places)
    return lambda row: match("\n".join(amounts(row))) is not None


def _text(cell: Cell, raw: object) -> str | None:
    """The text of a raw value; None if it can't be read."""
    try:
        return cell.text(raw)
    except (InvalidValue, KeyError):  # or it is of an unusual class
        return None
