"""Which tables hold users, and which hold rows that belong to users. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.commands.init.choices import Choices, UsersChoice
from consumer.commands.init.column_names import singular, words_of
from consumer.commands.init.column_types import Family, family_of, is_whole
from consumer.commands.init.proposal import Open
from consumer.errors import ConfigError
from consumer.mapping.catalogue import Catalogue, CatalogueTable
from consumer.mapping.rules import Rules, UserTable

BY_REFERENCE = "the reference mapping has this table"
NO_EVIDENCE = "does it hold users, or rows that belong to users?"
BY_OPTION = "given with an option"
OWNERS = ("user", "account", "customer", "client", "member", "trader", "player")
"""The words for a user in the names of tables and columns."""
_MOST_NAMES = 12


@dataclass
class Roles:
    """The evidence by table. ``open``: tables that were named and fit nowhere. ``left_out``: tables not named."""

    users: dict[str, str] = field(default_factory=dict)
    linked: dict[str, str] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)
    left_out: list[Open] = field(default_factory=list)


def roles_of(catalogue: Catalogue, choices: Choices, reference: Rules) -> Roles:
    """The role of each table.

    Raises:
        ConfigError: an option names a table that the catalogue does not have.
    """
    _check(catalogue, choices)
    names = choices.named() if choices.tables else [table.name for table in catalogue.tables]
    tables = [table for table in catalogue.tables if table.name in names]
    found, rest = Roles(), []
    for table in tables:
        if table.name in choices.users:
            found.users[table.name] = BY_OPTION
        elif table.name in choices.linked:
            found.linked[table.name] = BY_OPTION
        elif _is_of_reference(table, reference):
            found.users[table.name] = BY_REFERENCE
        elif reference.linked_table(table.name) is not None:
            found.linked[table.name] = BY_REFERENCE
        else:
            rest.append(table)
    keys = {
        table.name: user_key(table, choices.users.get(table.name), reference.table(table.name))
        for table in tables
        if table.name in found.users or (table in rest and _looks_like_users(table))
    }
    for table in rest:
        others = {name: key for name, key in keys.items() if name != table.name}
        _sort(table, others, found, is_named=table.name in choices.named())
    return found


def user_key(table: CatalogueTable, choice: UsersChoice | None, known: UserTable | None) -> str:
    """The column with the user's id in a table of users; "" if there is none. ``known``: the reference mapping's."""
    return (choice.key if choice else "") or (known.key if known else "") or whole_key(table)


def misleading(table: CatalogueTable, users: Mapping[str, str]) -> Mapping[str, str]:
    """The columns whose foreign key names another column than the users' key, each with this as a sentence.

    Such a column holds no user's id. ``users``: the key column by users table, "" if it is not known.
    """
    return {
        column: f"its foreign key {column} names {target}, but the users' key is {key}"
        for column, target in table.references.items()
        if (key := users.get(target.table)) and key != target.column
    }


def owner_column(table: CatalogueTable, users: Mapping[str, str]) -> tuple[str, str]:
    """The column with the user's id, and why; "" if there is none. ``users``: as in :func:`misleading`."""
    others = misleading(table, users)
    for column, target in table.references.items():
        if target.table in users and column not in others:
            return column, f"its foreign key {column} names {target.table}"
    singulars = {f"{singular(each)}_id" for each in users}
    singulars |= {f"{words_of(singular(each))[-1]}_id" for each in users}
    likely = ["user_id", *sorted(singulars), *(f"{owner}_id" for owner in OWNERS)]
    by_name = {"_".join(words_of(each.name)): each for each in table.columns if is_whole(each)}
    for name in likely:
        if name in by_name and by_name[name].name not in (*table.primary_key, *others):
            return by_name[name].name, f"its column {by_name[name].name}"
    return "", ""


def whole_key(table: CatalogueTable) -> str:
    """The primary key, if it is one column with whole numbers; else ""."""
    column = table.column(table.primary_key[0]) if len(table.primary_key) == 1 else None
    return column.name if column is not None and is_whole(column) else ""


def _sort(table: CatalogueTable, users: Mapping[str, str], found: Roles, *, is_named: bool) -> None:
    """``users``: the key column by other table that holds users or looks so."""
    column, evidence = owner_column(table, users)
    others = [*misleading(table, users).values()]
    if _looks_like_users(table) and not column and not others:
        found.users[table.name] = f"its name, its key {whole_key(table)}, and a decimal column"
    elif column and not _looks_like_users(table):
        found.linked[table.name] = evidence
    else:
        question = NO_EVIDENCE
        if column:
            question = f"its name and its money say users, {evidence} says rows that belong to users"
        elif others:
            question = others[0]
        elif _has_owners_name(table):
            question = "its name says users, but it lacks " + (
                "a decimal column for the balance" if whole_key(table) else "a key of one column with whole numbers"
            )
        of_type = "TYPE" if whole_key(table) else "TYPE:COLUMN"
        fix = f"--users {table.name}={of_type}, or --linked {table.name}=COLUMN, or leave it out of --tables"
        (found.open if is_named else found.left_out).append(Open(table.name, question, fix))


def _looks_like_users(table: CatalogueTable) -> bool:
    has_money = any(family_of(each) is Family.DECIMAL for each in table.columns)
    return _has_owners_name(table) and has_money and bool(whole_key(table))


def _has_owners_name(table: CatalogueTable) -> bool:
    return words_of(singular(table.name))[-1] in OWNERS


def _is_of_reference(table: CatalogueTable, reference: Rules) -> bool:
    known = reference.table(table.name)
    if known is None:
        return False
    needed = {known.key, *(each.name for each in known.columns if each.field == reference.balance_field)}
    return all(table.column(name) is not None for name in needed)


def _check(catalogue: Catalogue, choices: Choices) -> None:
    present = [table.name for table in catalogue.tables]
    for name in choices.named():
        if name not in present:
            shown = ", ".join(present[:_MOST_NAMES]) + (", …" if len(present) > _MOST_NAMES else "")
            problem = f"there is no table {name} in {catalogue.place}, or the account may not see it"
            raise ConfigError("--tables", problem, allowed=shown or "no table: grant SELECT to the account")
