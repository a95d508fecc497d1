"""Scenarios as SQL: the rows that are there before, and the statements that make the changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

from tests.support.scenario import Change, Scenario, load_all
from tests.support.stack.trading import Trading

NOT_BY_SQL: Mapping[str, str] = {
    "An unchanged large text is neither a change nor written": "no column of the tables is a large text",
    "The old row has the unchanged text, so the image is whole all the same": "no column is a large text",
    "A large text that did change comes whole, though the old one was not sent": "no column is a large text",
    "Nothing but an unchanged text outside the hash": "no column of the tables is a large text",
    "A balance that was not sent is not zero": "a database always sends a number",
    "A column that nobody named": "the tables have no such column",
    "The same by value: other spellings of one number and one flag": "a database has one spelling of a value",
    "A required column is missing": "every row has its table's columns",
    "A column that the mapping does not require is missing: its field is left alone": "every row has its columns",
    "A transaction whose row has no status": "every row has its table's columns",
    "Money that is no number is refused": "the column holds nothing but numbers",
    "A user id that is no number": "the column holds nothing but numbers",
}
"""Scenarios that no statement on the reference tables makes, and why: by title."""

_TIMES = ("_at", "_time")


def by_sql() -> list[Scenario]:
    """The scenarios that SQL can make, or Debezium reads from rows that SQL made."""
    return [each for each in load_all() if each.title not in NOT_BY_SQL]


def is_read(scenario: Scenario, operation: str) -> bool:
    """Whether the scenario is about a row that a snapshot finds: ``read`` or ``incremental``."""
    return [change.operation for change in scenario.changes] == [operation]


def seed(trading: Trading, scenario: Scenario) -> None:
    """Insert the rows that the scenario's changes find, in the state they find them in."""
    seen: set[tuple[str, object]] = set()
    for change in scenario.changes:
        row = change.before if change.operation in ("update", "delete") else None
        if change.operation in ("read", "incremental"):
            row = change.after
        if row is not None and (change.table, change.user_id) not in seen:
            trading.insert(change.table, **_row(row))
        seen.add((change.table, change.user_id))


def play(trading: Trading, scenario: Scenario) -> None:
    """Make the changes: each in its own database transaction, unless the scenario says otherwise."""
    if moved := _key_change(scenario.changes):
        old, new = moved
        trading.update(old.table, _number(old), id=_number(new))
        return
    with trading.transaction() if scenario.is_one_transaction else nullcontext():
        for change in scenario.changes:
            _make(trading, change)


def _make(trading: Trading, change: Change) -> None:
    if change.before is None:
        trading.insert(change.table, **_row(change.after or {}))
    elif change.after is None:
        trading.delete(change.table, _number(change))
    else:
        before, after = _row(change.before), _row(change.after)
        changed = {column: value for column, value in after.items() if value != before[column]}
        trading.update(change.table, _number(change), **changed)


def _key_change(changes: Sequence[Change]) -> tuple[Change, Change] | None:
    """The two records that Debezium makes of one UPDATE of the id."""
    operations = [(each.operation, each.table) for each in changes]
    if len(changes) == 2 and operations == [("delete", changes[0].table), ("insert", changes[0].table)]:
        return changes[0], changes[1]
    return None


def _row(image: Mapping[str, object]) -> dict[str, object]:
    return {column: _parameter(column, value) for column, value in image.items()}


def _parameter(column: str, value: object) -> object:
    if column == "is_active":
        return None if value is None else bool(value)
    if isinstance(value, str) and column.endswith(_TIMES):
        return datetime.fromisoformat(value).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return value


def _number(change: Change) -> int:
    assert isinstance(change.user_id, int)
    return change.user_id
