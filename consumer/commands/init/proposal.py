"""What ``init`` proposes, as data. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from consumer.mapping.catalogue import Catalogue, CatalogueColumn, CatalogueTable
from consumer.mapping.rules import Column, LinkedTable, Rules, UserTable


class Use(StrEnum):
    """What happens with a column of a users table.

    KEY: the user's id. FIELD: it is a field in Redis. MASKED: only that it changed is published; a hash leaves the
    database. SECRET and IGNORED: it is not captured.
    """

    KEY = "key"
    FIELD = "field"
    MASKED = "masked"
    SECRET = "secret"  # noqa: S105  # no password
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class ColumnUse:
    """One column of a users table. ``mapped``: set for FIELD. ``because``: why, if the type alone does not say it."""

    column: CatalogueColumn
    use: Use
    mapped: Column | None = None
    because: str = ""


@dataclass(frozen=True, slots=True)
class Open:
    """Something necessary that could not be decided. ``fix``: what decides it, or what to do."""

    subject: str
    question: str
    fix: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that the operator should know and may change in the mapping."""

    subject: str
    decided: str
    because: str


@dataclass(frozen=True, slots=True)
class UsersProposal:
    """A table whose rows are users. ``because``: the evidence."""

    source: CatalogueTable
    table: UserTable
    columns: tuple[ColumnUse, ...]
    because: str

    @property
    def captured(self) -> tuple[str, ...]:
        """The columns that leave the database with their values."""
        return self.names(Use.KEY, Use.FIELD)

    def names(self, *uses: Use) -> tuple[str, ...]:
        """The columns with one of ``uses``."""
        return tuple(each.column.name for each in self.columns if each.use in uses)


@dataclass(frozen=True, slots=True)
class LinkedProposal:
    """A table whose rows belong to users. ``because``: the evidence.

    ``captured``: the columns that leave the database.
    """

    source: CatalogueTable
    table: LinkedTable
    captured: tuple[str, ...]
    because: tuple[str, ...]

    def owners(self, users: Sequence[UsersProposal]) -> list[UsersProposal]:
        """The tables that may have the users of its rows."""
        return [each for each in users if self.table.user_type in ("", each.table.user_type)]


@dataclass(frozen=True, slots=True)
class Proposal:
    """The whole proposal. ``rules``: the mapping. ``left_out``: tables that nobody named and that fit nowhere."""

    catalogue: Catalogue
    users: tuple[UsersProposal, ...]
    linked: tuple[LinkedProposal, ...]
    rules: Rules
    decisions: tuple[Decision, ...]
    left_out: tuple[Open, ...] = ()


@dataclass(frozen=True, slots=True)
class Undecided:
    """No proposal: ``open`` must be decided first. ``left_out``: as in :class:`Proposal`."""

    catalogue: Catalogue
    open: tuple[Open, ...]
    left_out: tuple[Open, ...] = ()
