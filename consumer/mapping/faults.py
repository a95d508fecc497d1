"""What is wrong with a mapping whose parts are each of the right type: contradictions, and keys that meet.

Pure: :mod:`consumer.mapping.file` finds the line of a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations_with_replacement, pairwise
from typing import TypeAlias

from consumer.errors import InvalidValue
from consumer.events.value import Kind, canonical
from consumer.mapping.keys import check_template, check_user_type, collision, covers
from consumer.mapping.rules import RESERVED_FIELDS, Column, Consequence, LinkedTable, Rules, UserTable

Path: TypeAlias = tuple[str | int, ...]

_STATE = ("config", "portfolio", "balance", "guard")
_CHANNEL_NAMES = ("lifecycle_channel", "group_channel")
_ONE_TYPE = 'partitions = ["…"] in one [[tables]], where all are parts of one table and their records come in one topic'
_EVERY_HASH = {"id", "user_type", "last_admin_update", "last_updated"}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at ``path``, such as ``("tables", 1, "columns", 0, "kind")``."""

    path: Path
    problem: str
    allowed: str = ""
    fix: str = ""


def faults(rules: Rules) -> Iterator[Fault]:
    """Everything that is wrong with ``rules``."""
    yield from _tables(rules)
    yield from _fields(rules)
    yield from _consequences(rules)
    yield from _linked(rules)
    yield from _channels(rules)
    if rules.balance_ttl_s <= 0:
        yield Fault(("balance_ttl_s",), "not a time to live", "seconds, 1 or more")
    broken = [*_user_types(rules), *_templates(rules)]
    yield from broken
    if not broken:
        yield from _meetings(rules)


def _tables(rules: Rules) -> Iterator[Fault]:
    if not rules.tables:
        yield Fault(("tables",), "no table of users", "one [[tables]] or more")
    names = [(("tables", place, "table"), table.table) for place, table in enumerate(rules.tables)]
    names += [(("linked", place, "table"), table.table) for place, table in enumerate(rules.linked)]
    yield from _repeated(names, "a table of this name is there already: {}")
    yield from _empty(names, "the name of a table")
    types = [(("tables", place, "user_type"), table.user_type) for place, table in enumerate(rules.tables)]
    yield from _repeated(types, "another table has users of this type: {}", _ONE_TYPE)
    yield from _partitions(rules)
    for place, table in enumerate(rules.tables):
        yield from _columns(("tables", place), table, rules)


def _partitions(rules: Rules) -> Iterator[Fault]:
    """Whose rows a table's are is never in doubt."""
    tables: list[tuple[str, int, UserTable | LinkedTable]] = [
        *(("tables", place, table) for place, table in enumerate(rules.tables)),
        *(("linked", place, table) for place, table in enumerate(rules.linked)),
    ]
    named = [
        ((kind, place, "partitions", number), pattern)
        for kind, place, table in tables
        for number, pattern in enumerate(table.partitions)
    ]
    yield from _empty(named, "the name of a partition, or a pattern such as live_users_p*")
    yield from _repeated(named, "partitions of two tables: {}")
    for path, pattern in named:
        for kind, place, table in tables:
            if path[:2] != (kind, place) and fnmatchcase(table.table, pattern):
                yield Fault(path, f"{table.table} is a table of its own", "a pattern that names partitions alone")


def _columns(path: Path, table: UserTable, rules: Rules) -> Iterator[Fault]:
    places = [((*path, "columns", place), column) for place, column in enumerate(table.columns)]
    if not places:
        yield Fault(path, "a table without columns", "columns = [ { name = … }, … ]")
    yield from _empty([((*where, "name"), column.name) for where, column in places], "the name of a column")
    yield from _repeated([((*where, "name"), column.name) for where, column in places], "mapped twice: {}")
    fields = [((*where, "field"), column.field) for where, column in places]
    fields += [((*path, "constants", name), name) for name in table.constants]
    yield from _repeated(fields, "the field has two sources: {}")
    written = _EVERY_HASH | {stamp for each in rules.consequences for stamp in each.stamps}
    for where, name in fields:
        if name in written:
            yield Fault(where, f"the program writes the field {name} itself", "a field of another name")
    for where, column in places:
        if column.scale < 0:
            yield Fault((*where, "scale"), "not a number of decimals", "0 or more")
        yield from _default(where, column)
    balance = [(where, column) for where, column in places if column.field == rules.balance_field]
    if not balance:
        yield Fault((*path, "columns"), f"no column has the balance field {rules.balance_field}")
    for where, column in balance:
        if column.kind is not Kind.MONEY or not column.required:
            yield Fault(where, "this column is the balance", 'kind = "money", required = true')
    if not table.key:
        yield Fault((*path, "key"), "empty", "the column with the user's id")


