"""What a change changed in its row: old and new values, of columns whose values may be shown. Pure."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

from consumer.errors import InvalidValue, RecordError
from consumer.events.decimals import with_decimal_schema
from consumer.events.event import ChangeEvent, RowImage
from consumer.events.value import Kind, of_column
from consumer.mapping.rules import LinkedTable, Rules, UserTable
from consumer.mapping.visible import visible_columns
from consumer.planning.diff import Change, Diff, diff, read_image

_NOTHING = Diff({}, ())
_ABSENT = object()


def differences(event: ChangeEvent, rules: Rules) -> Diff:
    """The columns that changed; of a new row or a row that was read all columns, of a deleted row none.

    A value that can't be read is left out: the record is a dead letter then, and its error names the column.
    """
    if event.after is None:
        return _NOTHING
    try:
        if (table := rules.table(event.table)) is not None:
            return _of_user(with_decimal_schema(event, table.money()), event.after, table)
        if (linked := rules.linked_table(event.table)) is not None:
            return _of_linked(with_decimal_schema(event, linked.money()), event.after, linked, rules)
    except RecordError:
        return _NOTHING
    return _NOTHING


def _of_user(event: ChangeEvent, after: RowImage, table: UserTable) -> Diff:
    if event.before is None:
        fields = read_image(after, table, event.schema).fields
        return Diff({name: Change(None, value, old_known=False) for name, value in fields.items()}, ())
    images = (event.before, *event.between, after)
    return reduce(Diff.then, (diff(*pair, table, event.schema) for pair in pairwise(images)))


def _of_linked(event: ChangeEvent, after: RowImage, table: LinkedTable, rules: Rules) -> Diff:
    """The status first, then the columns that the mapping writes or publishes."""
    before = event.before or {}
    visible = visible_columns(rules, table.table) - {table.key, table.user_id, table.user_type_column}
    fields: dict[str, Change] = {}
    for column in dict.fromkeys((table.status, *(each for each in after if each in visible))):
        old, new = before.get(column, _ABSENT), after.get(column, _ABSENT)
        if new is _ABSENT or new == old:
            continue
        text, was = _text(new, column, table, event), _text(old, column, table, event)
        if isinstance(text, _Unknown):
            continue
        is_known = not isinstance(was, _Unknown)
        if not is_known or was != text:
            fields[column] = Change(None if isinstance(was, _Unknown) else was, text, is_known)
    return Diff(fields, ())


class _Unknown:
    """Stands for a value that is absent, or that can't be read."""


def _text(raw: object, column: str, table: LinkedTable, event: ChangeEvent) -> str | _Unknown | None:
    found = next((each for each in table.enriches if each.column == column), None)
    kind, scale = (Kind.TEXT, 0) if found is None else (found.kind, found.scale)
    try:
        text = of_column(raw, column, kind, scale, event.schema)
    except InvalidValue:
        return _Unknown()
    return text.rstrip(" ") if text is not None else None
