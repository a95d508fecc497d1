"""The transaction whose rows came last in a partition: which of its changes look alike, and are two all the same."""

from __future__ import annotations

from consumer.events.event import RowImage
from consumer.guard.sent import Key, SentChange, continues


class OpenTransaction:
    """Tells a further change of a row from a copy, where a row goes to a value, away from it, and there again.

    Two such changes of one transaction are equal in everything but Debezium's count, if it counts. And its count begins
    at 1 again where Kafka Connect was restarted in the middle of the transaction.
    """

    def __init__(self) -> None:
        self._transaction = ""
        self._place = ""
        self._count = 0
        self._began = 0
        self._rows: dict[Key, RowImage | None] = {}

    def add(self, sent: SentChange) -> None:
        """Take note of a new change."""
        if sent.transaction != self._transaction:
            self._transaction, self._began, self._count, self._rows = sent.transaction, sent.offset, 0, {}
        self._rows[sent.key] = sent.after
        self._place = sent.place
        self._count = max(self._count, sent.count)

    def add_unless_copy(self, sent: SentChange) -> None:
        """Take note of a change, unless it lies before the one that came last: then it is a copy."""
        if sent.transaction != self._transaction or self._is_behind(sent):
            self.add(sent)

    def begin_with(self, earlier: OpenTransaction) -> None:
        """Take over what ``earlier`` has of the same transaction: it was read directly before what was added here."""
        if self._transaction and self._transaction != earlier._transaction:
            return
        if not self._transaction:
            self._transaction, self._place = earlier._transaction, earlier._place
        self._began = earlier._began
        self._count = max(self._count, earlier._count)
        self._rows = earlier._rows | self._rows

    def goes_on_with(self, sent: SentChange, first: int) -> bool:
        """Whether a change is no copy of its equal at offset ``first``: its count is higher than all before; or it does
        not lie before the change that came last, and its old image is the row as it was left.
        """
        if sent.transaction != self._transaction or first < self._began or sent.key not in self._rows:
            return False
        return sent.count > self._count or (self._is_behind(sent) and continues(sent.before, self._rows[sent.key]))

    def _is_behind(self, sent: SentChange) -> bool:
        return sent.place >= self._place