def _default(where: Path, column: Column) -> Iterator[Fault]:
    if column.kind is Kind.TEXT:
        return
    try:
        if column.default in (None, "", canonical(column.default, column.kind, column.scale)):
            return
    except InvalidValue:
        pass
    example = {Kind.MONEY: "0.00", Kind.TIME: "2024-01-15T10:30:00.000Z"}.get(column.kind, "text")
    yield Fault((*where, "default"), f"not as Redis holds a value of kind {column.kind}", f"text such as {example}")


def _fields(rules: Rules) -> Iterator[Fault]:
    """Everything that speaks of a field of the config hash speaks of one that a table has."""
    known = {column.field for table in rules.tables for column in table.columns}
    named: list[tuple[Path, str]] = [(("group_field",), rules.group_field), (("balance_field",), rules.balance_field)]
    named += [(("financial",), name) for name in sorted(rules.financial)]
    for place, each in enumerate(rules.consequences):
        named += [(("consequences", place, "fields"), name) for name in sorted(each.fields)]
    for path, name in named:
        if name not in known:
            yield Fault(path, f"no table has a column for the field {name}", ", ".join(sorted(known)))


def _consequences(rules: Rules) -> Iterator[Fault]:
    names = [(("consequences", place, "name"), each.name) for place, each in enumerate(rules.consequences)]
    yield from _empty(names, "the name of the rule, which plans show")
    yield from _repeated(names, "two rules of one name: {}")
    if rules.group_field in rules.financial:
        yield Fault(("group_field",), f"{rules.group_field} is a field of money", "a field that is not in financial")
    for place, each in enumerate(rules.consequences):
        if not each.fields:
            yield Fault(("consequences", place, "fields"), "empty: nothing would call for this rule")
    for name in ("profile", "outside"):
        if getattr(rules, name).fields:
            yield Fault((name, "fields"), f"{name} has no fields of its own", fix="leave it out")


def _linked(rules: Rules) -> Iterator[Fault]:
    owned = {column.field for table in rules.tables for column in table.columns} | _EVERY_HASH
    types = {table.user_type for table in rules.tables}
    for place, table in enumerate(rules.linked):
        path: Path = ("linked", place)
        if bool(table.user_type) == bool(table.user_type_column):
            yield Fault(path, "it is not said whose rows these are", fix="give either user_type or user_type_column")
        if table.user_type and table.user_type not in types:
            yield Fault((*path, "user_type"), f"no table of users has the type {table.user_type}", _listed(types))
        if not table.done:
            yield Fault((*path, "done"), "empty: no row would ever count", 'a list such as ["completed"]')
        yield from _known_values(path, table, types)
        for column, name in table.writes.items():
            if name in owned or not name:
                yield Fault(
                    (*path, "writes", column),
                    f"the field {name!r} belongs to the user's row",
                    fix="write another field",
                )
        if table.time_field in owned:
            yield Fault((*path, "time_field"), f"the field {table.time_field} belongs to the user's row")
        for number, each in enumerate(table.enriches):
            if not each.field or each.field in RESERVED_FIELDS:
                yield Fault((*path, "enriches", number), f"messages have a field {each.field!r} of their own")


def _known_values(path: Path, table: LinkedTable, types: Iterable[str]) -> Iterator[Fault]:
    for name in ("done", "not_done", "other_types"):
        values = sorted(getattr(table, name))
        yield from _empty((((*path, name), value) for value in values), "a value without spaces around it")
    if both := sorted(table.done & table.not_done):
        yield Fault((*path, "not_done"), f"{both[0]} is among done too")
    if both := sorted(table.other_types.intersection(types)):
        yield Fault((*path, "other_types"), f"a table of users has the type {both[0]}")


