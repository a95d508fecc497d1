"""Columns of the row images against those of the mapping: what the table has gained, and what it has lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from consumer.event import ChangeEvent
from consumer.rules import Rules, UserTable


@dataclass(frozen=True, slots=True)
class Drift:
    """A column that the mapping does not name, or an optional one of the mapping that the row does not have."""

    table: str
    column: str
    is_unknown: bool


class ColumnWatch:
    """Compares each set of columns once: a table's rows have the same columns until somebody alters it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[tuple[str, tuple[str, ...]], tuple[Drift, ...]] = {}
        self._seen: set[Drift] = set()

    def counted(self, events: Iterable[ChangeEvent]) -> Mapping[Drift, int]:
        """How many of ``events`` have each drift. Deletes have none: their image may be the key alone."""
        shapes = Counter((event.table, tuple(event.after)) for event in events if event.after is not None)
        found: Counter[Drift] = Counter()
        for shape, count in shapes.items():
            if shape not in self._known:
                self._known[shape] = self._compare(*shape)
            for drift in self._known[shape]:
                found[drift] += count
        return found

    def is_first(self, drift: Drift) -> bool:
        """Whether this was not asked before."""
        is_first = drift not in self._seen
        self._seen.add(drift)
        return is_first

    def _compare(self, table_name: str, names: tuple[str, ...]) -> tuple[Drift, ...]:
        table = self._rules.table(table_name)
        if table is None:
            return ()
        present = set(names)
        owned = {column.name for column in table.columns}
        unknown = [name for name in names if name not in owned and not _is_named(name, table)]
        missing = [column.name for column in table.columns if not column.required and column.name not in present]
        return (
            *(Drift(table_name, name, is_unknown=True) for name in unknown),
            *(Drift(table_name, name, is_unknown=False) for name in missing),
        )


def _is_named(column: str, table: UserTable) -> bool:
    return column == table.key or table.is_outside(column) or any(fnmatchcase(column, each) for each in table.ignored)
