"""Which columns' values may be shown to people: those that the mapping uses. A row has passwords and addresses too."""

from __future__ import annotations

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
