"""Which column is the balance, which one the group, and what follows from a change. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consumer.commands.init.choices import Choices
from consumer.commands.init.column_names import words_of
from consumer.commands.init.column_types import Family, family_of, why_unreadable
from consumer.commands.init.proposal import LinkedProposal, Open, UsersProposal
from consumer.commands.init.roles import BY_OPTION
from consumer.errors import ConfigError
from consumer.events.value import Kind
from consumer.mapping.catalogue import CatalogueTable
from consumer.mapping.rules import Consequence, Rules

NO_GROUP = "none"
_GROUPS = ("group", "tier", "level", "plan", "segment")


def balance_of(users: UsersProposal, choices: Choices, reference: Rules) -> tuple[str, str] | Open:
    """The column with the balance, and why.

    Raises:
        ConfigError: ``--balance`` names a column that the table does not have, or that is no number.
    """
    table = users.source
    if chosen := choices.balance.get(table.name) or choices.balance.get(""):
        return _chosen(table, chosen, users.table.key)
    money = [each.mapped.name for each in users.columns if each.mapped and each.mapped.kind is Kind.MONEY]
    if reference.balance_field in money:
        return reference.balance_field, "its name, as in the reference mapping"
    named = [name for name in money if "balance" in words_of(name)]
    if len(named) == 1:
        return named[0], "its name"
    if len(money) == 1:
        return money[0], "it is the only decimal column"
    fix = f"--balance {table.name}.COLUMN"
    if not money:
        floats = [each.name for each in table.columns if family_of(each) is Family.FLOAT]
        advice = f"make {floats[0]} DECIMAL in the database" if floats else fix
        return Open(table.name, "no decimal column could be the balance", f"{advice}, or leave the table out")
    return Open(table.name, f"which column is the balance: {', '.join(named or money)}?", fix)


def group_of(users: Sequence[UsersProposal], choices: Choices, reference: Rules) -> tuple[str, str]:
    """The field whose change is a change of group, and why; "" if there is none.

    Raises:
        ConfigError: ``--group`` names a column that has no field.
    """
    fields = {each.field: each.kind for one in users for each in one.table.columns if each.kind is not Kind.MONEY}
    if choices.group == NO_GROUP:
        return "", BY_OPTION
    if choices.group:
        if choices.group not in fields:
            raise ConfigError("--group", f"no field {choices.group}", allowed=", ".join([*sorted(fields), NO_GROUP]))
        return choices.group, BY_OPTION
    for name in (reference.group_field, *_GROUPS):
        found = [each for each in fields if each == name] or [each for each in fields if words_of(each)[-1] == name]
        if len(found) == 1:
            return found[0], "its name"
    return "", "no column has a name like group or tier"


def rules_of(
    users: Sequence[UsersProposal], linked: Sequence[LinkedProposal], balance: str, group: str, reference: Rules
) -> Rules:
    """The whole mapping. ``balance``, ``group``: the fields.

    The rules are those of the reference mapping, for the fields that exist here. Its derived keys are cleared only if a
    table of users is one of the reference: which keys other services compute is not in a catalogue.
    """
    tables = tuple(each.table for each in users)
    fields = {column.field: column.kind for table in tables for column in table.columns}
    known = {column.field for table in reference.tables for column in table.columns}
    is_known = is_of_reference(users, reference)
    new_money = {name for name, kind in fields.items() if kind is Kind.MONEY and not (is_known and name in known)}
    replaced = {reference.balance_field: balance, reference.group_field: group}

    def present(names: frozenset[str]) -> frozenset[str]:
        return frozenset(name for each in names if (name := replaced.get(each, each)) in fields)

    financial = present(reference.financial) | new_money | {balance}
    consequences = [
        replace(each, fields=financial if each.fields == reference.financial else present(each.fields))
        for each in reference.consequences
    ]
    kept = [each if is_known else replace(each, clears=()) for each in consequences if each.fields]
    return replace(
        reference,
        tables=tables,
        linked=tuple(each.table for each in linked),
        consequences=tuple(each for each in kept if _has_effect(each)),
        profile=reference.profile if is_known else replace(reference.profile, clears=()),
        outside=reference.outside if is_known else replace(reference.outside, clears=()),
        financial=financial,
        balance_field=balance,
        group_field=group,
    )


def is_of_reference(users: Sequence[UsersProposal], reference: Rules) -> bool:
    """Whether a table of users is one of the reference mapping."""
    return any(each.table.table == known.table for each in users for known in reference.tables)


def _has_effect(each: Consequence) -> bool:
    return bool(each.stamps or each.portfolio or each.clears or each.channels)


def _chosen(table: CatalogueTable, name: str, key: str) -> tuple[str, str]:
    column, numbers = table.column(name), [each for each in _numbers(table) if each != key]
    if column is None:
        raise ConfigError("--balance", f"{table.name} has no column {name}", allowed=", ".join(numbers))
    if name not in numbers:
        problem = f"{table.name}.{name} " + ("is the user's id" if name == key else f"has the type {column.type}")
        problem += "" if column.is_sent else f": {why_unreadable(column)}"
        raise ConfigError("--balance", problem, allowed=", ".join(numbers) or "a DECIMAL column")
    return name, BY_OPTION


def _numbers(table: CatalogueTable) -> list[str]:
    return [each.name for each in table.columns if family_of(each) in (Family.DECIMAL, Family.INTEGER) and each.is_sent]
