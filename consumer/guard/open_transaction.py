"""The latest transaction of a partition: tells a second equal change of a row from a copy of the first."""

from __future__ import annotations

from consumer.events.event import RowImage
from consumer.guard.streamed_change import Key, StreamedChange, continues

MOST_ROWS = 20_000
"""About 20 MB a partition. One statement may change millions of rows."""


class OpenTransaction:
    """Tells a second equal change from a copy: a row gets a value, then another value, then the first value again.

    Two such changes of one transaction differ only in Debezium's count (``total_order``), if Debezium counts. The count
    begins at 1 again if Kafka Connect was restarted in the middle of the transaction.

    Only :data:`MOST_ROWS` rows and as many changes of a transaction are kept. Of the others the count and the place
    alone tell. So if Kafka Connect is restarted in the middle of so large a transaction, some of its changes may be
    told again.
    """

    def __init__(self) -> None:
        self._transaction = ""
        self._place = ""
        self._count = 0
        self._began = 0
        self._is_full = False
        self._rows: dict[tuple[str, Key], RowImage | None] = {}
        self._firsts: dict[int, int] = {}
        """The first offset of each change, by identity."""
        self._doubtful: dict[tuple[str, Key], int] = {}
        """The offset of each row's last change that counts as new and may be a copy."""

    def add(self, change: StreamedChange) -> None:
        """Add a new change."""
        row = change.table, change.key
        if change.transaction != self._transaction:
            self._transaction, self._place, self._count = change.transaction, change.place, change.count
            self._began, self._is_full = change.offset, False
            self._rows, self._firsts, self._doubtful = {row: change.after}, {change.identity: change.offset}, {}
            return
        first = self._firsts.get(change.identity, change.offset)
        if first == change.offset and len(self._firsts) < MOST_ROWS:
            self._firsts[change.identity] = first
        if first < change.offset and change.count <= self._count and change.place <= self._place:
            self._doubtful[row] = change.offset
        if row in self._rows or len(self._rows) < MOST_ROWS:
            self._rows[row] = change.after
        else:
            self._is_full = True
        self._place = change.place
        self._count = max(self._count, change.count)

    def add_unless_copy(self, change: StreamedChange) -> None:
        """Add a change, unless it is a copy, or may be one because its place is before the latest change's place."""
        if self.is_before_latest(change):
            return
        first = self._firsts.get(change.identity) if change.transaction == self._transaction else None
        if first is None or first == change.offset or self.is_new_change(change, first):
            self.add(change)

    def is_before_latest(self, change: StreamedChange) -> bool:
        """Whether the place of a row of this transaction is before the place of the latest row."""
        return change.transaction == self._transaction and change.place < self._place

    def begin_with(self, earlier: OpenTransaction) -> None:
        """Add the changes of the same transaction in ``earlier``, which come directly before the changes added here."""
        if self._transaction and self._transaction != earlier._transaction:
            return
        if not self._transaction:
            self._transaction, self._place = earlier._transaction, earlier._place
        self._began, self._is_full = earlier._began, earlier._is_full or self._is_full
        self._count = max(self._count, earlier._count)
        self._rows = earlier._rows | self._rows
        self._firsts |= earlier._firsts
        self._doubtful = earlier._doubtful | self._doubtful

    def was_doubtful_since(self, change: StreamedChange, first: int) -> bool:
        """Whether a change of this row that may be a copy counted as new after ``first``, the first offset of
        ``change``.

        Then the later rows of the transaction must be applied again too, if they are sent again. The doubt ends with
        the next transaction: Debezium sends a transaction again to its end before it sends the next one.
        """
        doubtful = self._doubtful.get((change.table, change.key))
        return change.transaction == self._transaction and doubtful is not None and first < doubtful <= change.offset

    def is_new_change(self, change: StreamedChange, first: int) -> bool:
        """Whether a change is not a copy of the equal change at offset ``first``.

        It is not a copy if its old row image fits the row's latest image, and its count is higher than all counts
        before or its place is not before the latest change's place. The count alone is not enough: if Kafka Connect was
        restarted in the middle of the transaction, a later copy of the remaining rows has higher counts. Without an
        old image only the count can tell. A transaction is in one binlog file, so a place in another file is a place
        in another server's log, and tells nothing.
        """
        row = change.table, change.key
        if change.transaction != self._transaction or first < self._began:
            return False
        is_counted_later = change.count > self._count
        if row not in self._rows:
            is_behind = self._is_in_same_file(change) and change.place > self._place
            return self._is_full and (is_counted_later or is_behind)
        if change.lacks_before:
            return is_counted_later
        is_behind_latest = self._is_in_same_file(change) and not self.is_before_latest(change)
        return (is_counted_later or is_behind_latest) and continues(change.before, self._rows[row])

    def _is_in_same_file(self, change: StreamedChange) -> bool:
        return change.place.partition("/")[0] == self._place.partition("/")[0]
