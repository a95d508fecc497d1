"""Every error this program raises on purpose.

    CdcError
    ├── ConfigError          a setting is wrong: exit 2, names the field
    ├── ServerError          a server refused, or is not what it should be
    │   ├── ServerUnavailable    it may come back: retry
    │   │   └── UnknownReply         an error reply to one plan that nobody knows: retry so often, then as Refused
    │   ├── AccessDenied         the database refuses the account, or lacks a grant for it
    │   ├── NotInDatabase        the database has no such table or column
    │   ├── Reconnected          it was away and is back: begin again where it says it is
    │   ├── Emptied              it lacks what it had acknowledged: nothing may be applied until it has it again
    │   └── Refused              it will never accept this one plan or record: dead letter
    ├── RecordError          one Kafka record can't be understood
    │   ├── Undecodable          the bytes are neither JSON nor a known wire format
    │   ├── NotAnEnvelope        decoded, but no Debezium change event
    │   ├── UnknownTable         a change event of a table that no rule names
    │   ├── MissingColumn        a required column is not in the row image
    │   ├── InvalidValue         a column's value is not of the column's kind
    │   └── Unsupported          understood, but nothing can follow from it (truncate)
    └── Halt                 the program must stop; nothing past the cause was committed

No error carries a row value: what a person needs is where the record lies and which field is
wrong, and that is in ``place``, ``field`` and ``problem``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Self

import msgspec

_PLACE = re.compile(r"([a-zA-Z0-9._-]+)\[([0-9]{1,10})\]@([0-9]{1,19})")


class CdcError(Exception):
    """Base of this program's errors. ``advice`` tells an operator what to do next, or is empty."""

    advice: str = ""


@dataclass(eq=False)
class ConfigError(CdcError):
    """A setting, option or argument that can't be used.

    ``allowed`` are the values that can be, or their form; ``fix`` says what to do where that is no matter of a value.
    """

    field: str
    problem: str
    allowed: str = dataclass_field(default="", kw_only=True)
    fix: str = dataclass_field(default="", kw_only=True)

    def __str__(self) -> str:
        cure = [f"{name}: {text}" for name, text in (("allowed", self.allowed), ("fix", self.fix)) if text]
        return f"{self.field}: {self.problem}" + (f" ({'; '.join(cure)})" if cure else "")


@dataclass(eq=False)
class ServerError(CdcError):
    """A server answered, but refused or is not usable; trying again changes nothing.

    ``cause`` is the kind of failure in a word, as the table in ``policy.py`` has it, or empty.
    """

    server: str
    problem: str
    advice: str = ""
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.server}: {self.problem}"


@dataclass(eq=False)
class ServerUnavailable(ServerError):
    """A server that can't serve now and may again: wait and retry."""


@dataclass(eq=False)
class UnknownReply(ServerUnavailable):
    """An error reply that is neither known to pass nor known to last. If it does not pass, the one plan is refused."""


@dataclass(eq=False)
class AccessDenied(ServerError):
    """A server refuses this account, or this account what was asked; ``advice`` names the grant."""


@dataclass(eq=False)
class NotInDatabase(ServerError):
    """A table or column that the mapping names and the database does not have."""


@dataclass(eq=False)
class Reconnected(ServerError):
    """A server was away and is back, perhaps without what it acknowledged last."""


@dataclass(eq=False)
class Emptied(ServerError):
    """A server that has less than it acknowledged, however that came about."""


@dataclass(eq=False)
class Refused(ServerError):
    """A server refused this one thing and always will, and would accept another: a dead letter."""


class Place(msgspec.Struct, frozen=True):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of ``str()``. Raises ValueError, saying what is expected."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError("should look like trading.trading.live_users[0]@41")
        return cls(found[1], int(found[2]), int(found[3]))


@dataclass(eq=False)
class RecordError(CdcError):
    """A record that can't be turned into a plan.

    ``field`` is the column or envelope field at fault, or empty. ``place`` is filled in by whoever
    knows where the record came from.
    """

    problem: str
    field: str = ""
    advice: str = ""
    place: Place | None = None

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        what = f"{self.field}: " if self.field else ""
        return f"{where}{what}{self.problem}"


class Undecodable(RecordError):
    """The bytes are not of a wire format this program reads."""


class NotAnEnvelope(RecordError):
    """Decoded, but without the parts of a Debezium change event."""


class UnknownTable(RecordError):
    """A change event of a table that no rule names."""


class MissingColumn(RecordError):
    """A required column is not in the row image."""


class InvalidValue(RecordError):
    """A column's value is not of the kind the column should have."""


class Unsupported(RecordError):
    """A change that this program understands and must not act on, such as a truncate."""


@dataclass(eq=False)
class Halt(CdcError):
    """Stop without committing past ``cause``. ``problem`` says why it was not passed over, where it might have been."""

    cause: CdcError
    problem: str = ""

    def __str__(self) -> str:
        why = f"{self.problem}; the first: " if self.problem else ""
        return f"stopped, nothing past this was committed: {why}{self.cause}"

    @property
    def advice(self) -> str:  # type: ignore[override]  # derived here, a plain attribute elsewhere
        return self.cause.advice
