"""Faults of the names of fields: each field of a hash gets its value from one place, and each name must exist. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from consumer.events.value import Kind
from consumer.mapping.fault import Fault, Path, empty, repeated, rules_with_paths
from consumer.mapping.rules import WRITTEN_FIELDS, Rules, UserTable

_NAME = "the name of a field of a hash"
_OTHER_NAME = "a field of another name"
_OF_BALANCE = 'kind = "money", required = true'
_TIMES_OF_ALL = frozenset({"last_admin_update", "last_updated"})
"""Times that the program sets itself: a rule that names them too changes nothing."""


def field_faults(rules: Rules) -> Iterator[Fault]:
    """All faults of fields of hashes.

    Where two keys contradict each other there is a fault for each: a file that extends the reference may have only one.
    """
    for index, table in enumerate(rules.tables):
        yield from _owned(("tables", index), table, rules)
    yield from _times(rules)
    yield from _known(rules)
    yield from _linked(rules)


def _owned_fields(rules: Rules) -> dict[str, str]:
    """The fields whose values come from a user's row or from the mapping, each with what gives it its value."""
    found = dict.fromkeys(WRITTEN_FIELDS - _TIMES_OF_ALL, "the program")
    for table in reversed(rules.tables):  # the first table that has the field is named
        found |= dict.fromkeys(table.constants, f"constants of {table.table}")
        found |= {each.field: f"the column {each.name} of {table.table}" for each in table.columns}
    return found


def _time_names(rules: Rules) -> list[tuple[Path, str]]:
    """The names of all times that rules set, in both hashes, with their paths."""
    return [
        ((*path, key, number), name)
        for path, each in rules_with_paths(rules)
        for key, names in (("stamps", each.stamps), ("portfolio_stamps", each.portfolio_stamps))
        for number, name in enumerate(names)
    ]


def _owned(path: Path, table: UserTable, rules: Rules) -> Iterator[Fault]:
    columns = [((*path, "columns", index), column) for index, column in enumerate(table.columns)]
    fields = _fields_of(path, table)
    yield from empty(fields, _NAME)
    yield from repeated(fields, "two columns or constants for one field: {}")
    for place, name in fields:
        if name in WRITTEN_FIELDS:
            yield Fault(place, f"the program writes the field {name} itself", _OTHER_NAME)
    balance = [(place, column) for place, column in columns if column.field == rules.balance_field]
    if not balance:
        yield Fault((*path, "columns"), f"no column for the balance field {rules.balance_field}")
        yield Fault(("balance_field",), f"{table.table} has no column for the field {rules.balance_field}")
    for place, column in balance:
        if column.kind is not Kind.MONEY or not column.required:
            yield Fault(place, "this column is the balance", _OF_BALANCE)
            problem = f"the column {column.name} of {table.table} can't be the balance"
            yield Fault(("balance_field",), problem, f"the field of a column with {_OF_BALANCE}")


def _fields_of(path: Path, table: UserTable) -> list[tuple[Path, str]]:
    fields: list[tuple[Path, str]] = [
        ((*path, "columns", index, "field"), column.field) for index, column in enumerate(table.columns)
    ]
    return fields + [((*path, "constants", name), name) for name in table.constants]


def _times(rules: Rules) -> Iterator[Fault]:
    """No time may overwrite a value that comes from a row: the balance would be a time."""
    owned = _owned_fields(rules)
    named = _time_names(rules)
    yield from empty(named, _NAME)
    for path, name in named:
        if name in owned:
            yield Fault(path, f"the field {name} gets its value from {owned[name]}", _OTHER_NAME)
    times = {name for path, name in named if path[-2] == "stamps"}
    yield from _fields_that_are_times(rules, times)
    for path, each in rules_with_paths(rules):
        if each.portfolio_stamps and not each.portfolio:
            yield Fault(
                (*path, "portfolio_stamps"), "this rule does not write to the portfolio", fix="portfolio = true"
            )
    if rules.outside.portfolio:
        yield Fault(("outside", "portfolio"), "a column outside the hash has no value in Redis", fix="remove it")


def _fields_that_are_times(rules: Rules, times: set[str]) -> Iterator[Fault]:
    """The same faults as those of the times, at the other key."""
    for index, table in enumerate(rules.tables):
        for path, name in _fields_of(("tables", index), table):
            if name in times:
                yield Fault(path, f"a rule writes a time to the field {name}", _OTHER_NAME)


def _known(rules: Rules) -> Iterator[Fault]:
    """Every name of a config hash field in the rules must be the field of a column."""
    known = {column.field for table in rules.tables for column in table.columns}
    named: list[tuple[Path, str]] = [(("balance_field",), rules.balance_field)]
    named += [(("group_field",), rules.group_field)] if rules.group_field else []
    named += [(("financial",), name) for name in sorted(rules.financial)]
    for index, each in enumerate(rules.consequences):
        named += [(("consequences", index, "fields"), name) for name in sorted(each.fields)]
    for path, name in named:
        if name not in known:
            yield Fault(path, f"no table has a column for the field {name}", ", ".join(sorted(known)))


def _linked(rules: Rules) -> Iterator[Fault]:
    """A linked table writes only fields that nothing else writes, and each of them once."""
    owned = dict.fromkeys(WRITTEN_FIELDS, "the program")
    owned |= {name: f"stamps of the rule {each.name}" for _, each in rules_with_paths(rules) for name in each.stamps}
    owned |= _owned_fields(rules)
    for index, table in enumerate(rules.linked):
        fields: list[tuple[Path, str]] = [
            (("linked", index, "writes", column), name) for column, name in table.writes.items()
        ]
        fields += [(("linked", index, "time_field"), table.time_field)] if table.time_field else []
        yield from empty(fields, _NAME)
        yield from repeated(fields, "two values for one field: {}")
        for path, name in fields:
            if name in owned:
                yield Fault(path, f"the field {name} gets its value from {owned[name]}", _OTHER_NAME)
