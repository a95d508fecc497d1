"""From a catalogue to a proposal, or to the questions that must be answered first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from consumer.commands.init.choices import Choices
from consumer.commands.init.linked import propose_linked
from consumer.commands.init.proposal import (
    Decision,
    LinkedProposal,
    Open,
    Proposal,
    Undecided,
    UsersProposal,
)
from consumer.commands.init.roles import BY_OPTION, NO_EVIDENCE, Roles, roles_of
from consumer.commands.init.rules import balance_of, group_of, is_of_reference, rules_of
from consumer.commands.init.users import propose_users, with_balance
from consumer.mapping.catalogue import Catalogue
from consumer.mapping.rules import LinkedTable, Rules, UserTable

_Proposed = TypeVar("_Proposed", UsersProposal, LinkedProposal)


def propose(catalogue: Catalogue, choices: Choices, reference: Rules) -> Proposal | Undecided:
    """The proposal for the named tables, or for all tables whose use is evident.

    Raises:
        ConfigError: an option names a table or column that does not exist.
    """
    roles = roles_of(catalogue, choices, reference)
    opened, left_out = list(roles.open), list(roles.left_out)
    users = _users(catalogue, roles, choices, reference, opened, left_out)
    balanced, field = _balanced(users, choices, reference, opened, left_out)
    linked = _linked(catalogue, roles, choices, [each for each, _ in balanced], reference, opened, left_out)
    if not balanced and not opened:
        # Without a table of users there is nothing to propose, so the likeliest tables must be decided.
        opened = [each for each in left_out if each.question != NO_EVIDENCE] or left_out
        opened = opened or [_no_table(catalogue)]
    if opened:
        return Undecided(catalogue, tuple(opened), tuple(each for each in left_out if each not in opened))
    tables = [each for each, _ in balanced]
    group, why_group = group_of(tables, choices, reference)
    decisions = [
        *_keys(tables, choices),
        *_balances(balanced, field),
        *_partitions(tables, linked),
        Decision("group", group or "none", why_group),
        _origin(tables, reference),
    ]
    rules = rules_of(tables, linked, field, group, reference)
    return Proposal(catalogue, tuple(tables), tuple(linked), rules, tuple(decisions), tuple(left_out))


def _no_table(catalogue: Catalogue) -> Open:
    question = f"there is none in {catalogue.place}, or the account may not see it"
    return Open("tables", question, "grant SELECT to the account")


def _users(
    catalogue: Catalogue,
    roles: Roles,
    choices: Choices,
    reference: Rules,
    opened: list[Open],
    left_out: list[Open],
) -> list[UsersProposal]:
    found = []
    for table in catalogue.tables:
        if table.name not in roles.users:
            continue
        known = reference.table(table.name)
        proposed = propose_users(table, choices.users.get(table.name), known, roles.users[table.name])
        if isinstance(proposed, UsersProposal):
            found.append(proposed)
        else:
            _put([proposed], choices, opened, left_out)
    types = [each.table.user_type for each in found]
    for each in found:
        if types.count(each.table.user_type) > 1:
            name = each.table.table
            question = f"another table has users of the type {each.table.user_type} too"
            opened.append(Open(name, question, f"--users {name}=TYPE, with a type of its own"))
    return _ordered(found, reference.tables)


def _balanced(
    users: Sequence[UsersProposal],
    choices: Choices,
    reference: Rules,
    opened: list[Open],
    left_out: list[Open],
) -> tuple[list[tuple[UsersProposal, str]], str]:
    """The tables with their balance column and the evidence; and the one field in which all have it."""
    found = []
    field = ""
    for each in users:
        balance = balance_of(each, choices, reference)
        if isinstance(balance, Open):
            _put([balance], choices, opened, left_out)
            continue
        name, because = balance
        field = field or name
        found.append((with_balance(each, name, field), because if name == field else f"{because}, in {name}"))
    return found, field


def _linked(
    catalogue: Catalogue,
    roles: Roles,
    choices: Choices,
    users: Sequence[UsersProposal],
    reference: Rules,
    opened: list[Open],
    left_out: list[Open],
) -> list[LinkedProposal]:
    found = []
    for table in catalogue.tables:
        if table.name not in roles.linked or not users:
            continue
        known = reference.linked_table(table.name)
        proposed = propose_linked(table, choices, users, known, roles.linked[table.name])
        if isinstance(proposed, LinkedProposal):
            found.append(proposed)
        else:
            _put(proposed, choices, opened, left_out)
    return _ordered(found, reference.linked)


def _ordered(found: Sequence[_Proposed], known: Sequence[UserTable | LinkedTable]) -> list[_Proposed]:
    """In the order of the reference, so that the same tables give the same mapping. Other tables follow."""
    order = [each.table for each in known]
    return sorted(found, key=lambda each: order.index(each.table.table) if each.table.table in order else len(order))


def _put(questions: Sequence[Open], choices: Choices, opened: list[Open], left_out: list[Open]) -> None:
    """A table that was named must be decided; another one is left out."""
    for each in questions:
        (opened if each.subject in choices.named() else left_out).append(each)


def _keys(users: Sequence[UsersProposal], choices: Choices) -> Iterator[Decision]:
    """The keys that an option names and that the catalogue does not show to be unique."""
    for each in users:
        key, source = each.table.key, each.source
        choice = choices.users.get(source.name)
        if choice is None or not choice.key or source.primary_key == (key,) or key in source.unique:
            continue
        why = "no unique key shows that a value has only one row; if it has two, the last change wins"
        yield Decision("key", f"{key} in {source.name}", f"{BY_OPTION}; {why}")


def _balances(balanced: Sequence[tuple[UsersProposal, str]], field: str) -> Iterator[Decision]:
    """One decision for all tables with the same evidence."""
    for because in dict.fromkeys(why for _, why in balanced):
        tables = ", ".join(each.table.table for each, why in balanced if why == because)
        yield Decision("balance", f"{field} in {tables}", because)


def _partitions(users: Sequence[UsersProposal], linked: Sequence[LinkedProposal]) -> Iterator[Decision]:
    """The linked tables whose rows can't all have the key of their users, because these keys have several names."""
    for each in linked:
        first, *others = each.owners(users)
        for other in others:
            if other.table.key == first.table.key:
                continue
            decided = f"a row of {each.table.table} may be in another partition than its user in {other.table.table}"
            keys = f"{first.table.key} and {other.table.key}"
            because = f"the records' keys are {keys}; only equal keys are in equal partitions"
            yield Decision("partitions", decided, because)


def _origin(users: Sequence[UsersProposal], reference: Rules) -> Decision:
    if is_of_reference(users, reference):
        return Decision("rules", "those of the reference mapping, with its derived keys", "it has these tables")
    because = "a catalogue does not show which keys other services compute; add them under clears"
    return Decision("rules", "those of the reference mapping, without derived keys to clear", because)
