"""What a change changed in its row: old and new values, of columns whose values may be shown. Pure."""

from __future__ import annotations

from contextlib import suppress
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
        if column not in after or (column in before and before[column] == after[column]):
            continue
        with suppress(InvalidValue):
            change = _change(before, after, column, table, event)
            if not change.old_known or change.old != change.new:
                fields[column] = change
    return Diff(fields, ())


def _change(before: RowImage, after: RowImage, column: str, table: LinkedTable, event: ChangeEvent) -> Change:
    """The values of a column. An old value that can't be read is not known.

    Raises:
        InvalidValue: the new value can't be read.
    """
    new = _text(after[column], column, table, event)
    with suppress(InvalidValue):
        if column in before:
            return Change(_text(before[column], column, table, event), new)
    return Change(None, new, old_known=False)


def _text(raw: object, column: str, table: LinkedTable, event: ChangeEvent) -> str | None:
    found = next((each for each in table.enriches if each.column == column), None)
    kind, scale = (Kind.TEXT, 0) if found is None else (found.kind, found.scale)
    text = of_column(raw, column, kind, scale, event.schema)
    return text.rstrip(" ") if text is not None else None
