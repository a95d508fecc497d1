"""The latest values of the time fields, in little memory: one number for each field, in a fixed order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from consumer.events.decimals import with_decimal_schema
from consumer.events.event import ChangeEvent, Operation, RowImage
from consumer.events.row import Columns, changed_places, columns_of, names_of, values_of
from consumer.events.value import Kind
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.diff import diff
from consumer.planning.shape import TIME, Extent, PlanShape
from consumer.planning.user_shapes import appeared_shape, updated_shape

Places: TypeAlias = tuple[int, ...]
"""Indexes, of time fields or of columns in a row."""
_NEVER = -1
_MOST_KNOWN = 4096
_CERTAIN: Mapping[Kind, type] = {Kind.MONEY: str, Kind.TEXT: str, Kind.INTEGER: int}
_MONEY, _INTEGER = Kind.MONEY, Kind.INTEGER  # looked up once (decision 29)
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]*)\.[0-9]+")
"""An amount as databases send it, without a sign: two of one length have different texts if they differ."""


def time_fields(rules: Rules) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The time fields of the config hash, and of the portfolio hash: they hold the times of changes."""
    every = (*rules.consequences, rules.profile, rules.outside)
    stamps = {name for each in every for name in each.stamps}
    mirrored = {name for each in every if each.portfolio for name in each.portfolio_stamps}
    return tuple(sorted(stamps | {"last_admin_update", "last_updated"})), tuple(sorted(mirrored))


class _Update(NamedTuple):
    """An update of a set of columns.

    ``certain``: the mapped columns, each with its place in the row and its kind. ``places``: the indexes of the times
    that it sets, if the texts of all these columns differ. None: the values of one of these columns must always be
    compared as texts.
    """

    certain: tuple[tuple[int, Kind], ...]
    places: Places | None


class ChangeTimes:
    """The time fields of the hashes of a table's users. The shape of a change's plan says which of them it sets."""

    def __init__(self, rules: Rules, table: UserTable) -> None:
        in_config, in_portfolio = time_fields(rules)
        self.names = tuple(sorted({*in_config, *in_portfolio}))
        self._rules = rules
        self._table = table
        self._owned = tuple(column.field for column in table.columns)
        self._never = (_NEVER,) * len(self.names)
        # A log has few sets of columns that change together.
        self._places: dict[tuple[object, ...], Places] = {}
        self._updates: dict[tuple[Columns, Places], _Update] = {}

    def after(self, event: ChangeEvent, times: tuple[int, ...] = (), *, is_marked: bool = False) -> tuple[int, ...]:
        """The times after a change of a row that exists. ``times``: the times before it; empty: never set.

        ``is_marked``: an earlier change could not be applied, so every column counts as changed, as without an old row.

        Raises:
            InvalidValue: the new value of a required column does not have the column's kind. Not every such value is
                found.
        """
        times = times or self._never
        if event.op is Operation.UPDATE:
            places = self._of_update(None if is_marked else event.before, event)
        else:
            places = self._of_other(event.op, is_incremental=event.is_incremental)
        if not places:
            return times
        found = list(times)
        for place in places:
            found[place] = event.position.ts_ms
        return tuple(found)

    def by_name(self, times: tuple[int, ...]) -> Mapping[str, int]:
        """The known times, by field."""
        return {name: ms for name, ms in zip(self.names, times, strict=False) if ms != _NEVER}

    def _of_update(self, before: RowImage | None, event: ChangeEvent) -> Places:
        after = event.after or {}
        if before is not None and not event.schema:
            columns = columns_of(after)
            if columns_of(before) == columns:
                new, old = values_of(after), values_of(before)
                changed = columns, changed_places(new, old)
                update = self._updates.get(changed)
                if update is None:
                    if len(self._updates) >= _MOST_KNOWN:
                        self._updates.clear()
                    update = self._updates[changed] = self._update(*changed)
                if update.places is not None and _differ_surely(new, old, update.certain):
                    return update.places
        event = with_decimal_schema(event, self._table.money())
        found = diff(before or {}, after, self._table, event.schema)
        return self._of_fields(tuple(found.fields), found.outside)

    def _update(self, columns: Columns, changed: Places) -> _Update:
        table, names = self._table, names_of(columns)
        at = {names[place]: place for place in changed}
        mapped = [column for column in table.columns if column.name in at]
        certain = tuple((at[column.name], column.kind) for column in mapped if column.kind in _CERTAIN)
        if len(certain) < len(mapped):
            return _Update((), None)
        outside = at.keys() - {column.name for column in mapped}
        published = tuple(name for name in at if name in outside and table.is_outside(name))
        return _Update(certain, self._of_fields(tuple(column.field for column in mapped), published))

    def _of_fields(self, fields: tuple[str, ...], outside: tuple[str, ...]) -> Places:
        places = self._places.get((fields, outside))
        if places is None:
            parts = self._rules, self._table, fields, outside, self._owned
            shape = updated_shape(*parts, Extent.CHANGED, is_complete=True, is_group_changed=False).shape
            places = self._places[fields, outside] = self._set_by(shape)
        return places

    def _of_other(self, op: Operation, *, is_incremental: bool) -> Places:
        places = self._places.get((op, is_incremental))
        if places is None:
            shape = appeared_shape(self._rules, self._table, op, self._owned, is_incremental, is_complete=True)
            places = self._places[op, is_incremental] = self._set_by(shape)
        return places

    def _set_by(self, shape: PlanShape) -> Places:
        assigned = (*shape.changed, *shape.updated)
        return tuple(self.names.index(name) for name, source in assigned if source == TIME)


def _differ_surely(new: tuple[object, ...], old: tuple[object, ...], columns: tuple[tuple[int, Kind], ...]) -> bool:
    """Whether two values of each column, which differ, have different texts too. If not, they may be equal.

    Texts of different lengths may be equal: amounts may have zeros at the end, and CHAR columns are padded.
    """
    for place, kind in columns:
        one, other = new[place], old[place]
        if not (one.__class__ is other.__class__ is _CERTAIN[kind]):
            return False
        if kind is not _INTEGER and len(one) != len(other):  # type: ignore[arg-type]  # both are strings
            return False
        if kind is _MONEY and not (_DECIMAL.fullmatch(one) and _DECIMAL.fullmatch(other)):  # type: ignore[call-overload]
            return False
    return True
