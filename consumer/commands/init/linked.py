"""Proposes a table whose rows belong to users: whose they are, when they count, and what they add to messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from consumer.commands.init.choices import Choices, DoneChoice, LinkedChoice
from consumer.commands.init.column_names import is_personal, is_secret, words_of
from consumer.commands.init.column_types import Family, family_of, is_text, is_whole
from consumer.commands.init.proposal import LinkedProposal, Open, UsersProposal
from consumer.commands.init.roles import misleading, owner_column
from consumer.events.value import Kind
from consumer.mapping.catalogue import CatalogueColumn, CatalogueTable
from consumer.mapping.rules import RESERVED_FIELDS, Enrichment, LinkedTable

_DONE = frozenset(
    {"completed", "complete", "done", "approved", "booked", "settled", "success", "successful", "succeeded", "paid"}
    | {"executed", "processed", "confirmed", "posted", "finished", "accepted", "captured"}
)
_STATES = ("status", "state")
_TYPES = ("user_type", "account_type", "customer_type", "client_type", "owner_type")
_AMOUNTS = ("amount", "value", "sum", "total")
_NUMBERS = {"no", "number", "ref", "reference", "code", "id", "uuid"}


@dataclass(frozen=True, slots=True)
class _Found:
    """A column, and the evidence for it."""

    name: str
    because: str


@dataclass(frozen=True, slots=True)
class _Status:
    """The column that says whether a row counts, its values, and the evidence."""

    column: str
    done: frozenset[str]
    not_done: frozenset[str]
    because: str


def propose_linked(
    table: CatalogueTable,
    choices: Choices,
    users: Sequence[UsersProposal],
    known: LinkedTable | None,
    because: str,
) -> LinkedProposal | list[Open]:
    """The proposal, or everything that must be decided. ``known``: the table in the reference mapping."""
    choice, done = choices.linked.get(table.name), choices.done.get(table.name)
    owner = _owner(table, choice, users, known)
    key = _key(table, known)
    status = _status(table, done, known)
    whose = _whose(table, choice, users, known, owner)
    opened = [each for each in (owner, key, status, whose) if isinstance(each, Open)]
    if isinstance(owner, Open) or isinstance(key, Open) or isinstance(status, Open) or isinstance(whose, Open):
        return opened
    proposed = replace(
        whose[0],
        key=key.name,
        user_id=owner.name,
        status=status.column,
        done=status.done,
        not_done=status.not_done,
    )
    proposed = _with_details(proposed, table, known)
    evidence = tuple(dict.fromkeys(each for each in (because, owner.because, whose[1], status.because) if each))
    return LinkedProposal(table, proposed, _captured(proposed), evidence)


def _owner(
    table: CatalogueTable, choice: LinkedChoice | None, users: Sequence[UsersProposal], known: LinkedTable | None
) -> _Found | Open:
    keys = {each.table.table: each.table.key for each in users}
    if choice is not None:
        name, because = choice.user_id, ""
    elif known is not None and table.column(known.user_id) is not None:
        name, because = known.user_id, ""
    else:
        name, because = owner_column(table, keys)
    column, others = table.column(name), misleading(table, keys)
    if column is None or not is_whole(column) or name in others:
        problem = f"{name} is no column with whole numbers" if name else "which column has the user's id?"
        problem = others.get(name, problem)
        return Open(table.name, problem, f"--linked {table.name}=COLUMN, or leave it out")
    return _Found(name, because)


def _key(table: CatalogueTable, known: LinkedTable | None) -> _Found | Open:
    names = [known.key] if known is not None else []
    names += table.primary_key if len(table.primary_key) == 1 else []
    names += sorted(table.unique)
    found = next((name for name in names if table.column(name) is not None), "")
    return _Found(found, "") if found else Open(table.name, "no single column identifies a row", "leave it out")


def _whose(
    table: CatalogueTable,
    choice: LinkedChoice | None,
    users: Sequence[UsersProposal],
    known: LinkedTable | None,
    owner: _Found | Open,
) -> tuple[LinkedTable, str] | Open:
    """The table with the type of its users, and the evidence."""
    types = {each.table.table: each.table.user_type for each in users}
    empty = LinkedTable(table.name, frozenset())
    if choice is not None and choice.user_type:
        if choice.user_type in types.values():
            return replace(empty, user_type=choice.user_type), ""
        fix = f"--linked {table.name}=COLUMN:TYPE with one of {', '.join(types.values())}"
        return Open(table.name, f"no table has users of the type {choice.user_type}", fix)
    if (by_column := _type_column(table, known, types)) is not None:
        return by_column, f"the user's type is in {by_column.user_type_column}"
    target = table.references.get(owner.name) if isinstance(owner, _Found) else None
    if target is not None and target.table in types:
        return replace(empty, user_type=types[target.table]), f"all its users are {types[target.table]}"
    if known is not None and known.user_type in types.values():
        return replace(empty, user_type=known.user_type), f"all its users are {known.user_type}"
    if len(types) == 1:
        (only,) = types.values()
        return replace(empty, user_type=only), "there is one table of users"
    column = owner.name if isinstance(owner, _Found) else "COLUMN"
    fix = f"--linked {table.name}={column}:TYPE, with one of {', '.join(types.values())}"
    return Open(table.name, "of which type are its users?", fix)


def _type_column(table: CatalogueTable, known: LinkedTable | None, types: Mapping[str, str]) -> LinkedTable | None:
    names = [known.user_type_column] if known is not None and known.user_type_column else []
    for name in (*names, *_TYPES):
        column = table.column(name)
        if column is None or not is_text(column):
            continue
        if not column.values or set(column.values) & set(types.values()):
            others = frozenset(column.values) - frozenset(types.values())
            return LinkedTable(table.name, frozenset(), user_type_column=name, other_types=others)
    return None


def _status(table: CatalogueTable, choice: DoneChoice | None, known: LinkedTable | None) -> _Status | Open:
    """The column and its values, and the evidence."""
    column = _status_column(table, choice, known)
    fix = f"--done {table.name}.COLUMN=VALUE,…"
    if column is None:
        return Open(table.name, "no text column says when a row counts", f"{fix}, or leave it out")
    fix = fix.replace("COLUMN", column.name)
    if choice is not None:
        done = frozenset(choice.values)
        if column.values and (strange := sorted(done - set(column.values))):
            return Open(table.name, f"{column.name} never is {strange[0]}", f"{fix} with some of {_listed(column)}")
    elif known is not None and known.status == column.name and not column.values:
        return _Status(column.name, known.done, known.not_done, "")
    elif known is not None and known.done <= set(column.values):
        done = known.done
    elif not column.values:
        return Open(table.name, f"with which values of {column.name} does a row count?", fix)
    else:
        done = frozenset(value for value in column.values if value.lower() in _DONE)
        if not done:
            question = f"with which values of {column.name} does a row count: {_listed(column)}?"
            return Open(table.name, question, fix)
    evidence = f"{column.name} {' or '.join(sorted(done))} means that it counts" if choice is None else ""
    return _Status(column.name, done, frozenset(column.values) - done, evidence)


def _status_column(
    table: CatalogueTable, choice: DoneChoice | None, known: LinkedTable | None
) -> CatalogueColumn | None:
    if choice is not None and choice.column:
        names = [choice.column]
    else:
        names = [known.status] if known is not None else []
        names += [*_STATES, *(each.name for each in table.columns if words_of(each.name)[-1] in _STATES)]
    found = (table.column(name) for name in names)
    return next((each for each in found if each is not None and is_text(each)), None)


def _with_details(proposed: LinkedTable, table: CatalogueTable, known: LinkedTable | None) -> LinkedTable:
    """``proposed`` with what it writes, clears and adds to messages."""
    if known is None:
        return replace(proposed, enriches=_enrichments(table, proposed))
    return replace(
        proposed,
        writes={column: field for column, field in known.writes.items() if table.column(column) is not None},
        time_field=known.time_field,
        clears=known.clears,
        enriches=tuple(each for each in known.enriches if table.column(each.column) is not None),
    )


def _enrichments(table: CatalogueTable, proposed: LinkedTable) -> tuple[Enrichment, ...]:
    """What subscribers need to find the row: its number, its type and its amount."""
    used = {proposed.key, proposed.user_id, proposed.user_type_column, proposed.status}
    found: dict[str, Enrichment] = {}
    for column in table.columns:
        if column.name in used or not column.is_sent or is_secret(column) or is_personal(column):
            continue
        field = f"{table.name}_{column.name}" if column.name in RESERVED_FIELDS else column.name
        if is_text(column) and column.name in table.unique and words_of(column.name)[-1] in _NUMBERS:
            found[field] = Enrichment(column.name, field)
        elif is_text(column) and column.name in ("type", "kind"):
            found["transaction_type"] = Enrichment(column.name, "transaction_type")
        elif family_of(column) is Family.DECIMAL and column.name in _AMOUNTS:
            scale = 6 if column.scale is None else column.scale
            found[field] = Enrichment(column.name, field, Kind.MONEY, scale)
    return tuple(found.values())


def _captured(table: LinkedTable) -> tuple[str, ...]:
    needed = (table.key, table.user_id, table.user_type_column, table.status)
    more = (*table.writes, *(each.column for each in table.enriches))
    return tuple(dict.fromkeys(name for name in (*needed, *more) if name))


def _listed(column: CatalogueColumn) -> str:
    return ", ".join(column.values)
