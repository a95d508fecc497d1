"""Decides about an update of the usual form in one step, from the bytes of the record to the plan.

Most records have this form: JSON without a schema, an update of a user table, both row images with the same columns,
all values readable, no change of the group. Any other record is decided stage by stage in
:mod:`consumer.planning.decision`. Both ways give the same decision; a test proves it. What depends only on the columns
of a table is computed once, in a layout.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress
from operator import getitem, itemgetter, ne
from typing import NamedTuple, TypeAlias

from consumer.errors import InvalidValue, NotAnEnvelope, Place
from consumer.events.envelope import transaction_of, usual_position
from consumer.events.event import ChangeEvent, Operation, RowImage
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import is_consumed
from consumer.events.usual_envelope import Envelope, usual_envelope, usual_key
from consumer.events.value import ID_LIMIT, timestamp
from consumer.guard.history import History
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.mapping.schema_drift import Drift, column_drifts
from consumer.planning.diff import Cell, cells_of
from consumer.planning.effect import Plan
from consumer.planning.message import body
from consumer.planning.shape import Extent
from consumer.planning.user_shapes import Updated, updated_shape

_MOST_LAYOUTS = 256
_Values: TypeAlias = tuple[object, ...]
_Changed: TypeAlias = tuple[dict[str, str], tuple[str, ...]]
"""The changed fields with their new values, and the changed columns without a field."""


class UsualUpdate(NamedTuple):
    """An update that was decided. ``drifts``: what is unexpected about its columns."""

    event: ChangeEvent
    user: UserId
    plan: Plan
    drifts: tuple[Drift, ...]


class _Layout:
    """The columns of a table's rows, in their order.

    ``pick`` gets the values of the mapped columns. ``cells``: by place in the row; None for a column without a field.
    ``image``: the fields of the whole config hash. ``money``: the places of the amounts.
    """

    def __init__(self, table: UserTable, names: tuple[str, ...], rules: Rules) -> None:
        columns = cells_of(table)
        at = {name: place for place, name in enumerate(names)}
        self.table = table
        self.names = names
        self.places = range(len(names))
        self.texts_of = columns.texts_of
        self.pick = itemgetter(*(at[each.name] for each in columns.all))
        self.cells = tuple(columns.of.get(name) for name in names)
        self.are_outside = tuple(name not in columns.of and table.is_outside(name) for name in names)
        self.key = at[table.key]
        self.money = tuple(at[name] for name, _ in table.money())
        self.constants = (table.user_type, *table.constants.values())
        self.fields = columns.fields
        self.image = ("id", "user_type", *table.constants, *self.fields)
        self.drifts = column_drifts(rules, table.table, names)
        self.updated: dict[tuple[tuple[str, ...], tuple[str, ...]], Updated] = {}

    def whole_image(self, number: int, new: _Values) -> dict[str, str] | None:
        """The whole config hash without its time fields; None if a value has an unusual class.

        Raises:
            InvalidValue: a value can't be read.
        """
        picked = self.pick(new)
        texts = self.texts_of(tuple(map(type, picked)))
        if texts is None:
            return None
        return dict(zip(self.image, (str(number), *self.constants, *map(getitem, texts, picked)), strict=True))

    def changed(self, new: _Values, old: _Values, image: dict[str, str]) -> _Changed:
        """What differs between two rows.

        Raises:
            InvalidValue: a value can't be read.
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


class UsualUpdates:
    """The updates of the usual form under a mapping."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._placeholder = rules.placeholder.encode()
        self._layouts: dict[tuple[str, tuple[str, ...]], _Layout | None] = {}

    def decided(self, record: SourceRecord, history: History) -> UsualUpdate | None:
        """The decision about ``record``; None if it is not an update of the usual form, or was sent before.

        Raises:
            ServerUnavailable: from ``history``; the same record may be decided again.
        """
        value = record.value
        if value is None or self._placeholder in value or (found := usual_envelope(value)) is None:
            return None
        envelope, schema = found
        if schema or envelope.op != "u" or envelope.before is None or envelope.after is None:
            return None
        try:  # an error is found again by the other way, which says what is wrong
            return self._decided(record, envelope, envelope.before, envelope.after, history)
        except (InvalidValue, NotAnEnvelope):
            return None

    def _decided(
        self, record: SourceRecord, envelope: Envelope, before: RowImage, after: RowImage, history: History
    ) -> UsualUpdate | None:
        names = tuple(after)
        layout = self._layout(envelope.source.table, names)
        if layout is None or tuple(before) != names:
            return None
        new, old = tuple(after.values()), tuple(before.values())
        number = new[layout.key]
        if type(number) is not int or not 0 <= number < ID_LIMIT or not _has_point(new, layout.money):
            return None
        if (image := layout.whole_image(number, new)) is None:
            return None
        changed, outside = layout.changed(new, old, image)
        if not (changed or outside) or self._rules.group_field in changed:
            return None
        event = self._event(record, envelope, before, after)
        if event is None:
            return None
        now = timestamp(event.position.ts_ms)
        if history.first_sent(event, record.value) is not None:
            return None
        user = UserId(layout.table.user_type, number)
        follows = self._updated(layout, tuple(changed), outside)
        bodies = tuple([body(event, user, each, changed) for each in follows.event_types])
        plan = Plan(user, follows.shape, Version.of(event, self._rules.epoch), image, now, bodies)
        return UsualUpdate(event, user, plan, layout.drifts)

    def _event(self, record: SourceRecord, envelope: Envelope, before: RowImage, after: RowImage) -> ChangeEvent | None:
        """The change event; None if a part of the record is missing or unusual, or the database is not consumed."""
        source, transaction, databases = envelope.source, envelope.transaction, self._rules.databases
        database, position = source.database, usual_position(source, transaction)
        key = usual_key(record.key) if record.key is not None else None
        if not database or position is None or key is None or (databases and not is_consumed(databases, database)):
            return None
        return ChangeEvent(
            source.table,
            Operation.UPDATE,
            key,
            before,
            after,
            position,
            transaction_of(transaction.id if transaction is not None else None, position),
            Place(record.topic, record.partition, record.offset),
            {},
            (),
            database,
            record.timestamp_ms,
        )

    def _updated(self, layout: _Layout, fields: tuple[str, ...], outside: tuple[str, ...]) -> Updated:
        key = fields, outside
        found = layout.updated.get(key)
        if found is None:
            found = layout.updated[key] = updated_shape(
                self._rules, layout.table, *key, layout.fields, Extent.CHANGED, is_complete=True, is_group_changed=False
            )
        return found

    def _layout(self, table_name: str, names: tuple[str, ...]) -> _Layout | None:
        """The layout of rows with these columns; None for other tables, and if a mapped column is missing."""
        try:
            return self._layouts[table_name, names]
        except KeyError:
            pass
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        table = self._rules.table(table_name)
        layout = None
        if table is not None and table.table == table_name and len(table.columns) > 1:
            wanted = {table.key, *(column.name for column in table.columns)}
            layout = _Layout(table, names, self._rules) if wanted <= set(names) else None
        self._layouts[table_name, names] = layout
        return layout


def _has_point(row: _Values, money: tuple[int, ...]) -> bool:
    """Whether an amount has a point. Then all amounts of the row are text, not base64."""
    for place in money:
        value = row[place]
        if type(value) is str and "." in value:
            return True
    return False


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


@lru_cache(maxsize=64)
def usual_updates(rules: Rules) -> UsualUpdates:
    """The updates of the usual form under ``rules``."""
    return UsualUpdates(rules)