def _channels(rules: Rules) -> Iterator[Fault]:
    named: list[tuple[Path, str]] = [(("names", name), getattr(rules.names, name)) for name in _CHANNEL_NAMES]
    for path, each in _rules_with_paths(rules):
        named += [((*path, "channels", place), channel) for place, channel in enumerate(each.channels)]
    yield from _empty(named, "the name of a channel")


def _rules_with_paths(rules: Rules) -> Iterator[tuple[Path, Consequence]]:
    for place, each in enumerate(rules.consequences):
        yield ("consequences", place), each
    yield ("profile",), rules.profile
    yield ("outside",), rules.outside


def _user_types(rules: Rules) -> Iterator[Fault]:
    for place, table in enumerate(rules.tables):
        try:
            check_user_type(table.user_type)
        except ValueError as error:
            yield Fault(("tables", place, "user_type"), f"{table.user_type!r} would make keys ambiguous", str(error))


def _cleared(rules: Rules) -> Iterator[tuple[Path, str]]:
    clears = [(path, each.clears) for path, each in _rules_with_paths(rules)]
    clears += [(("linked", place), each.clears) for place, each in enumerate(rules.linked)]
    for path, templates in clears:
        yield from (((*path, "clears", place), template) for place, template in enumerate(templates))


def _templates(rules: Rules) -> Iterator[Fault]:
    for name in _STATE:
        template = getattr(rules.names, name)
        yield from _template(("names", name), template)
        if template.endswith("*"):
            yield Fault(("names", name), "not one key", "a template without *")
    for path, template in _cleared(rules):
        yield from _template(path, template)
        if template.endswith("*") and not template.endswith("<type>:<id>:*"):
            # The index of live keys cuts a user's prefix out of a key's name by this form.
            yield Fault(path, "a template with * has one form", "name:<type>:<id>:*")
        elif template.startswith("<") and template.endswith("*"):
            yield Fault(path, "every key in Redis begins like this", "name:<type>:<id>:*")


def _template(path: Path, template: str) -> Iterator[Fault]:
    try:
        check_template(template)
    except ValueError as error:
        yield Fault(path, f"{template!r}: {error}", "a template such as name:<type>:<id>")


def _meetings(rules: Rules) -> Iterator[Fault]:
    """Keys of two templates, or of two users, that are one key."""
    types = {table.user_type for table in rules.tables}
    state = [(("names", name), getattr(rules.names, name)) for name in _STATE]
    derived = dict.fromkeys(rules.derived())
    first = {template: path for path, template in reversed(list(_cleared(rules)))}
    every: list[tuple[Path, str]] = [*state, *((first[template], template) for template in derived)]
    for (_, one), (path, other) in combinations_with_replacement(every, 2):
        if met := collision(one, other, types) or collision(other, one, types):
            yield Fault(path, f"{other} names the same key as {one}, for {met[0]} and {met[1]}")
    yield from _repeated(state, "two keys of one template: {}")
    wildcards = [template for template in derived if template.endswith("*")]
    for wildcard in wildcards:
        for path, template in state:
            if covers(wildcard, template, types):
                yield Fault(first[wildcard], f"{wildcard} would clear {template} of names.{path[-1]}")
    kept = {template for _, template in state}
    for template in derived:
        if template in kept:
            yield Fault(first[template], f"{template} holds what stands in the database, and would be cleared")
    heads = sorted((wildcard.partition("<")[0], wildcard) for wildcard in wildcards)
    for (head, one), (longer, other) in pairwise(heads):
        if longer.startswith(head):
            yield Fault(first[other], f"{other} begins like {one}", "names with * that differ from their beginning on")


def _repeated(named: Iterable[tuple[Path, str]], problem: str, allowed: str = "") -> Iterator[Fault]:
    counts: Counter[str] = Counter()
    for path, name in named:
        counts[name] += 1
        if counts[name] == 2:
            yield Fault(path, problem.format(name), allowed)


def _empty(named: Iterable[tuple[Path, str]], what: str) -> Iterator[Fault]:
    for path, name in named:
        if not name or name != name.strip():
            yield Fault(path, "empty, or with spaces around it", what)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
