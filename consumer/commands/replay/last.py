"""The last change of a user in one table: what a fold keeps of a log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias

import msgspec

from consumer.events.record import SourceRecord
from consumer.guard.version import Version

Part: TypeAlias = tuple[int, int, bytes | None, bytes]
"""Offset, timestamp, key and value of a record. The value of a tombstone may be empty."""


def part_of(record: SourceRecord) -> Part:
    """The parts of a record that are kept."""
    return record.offset, record.timestamp_ms, record.key, record.value or b""


class Last(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last change of a user in one table.

    ``records``: the records that make up the image: the change, and before it earlier changes with columns that the
    last one lacks. ``times``: when each time field was set last, in the order of
    :class:`consumer.planning.change_times.ChangeTimes`. ``deletion``: the version of the delete of an earlier user with
    the same id.
    """

    version: Version
    records: tuple[Part, ...]
    is_delete: bool = False
    is_whole: bool = True
    times: tuple[int, ...] = ()
    deletion: Version | None = None

    def forgets(self, row: Version) -> bool:
        """Whether a linked row of this user is older than the user's deletion, so that it does not count any more."""
        if self.is_delete:
            return True
        deletion = self.deletion
        return deletion is not None and row.written_ms < deletion.written_ms


class Store(Protocol):
    """Stores the last changes of one table, by user."""

    def get(self, user: str) -> Last | None:
        """The user's last change so far."""
        ...

    def put(self, user: str, last: Last) -> None:
        """Store this change instead."""
        ...

    def items(self) -> Iterable[tuple[str, Last]]:
        """All users with their last changes."""
        ...

    def users(self) -> Iterable[str]:
        """All users."""
        ...
