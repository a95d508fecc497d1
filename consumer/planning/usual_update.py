"""Plans an update of the usual form with less work than :mod:`consumer.planning.plan` needs for any update.

Most changes have this form: both row images of an update have the same columns, all values are readable, the record has
no schema, and the group does not change. Both ways give the same plan; a test proves it. What depends only on the
columns of a row is computed once, in a layout.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress
from operator import getitem, itemgetter, ne
from typing import TypeAlias

from consumer.errors import InvalidValue
from consumer.events.event import ChangeEvent, Operation
from consumer.events.value import timestamp
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.diff import Cell, cells_of
from consumer.planning.effect import Plan
from consumer.planning.message import body
from consumer.planning.shape import Extent
from consumer.planning.user_shapes import updated_shape

_Values: TypeAlias = tuple[object, ...]
_Changed: TypeAlias = tuple[dict[str, str], tuple[str, ...]]
"""The changed fields with their new values, and the changed columns without a field."""


def usual_update(event: ChangeEvent, table: UserTable, user: UserId, rules: Rules) -> Plan | None:
    """The plan for an update of ``user``'s row; None if the change does not have the usual form."""
    before, after = event.before, event.after
    if event.op is not Operation.UPDATE or event.schema or event.between or before is None or after is None:
        return None
    names = tuple(after)
    layout = _layout(table, names)
    if layout is None or tuple(before) != names:
        return None
    new = tuple(after.values())
    try:
        image = layout.whole_image(user, new)
        changed, outside = layout.changed(new, tuple(before.values()), image)
    except InvalidValue:
        return None
    if not (changed or outside) or rules.group_field in changed:
        return None
    columns = tuple(changed), outside, layout.fields
    shape, event_types = updated_shape(rules, table, *columns, Extent.CHANGED, is_complete=True, is_group_changed=False)
    bodies = tuple([body(event, user, each, changed) for each in event_types])
    return Plan(user, shape, Version.of(event, rules.epoch), image, timestamp(event.position.ts_ms), bodies)


class _Layout:
    """The columns of a table's rows, in their order.

    ``pick`` gets the values of the mapped columns. ``cells``: by place in the row; None for a column without a field.
    ``image``: the fields of the whole config hash.
    """

    def __init__(self, table: UserTable, names: tuple[str, ...]) -> None:
        columns = cells_of(table)
        at = {name: place for place, name in enumerate(names)}
        self.names = names
        self.places = range(len(names))
        self.texts_of = columns.texts_of
        self.pick = itemgetter(*(at[each.name] for each in columns.all))
        self.cells = tuple(columns.of.get(name) for name in names)
        self.are_outside = tuple(name not in columns.of and table.is_outside(name) for name in names)
        self.constants = tuple(table.constants.values())
        self.fields = columns.fields
        self.image = ("id", "user_type", *table.constants, *self.fields)

    def whole_image(self, user: UserId, new: _Values) -> dict[str, str]:
        """The whole config hash without its time fields.

        Raises:
            InvalidValue: a value can't be read, or is of an unusual class.
        """
        picked = self.pick(new)
        texts = self.texts_of(tuple(map(type, picked)))
        if texts is None:
            raise InvalidValue("of an unusual class")
        values = (str(user.id), user.user_type, *self.constants, *map(getitem, texts, picked))
        return dict(zip(self.image, values, strict=True))

    def changed(self, new: _Values, old: _Values, image: dict[str, str]) -> _Changed:
        """What differs between two rows.

        Raises:
            InvalidValue: as :meth:`whole_image`.
        """
        cells: list[Cell] = []
        outside: list[str] = []
        for place in compress(self.places, map(ne, new, old)):
            if (cell := self.cells[place]) is not None:
                if _differs(cell, new[place], old[place]):
                    cells.append(cell)
            elif self.are_outside[place]:
                outside.append(self.names[place])
        if len(cells) > 1:
            cells.sort()
        return {cell.field: image[cell.field] for cell in cells}, tuple(outside)


@lru_cache(maxsize=256)
def _layout(table: UserTable, names: tuple[str, ...]) -> _Layout | None:
    """The layout of rows with these columns; None if a mapped column is missing, or if only one is mapped."""
    if len(table.columns) > 1 and {column.name for column in table.columns} <= set(names):
        return _Layout(table, names)
    return None


def _differs(cell: Cell, new: object, old: object) -> bool:
    """Whether two different raw values have different texts. NULL has none.

    Raises:
        InvalidValue: a value can't be read, or is of an unusual class.
    """
    if new is None or old is None:
        return True
    of_new, of_old = cell.texts.get(new.__class__), cell.texts.get(old.__class__)
    if of_new is None or of_old is None:
        raise InvalidValue("of an unusual class")
    return of_new[new] != of_old[old]
