"""A row image that is not in memory: it is decoded from its record when somebody reads it.

Most plans need a row only while they are made. The rows of all records of a batch would take several megabytes, more
than fits into a processor's cache (decision 29).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from consumer.events.event import ChangeEvent, RowImage
from consumer.events.record import SourceRecord
from consumer.events.row import Row
from consumer.events.usual_envelope import decoded


class UndecodedRow(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The row image ``name`` ("before" or "after") in the ``value`` of a record."""

    value: bytes
    name: str

    def __getitem__(self, column: str) -> object:
        return self._decoded()[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def __len__(self) -> int:
        return len(self._decoded())

    # A struct can't inherit from Mapping.
    __contains__ = Mapping.__contains__
    __eq__ = Mapping.__eq__
    __hash__ = None  # type: ignore[assignment]  # values may be lists
    get = Mapping.get
    items = Mapping.items
    keys = Mapping.keys
    values = Mapping.values

    def __repr__(self) -> str:
        return f"UndecodedRow({self.name})"  # without the values, which no log may contain

    def _decoded(self) -> RowImage:
        row: RowImage = getattr(decoded(self.value), self.name)
        return row


Mapping.register(UndecodedRow)


def undecoded(event: ChangeEvent, record: SourceRecord) -> ChangeEvent:
    """An update that was parsed from ``record``, without its rows in memory.

    The answer is ``event`` itself if its rows are not what decoding the record again would give.
    """
    value = record.value
    before: Any = event.before
    after: Any = event.after
    if value is None or not (isinstance(before, Row) and isinstance(after, Row)):
        return event
    return replace(event, before=UndecodedRow(value, "before"), after=UndecodedRow(value, "after"))
