"""Reads ranges of topics approximately in the order of their times, with a client outside of any group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from consumer.events.record import SourceRecord
from consumer.settings.sections import Kafka
from consumer.source.bounds import Span
from consumer.source.clients.kafka import failed, open_consumer

_POLL_MS = 200
_POLL_RECORDS = 2000
# So many records of a partition may wait until their turn comes; then the partition is paused.
_MOST_WAITING = 2000
_SILENCE_S = 30.0


def read_in_order(
    settings: Kafka, spans: Sequence[Span], advance: Callable[[int], None] = lambda _: None
) -> Iterator[SourceRecord]:
    """The records of ``spans``, the oldest first; each partition keeps its order, whatever the times are.

    So rows of one database transaction follow each other, as in a member of the group that keeps up. The same records
    always come in the same order. ``advance`` is called with the number of offsets that were read.

    Raises:
        ServerUnavailable, ServerError: from the broker.
    """
    reader = _Reader(settings, [span for span in spans if span.size], advance)
    try:
        yield from reader.records()
    except Exception as error:
        raise failed(error) from None
    finally:
        reader.close()


class _Reader:
    def __init__(self, settings: Kafka, spans: Sequence[Span], advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._spans = {TopicPartition(span.topic, span.partition): span for span in spans}
        self._parts = sorted(self._spans)
        self._at = {part: span.begin for part, span in self._spans.items()}
        self._waiting: list[deque[SourceRecord]] = [deque() for _ in self._parts]
        self._unread = set(range(len(self._parts)))
        self._consumer = open_consumer(settings, auto_offset_reset="earliest", max_poll_records=_POLL_RECORDS)
        self._silent_s = 0.0  # of polls, because the caller may take any time between them

    def records(self) -> Iterator[SourceRecord]:
        self._consumer.assign(self._parts)
        for part in self._parts:
            self._consumer.seek(part, self._at[part])
        # The oldest waiting record of each partition: its time, and the partition's place.
        heads: list[tuple[int, int]] = []
        lacking = set(self._unread)
        while heads or lacking:
            if lacking:
                lacking = self._filled(lacking, heads)
                continue
            _, place = heappop(heads)
            waiting = self._waiting[place]
            yield waiting.popleft()
            if waiting:
                heappush(heads, (waiting[0].timestamp_ms, place))
            elif place in self._unread:
                lacking.add(place)

    def _filled(self, lacking: set[int], heads: list[tuple[int, int]]) -> set[int]:
        """Poll; answers which partitions still lack a record. The next record of any may be the oldest of all."""
        self._poll()
        still = set()
        for place in lacking:
            if self._waiting[place]:
                heappush(heads, (self._waiting[place][0].timestamp_ms, place))
            elif place in self._unread:
                still.add(place)
        return still

    def _poll(self) -> None:
        full = [self._parts[at] for at in self._unread if len(self._waiting[at]) >= _MOST_WAITING]
        self._consumer.pause(*full)
        began = time.monotonic()
        polled = self._consumer.poll(timeout_ms=_POLL_MS)
        self._silent_s += time.monotonic() - began
        self._consumer.resume(*full)
        for place in list(self._unread):
            part = self._parts[place]
            end = self._spans[part].end
            self._waiting[place].extend(each for each in polled.get(part, ()) if each.offset < end)
            # The position also passes transaction markers and compacted gaps; the last record's offset may not.
            position = min(self._consumer.position(part), end)
            if position > self._at[part]:
                self._advance(position - self._at[part])
                self._at[part] = position
                self._silent_s = 0.0
            if position >= end:
                self._unread.discard(place)
                self._consumer.pause(part)
        if self._silent_s > _SILENCE_S:
            raise KafkaTimeoutError(f"no record arrived for {_SILENCE_S:.0f} s")

    def close(self) -> None:
        self._consumer.close(autocommit=False)
