"""Differences between rows and the mapping: new columns, missing columns, and values that can't be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from consumer.events.event import ChangeEvent
from consumer.mapping.rules import Rules, UserTable


class DriftKind(StrEnum):
    """What is unexpected about a column.

    UNKNOWN: the mapping does not name the column. MISSING: an optional column is not in the row. UNREADABLE: the value
    of an optional column does not have the column's kind; its field in Redis stays as it is. VALUE: a column of a
    linked table that decides whether the row counts has a value that the mapping does not list. SCALE: the record has
    precise decimals without a schema, so the mapping's scales are used; the drift's ``column`` is then "".
    """

    UNKNOWN = "unknown"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    VALUE = "value"
    SCALE = "scale"


@dataclass(frozen=True, slots=True)
class Drift:
    """Something unexpected about a column. It never contains a row value."""

    table: str
    column: str
    kind: DriftKind


class SchemaDrifts:
    """Finds drifts. Each set of columns is compared once: a table's columns only change with an ALTER TABLE."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._known: dict[tuple[str, tuple[str, ...]], tuple[Drift, ...]] = {}
        self._seen: set[Drift] = set()

    def counted(self, events: Iterable[ChangeEvent], found: Iterable[Drift] = ()) -> Mapping[Drift, int]:
        """The number of changes with each drift.

        ``found``: the drifts that were found when the changes were decided. The drifts of ``events`` are added. A
        delete has none, because its row image may contain only the key.
        """
        counts = Counter(found)
        events = [event for event in events if event.after is not None]
        counts.update(Drift(event.table, "", DriftKind.SCALE) for event in events if _has_assumed_scale(event))
        shapes = Counter((event.table, tuple(event.after or ())) for event in events)
        for shape, count in shapes.items():
            if shape not in self._known:
                self._known[shape] = self._compare(*shape)
            for drift in self._known[shape]:
                counts[drift] += count
        return counts

    def is_first(self, drift: Drift) -> bool:
        """Whether this is the first call for ``drift``."""
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
            *(Drift(table_name, name, DriftKind.UNKNOWN) for name in unknown),
            *(Drift(table_name, name, DriftKind.MISSING) for name in missing),
        )


def _is_named(column: str, table: UserTable) -> bool:
    return column == table.key or table.is_outside(column) or any(fnmatchcase(column, each) for each in table.ignored)


def _has_assumed_scale(event: ChangeEvent) -> bool:
    return bool(event.schema) and next(iter(event.schema.values())).is_assumed  # either all scales are assumed, or none
