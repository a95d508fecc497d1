"""Proposes a table whose rows are users: its key, and what happens with each column. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from consumer.commands.init.choices import UsersChoice
from consumer.commands.init.column_names import is_bookkeeping, is_personal, is_secret, singular, words_of
from consumer.commands.init.column_types import fits, is_maskable, is_whole, kind_of, why_unreadable
from consumer.commands.init.proposal import ColumnUse, Open, Use, UsersProposal
from consumer.commands.init.roles import OWNERS, user_key
from consumer.events.value import Kind
from consumer.mapping.catalogue import CatalogueColumn, CatalogueTable
from consumer.mapping.reference import reference
from consumer.mapping.rules import WRITTEN_FIELDS, Column, UserTable

_SHORT = 8
_OF_PROGRAM = WRITTEN_FIELDS | {stamp for each in reference().consequences for stamp in each.stamps}


def propose_users(
    table: CatalogueTable, choice: UsersChoice | None, known: UserTable | None, because: str
) -> UsersProposal | Open:
    """The proposal, without the balance. ``known``: the table in the reference mapping, whose columns are taken."""
    key = user_key(table, choice, known)
    found = table.column(key)
    if found is None or not is_whole(found):
        problem = "its primary key is not one column with whole numbers" if not key else f"{key} is not a whole number"
        if found is None and key:
            problem = f"it has no column {key}"
        fix = f"--users {table.name}=TYPE:COLUMN, with a unique column of a whole number; without one it can't be used"
        return Open(table.name, f"{problem}, which the user's id must be", fix)
    uses = tuple(ColumnUse(found, Use.KEY) if each is found else column_use(each, known) for each in table.columns)
    user_type = choice.user_type if choice else (known.user_type if known else type_of(table.name))
    return UsersProposal(table, _user_table(table.name, user_type, key, uses, known), uses, because)


def column_use(column: CatalogueColumn, known: UserTable | None = None) -> ColumnUse:
    """What happens with a column that is not the key."""
    if known is not None and (use := _of_reference(column, known)) is not None:
        return use
    kind = kind_of(column)
    if is_secret(column):
        return ColumnUse(column, Use.SECRET, because="a secret, by its name")
    if is_bookkeeping(column):
        return ColumnUse(column, Use.IGNORED, because="bookkeeping, by its name")
    if is_personal(column):
        return _masked(column, "personal, by its name")
    if kind is None:
        return ColumnUse(column, Use.IGNORED, because=why_unreadable(column))
    if column.name in _OF_PROGRAM:
        return ColumnUse(column, Use.IGNORED, because="the program writes this field itself; map it to another field")
    return ColumnUse(column, Use.FIELD, _column(column, kind))


def with_balance(users: UsersProposal, balance: str, field: str) -> UsersProposal:
    """``users`` with the column ``balance`` as the balance, in the field ``field``."""

    def of(use: ColumnUse) -> ColumnUse:
        if use.column.name != balance:
            return use
        mapped = _column(use.column, Kind.MONEY) if use.mapped is None else use.mapped
        column = replace(mapped, kind=Kind.MONEY, required=True, field=field)
        return ColumnUse(use.column, Use.FIELD, column, use.because)

    uses = tuple(of(each) for each in users.columns)
    columns = tuple(each.mapped for each in uses if each.mapped is not None)
    ignored = tuple(name for name in users.table.ignored if name != balance)
    return replace(users, columns=uses, table=replace(users.table, columns=columns, ignored=ignored))


def type_of(table: str) -> str:
    """The user type by the table's name: ``live_users`` → ``live``, ``customers`` → ``customer``."""
    words = words_of(singular(table))
    words = words[:-1] if len(words) > 1 and words[-1] in OWNERS else words
    name = "_".join(words)
    return name if name[:1].isalpha() else f"t_{name}"


def _of_reference(column: CatalogueColumn, known: UserTable) -> ColumnUse | None:
    """As the reference mapping has it; None if it does not name the column, or the type is another one."""
    mapped = next((each for each in known.columns if each.name == column.name), None)
    if mapped is not None and fits(mapped.kind, column):
        return ColumnUse(column, Use.FIELD, _with_scale(mapped, column))
    if known.is_outside(column.name) and not is_secret(column):
        return _masked(column, "personal, as in the reference mapping")
    if any(fnmatchcase(column.name, pattern) for pattern in known.ignored):
        use = Use.SECRET if is_secret(column) else Use.IGNORED
        reason = "a secret, as in the reference mapping" if use is Use.SECRET else "as in the reference mapping"
        return ColumnUse(column, use, because=reason)
    return None


def _masked(column: CatalogueColumn, because: str) -> ColumnUse:
    if not column.is_sent:
        return ColumnUse(column, Use.IGNORED, because=f"{because}; {why_unreadable(column)}")
    if not is_maskable(column):
        return ColumnUse(column, Use.IGNORED, because=f"{because}; only text can be masked")
    if column.length is not None and column.length < _SHORT:
        because += f"; its hash has only {column.length} characters, so a change may look like none"
    return ColumnUse(column, Use.MASKED, because=because)


def _column(column: CatalogueColumn, kind: Kind) -> Column:
    return _with_scale(Column(column.name, kind), column)


def _with_scale(mapped: Column, column: CatalogueColumn) -> Column:
    if mapped.kind is not Kind.MONEY or column.scale is None:
        return mapped
    return replace(mapped, scale=column.scale)


def _user_table(name: str, user_type: str, key: str, uses: Sequence[ColumnUse], known: UserTable | None) -> UserTable:
    columns = tuple(use.mapped for use in uses if use.mapped is not None)
    outside = known.outside if known else ()
    ignored = known.ignored if known else ()
    outside += tuple(use.column.name for use in uses if use.use is Use.MASKED and not _named(use, outside))
    dropped = [use for use in uses if use.use in (Use.SECRET, Use.IGNORED)]
    ignored += tuple(use.column.name for use in dropped if not _named(use, (*outside, *ignored)))
    constants = {
        field: value for field, value in (known.constants if known else {}).items() if not _has(field, columns)
    }
    # In the order of the reference, so that the same table gives the same mapping.
    order = [each.name for each in known.columns] if known else []
    columns = tuple(sorted(columns, key=lambda each: order.index(each.name) if each.name in order else len(order)))
    return UserTable(name, user_type, columns, key, constants, outside, ignored)


def _named(use: ColumnUse, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(use.column.name, pattern) for pattern in patterns)


def _has(field: str, columns: Sequence[Column]) -> bool:
    return any(each.field == field for each in columns)
