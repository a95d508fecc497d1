"""Every error that this program raises itself.

    CdcError
    ├── ConfigError          a setting is wrong: exit 2, names the field
    ├── ServerError          a server refused a request, or can't be used as it is
    │   ├── ServerUnavailable    the server may come back: retry
    │   │   └── UnknownReply         an error reply that no table lists: retry a few times, then treat as Refused
    │   ├── UnreadableStream     Redis refuses to read a stream: the key is no stream, or the account lacks the right
    │   ├── AccessDenied         the database refuses the account, or the account lacks a grant
    │   ├── NotInDatabase        the database has no such table or column
    │   ├── Reconnected          the connection was lost and is back: resume at the position that the server has
    │   ├── Emptied              the server has less than it acknowledged: apply nothing until it is rebuilt
    │   ├── RecordsGone          records of a range that is read do not exist any more
    │   └── Refused              the server will always refuse this plan or record: dead letter
    ├── RecordError          one Kafka record can't be understood
    │   ├── Undecodable          the bytes are neither JSON nor a known wire format
    │   ├── NotAnEnvelope        decoded, but no Debezium change event
    │   ├── UnknownTable         a change event of a table that no rule names
    │   ├── MissingColumn        a required column is not in the row image
    │   ├── InvalidValue         a column's value does not have the column's kind
    │   └── Unsupported          understood, but this program can't apply it (truncate)
    └── Halt                 the program must stop; nothing after the cause was committed

No error contains a row value. The errors of settings and of records may contain names from outside (of a key in a file,
of a table); they are one line of limited length, whatever the names are. ``place`` says where the record is, ``field``
which field is wrong, ``problem`` why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Self

import msgspec

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it can't decode; the last two: not UTF-8, and nested too deeply."""
_PLACE = re.compile(r"([a-zA-Z0-9._-]+)\[([0-9]{1,10})\]@([0-9]{1,19})")
_MOST_CHARS = 1000
"""Of each part of an error."""


def one_line(text: str) -> str:
    """A part of an error without line breaks, control characters and half surrogate pairs, and cut if it is long."""
    if len(text) > _MOST_CHARS:
        text = f"{text[:_MOST_CHARS]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class CdcError(Exception):
    """Base of this program's errors. ``advice`` tells an operator what to do next, or is empty."""

    advice: str = ""


@dataclass(eq=False)
class ConfigError(CdcError):
    """A setting, option or argument that can't be used.

    ``allowed``: the values that can be used, or their form. ``fix``: what to do, if another value is not the answer.
    """

    field: str
    problem: str
    allowed: str = dataclass_field(default="", kw_only=True)
    fix: str = dataclass_field(default="", kw_only=True)

    def __post_init__(self) -> None:
        self.field, self.problem = one_line(self.field), one_line(self.problem)
        self.allowed, self.fix = one_line(self.allowed), one_line(self.fix)

    def __str__(self) -> str:
        notes = [f"{name}: {text}" for name, text in (("allowed", self.allowed), ("fix", self.fix)) if text]
        return f"{self.field}: {self.problem}" + (f" ({'; '.join(notes)})" if notes else "")


@dataclass(eq=False)
class ServerError(CdcError):
    """A server answered, but refused the request or can't be used. A retry does not help.

    ``cause``: the kind of failure in one word, as in the table in ``policy.py``, or empty.
    """

    server: str
    problem: str
    advice: str = ""
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.server}: {self.problem}"


@dataclass(eq=False)
class ServerUnavailable(ServerError):
    """A server that can't serve now, but may later: wait and retry."""


@dataclass(eq=False)
class UnknownReply(ServerUnavailable):
    """An error reply that is not known to be temporary or permanent. After a few retries the plan counts as refused."""


@dataclass(eq=False)
class UnreadableStream(ServerError):
    """Redis refuses to read a stream: the key is no stream, or the account lacks the right."""


@dataclass(eq=False)
class AccessDenied(ServerError):
    """A server refuses this account, or this account lacks a right; ``advice`` names the grant."""


@dataclass(eq=False)
class NotInDatabase(ServerError):
    """A table or column that the mapping names is not in the database."""


@dataclass(eq=False)
class Reconnected(ServerError):
    """The connection to a server was lost and is back. The last acknowledged writes may be lost."""


@dataclass(eq=False)
class Emptied(ServerError):
    """A server has less than it acknowledged, for any reason."""


@dataclass(eq=False)
class RecordsGone(ServerError):
    """Records of a range that is read do not exist any more: deleted, or the topic was created again or cut."""


@dataclass(eq=False)
class Refused(ServerError):
    """A server will always refuse this plan or record, but accepts others: a dead letter."""


class Place(msgspec.Struct, frozen=True, gc=False):
    """The topic, partition and offset of a record in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the form that ``str()`` gives.

        Raises:
            ValueError: the text has another form; the message shows the right form.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError("should look like trading.trading.live_users[0]@41")
        return cls(found[1], int(found[2]), int(found[3]))


@dataclass(eq=False)
class RecordError(CdcError):
    """A record that can't be turned into a plan.

    ``field``: the wrong column or envelope field, or empty. ``place``: set later by the code that knows the record.
    """

    problem: str
    field: str = ""
    advice: str = ""
    place: Place | None = None

    def __post_init__(self) -> None:
        self.problem, self.field = one_line(self.problem), one_line(self.field)

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        what = f"{self.field}: " if self.field else ""
        return f"{where}{what}{self.problem}"


class Undecodable(RecordError):
    """The bytes are in no wire format that this program reads."""


class NotAnEnvelope(RecordError):
    """Decoded, but it lacks parts of a Debezium change event."""


class UnknownTable(RecordError):
    """A change event of a table that no rule names."""


class MissingColumn(RecordError):
    """A required column is not in the row image."""


class InvalidValue(RecordError):
    """A column's value does not have the kind that the column should have."""


class Unsupported(RecordError):
    """A change that this program understands but must not apply, such as a truncate."""


@dataclass(eq=False)
class Halt(CdcError):
    """Stop and commit nothing after ``cause``. ``problem``: why ``cause`` may not become a dead letter, or empty."""

    cause: CdcError
    problem: str = ""

    def __str__(self) -> str:
        reason = f"{self.problem}; the first: " if self.problem else ""
        return f"stopped, nothing past this was committed: {reason}{self.cause}"

    @property
    def advice(self) -> str:  # type: ignore[override]  # a property here, an attribute in the base class
        return self.cause.advice
