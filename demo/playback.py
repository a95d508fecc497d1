"""The recording played back as it would be read live: what one database transaction did comes together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from consumer.errors import RecordError
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.source.recording import RecordedSource


class OneTransactionAtATime(RecordedSource):
    """A recording of which each poll gives the records of one database transaction, or one record of no such."""

    def __init__(self, records: Sequence[SourceRecord]) -> None:
        super().__init__(records)
        self._groups = [list(group) for _, group in groupby(enumerate(records), _transaction)]

    @property
    def is_at_end(self) -> bool:
        return not self._groups

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        return [record for _, record in self._groups.pop(0)] if self._groups else []


def _transaction(numbered: tuple[int, SourceRecord]) -> object:
    """The database transaction's id, or the record's own number."""
    number, record = numbered
    try:
        event = parse(record)
    except RecordError:
        return number
    return event.transaction_id or number if isinstance(event, ChangeEvent) else number
