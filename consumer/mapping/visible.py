"""Which columns' values may be shown to people: those that the mapping uses. A row has passwords and addresses too."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.mapping.rules import LinkedTable, Rules, UserTable


def visible_columns(rules: Rules, table: str) -> frozenset[str]:
    """The columns of ``table`` whose values the mapping uses; none if it does not name the table."""
    if (users := rules.table(table)) is not None:
        return _of_users(users)
    linked = rules.linked_table(table)
    return frozenset() if linked is None else _of_linked(linked)


def _of_users(table: UserTable) -> frozenset[str]:
    return frozenset({table.key, *(column.name for column in table.columns)})


def _of_linked(table: LinkedTable) -> frozenset[str]:
    written = {*table.writes, *(each.column for each in table.enriches)}
    return frozenset({table.key, table.user_id, table.user_type_column, table.status, *written} - {""})


def hidden_columns(rules: Rules, running: Rules) -> Iterator[tuple[str, str]]:
    """What ``rules`` read and ``running`` does not show, as table and column, or a table's patterns.

    A decision tells of a value that it depends on: whether a status is one of ``done``, or that a column in ``outside``
    has changed. So a column in ``outside`` is as good as one that is read, if ``running`` does not tell of it too.
    """
    for users in rules.tables:
        known = running.table(users.table)
        told = frozenset(users.outside) - frozenset(known.outside if known is not None else ())
        yield from _hidden(users, _of_users(users) | told, running)
    for linked in rules.linked:
        yield from _hidden(linked, _of_linked(linked), running)


def _hidden(table: UserTable | LinkedTable, read: frozenset[str], running: Rules) -> Iterator[tuple[str, str]]:
    """A pattern of partitions may name any table, so it must be one of the same table."""
    known = running.table(table.table) or running.linked_table(table.table)
    patterns = frozenset(table.partitions) - frozenset(known.partitions if known is not None else ())
    hidden = (read - visible_columns(running, table.table)) | patterns
    yield from ((table.table, name) for name in sorted(hidden))
