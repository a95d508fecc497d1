"""Faults of a mapping whose parts have the right types: contradictions, and templates that give the same key.

Pure: :mod:`consumer.mapping.file` finds the line of a fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import combinations, combinations_with_replacement, pairwise

from consumer.errors import InvalidValue
from consumer.events.value import Kind, canonical
from consumer.mapping.channel_faults import channel_faults
from consumer.mapping.fault import Fault, Path, empty, overlap, repeated, rules_with_paths
from consumer.mapping.field_faults import field_faults
from consumer.mapping.keys import check_template, check_user_type, collision, covers
from consumer.mapping.rules import RESERVED_FIELDS, Column, LinkedTable, Rules, UserTable
from consumer.mapping.streams import stream_faults
from consumer.settings.times import LONGEST_EXPIRY_S

_STATE = ("config", "portfolio", "balance", "guard")
_ONE_TYPE = 'partitions = ["…"] in one [[tables]], if all are partitions of one table and share one topic'


def faults(rules: Rules) -> Iterator[Fault]:
    """All faults of ``rules``."""
    yield from _tables(rules)
    yield from field_faults(rules)
    yield from _consequences(rules)
    yield from _linked(rules)
    yield from channel_faults(rules)
    if not 1 <= rules.balance_ttl_s <= LONGEST_EXPIRY_S:
        yield Fault(("balance_ttl_s",), "not a time to live", f"seconds, 1 to {LONGEST_EXPIRY_S} (ten years)")
    invalid = [*_user_types(rules), *_templates(rules)]
    yield from invalid
    if not invalid:
        yield from _shared_keys(rules)
        yield from _streams(rules)


def _tables(rules: Rules) -> Iterator[Fault]:
    if not rules.tables:
        yield Fault(("tables",), "no user table", "one [[tables]] or more")
    names = [(("tables", index, "table"), table.table) for index, table in enumerate(rules.tables)]
    names += [(("linked", index, "table"), table.table) for index, table in enumerate(rules.linked)]
    yield from repeated(names, "two tables of this name: {}")
    yield from empty(names, "the name of a table")
    types = [(("tables", index, "user_type"), table.user_type) for index, table in enumerate(rules.tables)]
    yield from repeated(types, "two tables with users of this type: {}", _ONE_TYPE)
    yield from _partitions(rules)
    for index, table in enumerate(rules.tables):
        yield from _columns(("tables", index), table)


def _partitions(rules: Rules) -> Iterator[Fault]:
    """Each name of a partition must belong to exactly one table."""
    tables: list[tuple[str, int, UserTable | LinkedTable]] = [
        *(("tables", index, table) for index, table in enumerate(rules.tables)),
        *(("linked", index, table) for index, table in enumerate(rules.linked)),
    ]
    named = [
        ((kind, index, "partitions", number), pattern)
        for kind, index, table in tables
        for number, pattern in enumerate(table.partitions)
    ]
    yield from empty(named, "the name of a partition, or a pattern such as live_users_p*")
    yield from repeated(named, "a partition of two tables: {}")
    for path, pattern in named:
        for kind, index, table in tables:
            if path[:2] != (kind, index) and fnmatchcase(table.table, pattern):
                yield Fault(path, f"{table.table} is a table itself", "a pattern that matches only partitions")
    for (first, one), (path, other) in combinations(named, 2):
        if first[:2] != path[:2] and one != other and overlap(one, other):
            yield Fault(path, f"{other} and {one} may name one partition", "patterns without a common name")


def _columns(path: Path, table: UserTable) -> Iterator[Fault]:
    columns = [((*path, "columns", index), column) for index, column in enumerate(table.columns)]
    if not columns:
        yield Fault(path, "a table without columns", "columns = [ { name = … }, … ]")
    named: list[tuple[Path, str]] = [((*place, "name"), column.name) for place, column in columns]
    yield from empty(named, "the name of a column")
    yield from repeated(named, "mapped twice: {}")
    unmapped: list[tuple[Path, str]] = [
        ((*path, key, number), name)
        for key, names in (("outside", table.outside), ("ignored", table.ignored))
        for number, name in enumerate(names)
        if name not in names[:number]
    ]
    yield from repeated([*named, *unmapped], "in two of columns, outside and ignored: {}")
    for number, name in enumerate(table.ignored):
        if pattern := next((each for each in table.outside if each != name and fnmatchcase(name, each)), ""):
            yield Fault((*path, "ignored", number), f"{name} matches {pattern} of outside, whose changes are published")
    for place, column in columns:
        if column.scale < 0:
            yield Fault((*place, "scale"), "not a number of decimals", "0 or more")
        yield from _default(place, column)
    if not table.key:
        yield Fault((*path, "key"), "empty", "the column with the user's id")


def _default(place: Path, column: Column) -> Iterator[Fault]:
    if column.kind is Kind.TEXT:
        return
    try:
        if column.default in (None, "", canonical(column.default, column.kind, column.scale)):
            return
    except InvalidValue:
        pass
    example = {Kind.MONEY: "0.00", Kind.TIME: "2024-01-15T10:30:00.000Z"}.get(column.kind, "text")
    yield Fault(
        (*place, "default"), f"not in the form of a value of kind {column.kind} in Redis", f"text such as {example}"
    )


def _consequences(rules: Rules) -> Iterator[Fault]:
    names = [(("consequences", index, "name"), each.name) for index, each in enumerate(rules.consequences)]
    yield from empty(names, "the name of the rule, which plans show")
    yield from repeated(names, "two rules of one name: {}")
    if rules.group_field in rules.financial:
        yield Fault(("group_field",), f"{rules.group_field} is in financial too", "a field that is not in financial")
    for index, each in enumerate(rules.consequences):
        if not each.fields:
            yield Fault(("consequences", index, "fields"), "empty: the rule would never apply")
    for name in ("profile", "outside"):
        if getattr(rules, name).fields:
            yield Fault((name, "fields"), f"{name} has no fields of its own", fix="remove it")


def _linked(rules: Rules) -> Iterator[Fault]:
    types = {table.user_type for table in rules.tables}
    for index, table in enumerate(rules.linked):
        path: Path = ("linked", index)
        if bool(table.user_type) == bool(table.user_type_column):
            yield Fault(
                path,
                "the user type of the rows must come from exactly one key",
                fix="give either user_type or user_type_column",
            )
        if table.user_type and table.user_type not in types:
            yield Fault((*path, "user_type"), f"no user table has the type {table.user_type}", _listed(types))
        if not table.done:
            yield Fault((*path, "done"), "empty: no row would count", 'a list such as ["completed"]')
        if table.user_type and table.other_types:
            yield Fault((*path, "other_types"), "without effect: every row has the type of user_type", fix="remove it")
        yield from _linked_columns(path, table)
        yield from _known_values(path, table, types)
        yield from _enriches(path, table)


def _linked_columns(path: Path, table: LinkedTable) -> Iterator[Fault]:
    names: list[tuple[Path, str]] = [((*path, key), getattr(table, key)) for key in ("key", "user_id", "status")]
    names += [((*path, "writes"), name) for name in table.writes]
    names += [((*path, "enriches", at), each.column) for at, each in enumerate(table.enriches)]
    yield from empty(names, "the name of a column")


def _enriches(path: Path, table: LinkedTable) -> Iterator[Fault]:
    fields: list[tuple[Path, str]] = [((*path, "enriches", at), each.field) for at, each in enumerate(table.enriches)]
    yield from empty(fields, "the name of a field of the message")
    yield from repeated(fields, "two columns for one field of the message: {}")
    for place, name in fields:
        if name in RESERVED_FIELDS:
            yield Fault(place, f"every message already has a field {name!r}")


def _known_values(path: Path, table: LinkedTable, types: Iterable[str]) -> Iterator[Fault]:
    for name in ("done", "not_done", "other_types"):
        values = sorted(getattr(table, name))
        yield from empty((((*path, name), value) for value in values), "a value without spaces at its ends")
    if both := sorted(table.done & table.not_done):
        yield Fault((*path, "not_done"), f"{both[0]} is in done too")
    if both := sorted(table.other_types.intersection(types)):
        yield Fault((*path, "other_types"), f"a user table has the type {both[0]}")


def _streams(rules: Rules) -> Iterator[Fault]:
    if rules.streams is None:
        return
    templates = (*(getattr(rules.names, name) for name in _STATE), *rules.derived())
    types = [table.user_type for table in rules.tables]
    for each in stream_faults(rules.streams, rules.channels(), templates, types):
        yield Fault(("streams", *each.path), each.problem, each.allowed)


def _user_types(rules: Rules) -> Iterator[Fault]:
    for index, table in enumerate(rules.tables):
        try:
            check_user_type(table.user_type)
        except ValueError as error:
            yield Fault(("tables", index, "user_type"), f"{table.user_type!r} would make keys ambiguous", str(error))


def _cleared(rules: Rules) -> Iterator[tuple[Path, str]]:
    clears = [(path, each.clears) for path, each in rules_with_paths(rules)]
    clears += [(("linked", index), each.clears) for index, each in enumerate(rules.linked)]
    for path, templates in clears:
        yield from (((*path, "clears", index), template) for index, template in enumerate(templates))


def _templates(rules: Rules) -> Iterator[Fault]:
    for name in _STATE:
        template = getattr(rules.names, name)
        yield from _template(("names", name), template)
        if template.endswith("*"):
            yield Fault(("names", name), "not one key", "a template without *")
    for path, template in _cleared(rules):
        yield from _template(path, template)
        if template.endswith("*") and not template.endswith("<type>:<id>:*"):
            # The index of wildcard keys relies on this form: it takes the user's prefix from a key's name.
            yield Fault(path, "a template with * must have this form", "name:<type>:<id>:*")
        elif template.startswith("<") and template.endswith("*"):
            yield Fault(path, "the template has no fixed beginning, so it would match every key", "name:<type>:<id>:*")


def _template(path: Path, template: str) -> Iterator[Fault]:
    try:
        check_template(template)
    except ValueError as error:
        yield Fault(path, f"{template!r}: {error}", "a template such as name:<type>:<id>")


def _shared_keys(rules: Rules) -> Iterator[Fault]:
    """Faults where two templates, or two users, give the same key."""
    types = {table.user_type for table in rules.tables}
    state = [(("names", name), getattr(rules.names, name)) for name in _STATE]
    derived = dict.fromkeys(rules.derived())
    first = {template: path for path, template in reversed(list(_cleared(rules)))}
    every: list[tuple[Path, str]] = [*state, *((first[template], template) for template in derived)]
    for (_, one), (path, other) in combinations_with_replacement(every, 2):
        if users := collision(one, other, types) or collision(other, one, types):
            yield Fault(path, f"{other} names the same key as {one}, for {users[0]} and {users[1]}")
    yield from repeated(state, "two keys of one template: {}")
    wildcards = [template for template in derived if template.endswith("*")]
    for wildcard in wildcards:
        for path, template in state:
            if covers(wildcard, template, types):
                yield Fault(first[wildcard], f"{wildcard} would clear {template} of names.{path[-1]}")
    state_templates = {template for _, template in state}
    for template in derived:
        if template in state_templates:
            yield Fault(first[template], f"{template} holds the user's state, and would be cleared")
    beginnings = sorted((wildcard.partition("<")[0], wildcard) for wildcard in wildcards)
    for (shorter, one), (longer, other) in pairwise(beginnings):
        if longer.startswith(shorter):
            yield Fault(first[other], f"{other} begins like {one}", "names with * whose beginnings differ")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
