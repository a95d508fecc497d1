"""Records of fetch responses: decoded as kafka-python itself decodes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from consumer.events.record import SourceRecord
from consumer.source.clients.fetched_records import FetchedRecords

_PART = TopicPartition("cdc.trading.live_users", 3)
_PLAIN, _GZIP = 0, 1
_MARKER, _APPEND_TIME = 0x30, 0x08
_bytes = st.none() | st.binary(max_size=200) | st.integers(60, 20_000).map(bytes)
_record = st.tuples(
    st.integers(1_700_000_000_000, 1_700_000_900_000),
    _bytes,
    _bytes,
    st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=2),
)
_batches = st.lists(
    st.tuples(
        st.sampled_from((_PLAIN, _PLAIN, _PLAIN, _GZIP)),
        st.lists(st.tuples(st.integers(0, 200), _record), min_size=1, max_size=8),
        st.sampled_from((0, 0, 0, _MARKER, _APPEND_TIME)),
    ),
    min_size=1,
    max_size=5,
)


def _response(batches: Sequence[Any]) -> bytes:
    """The batches as in a fetch response. Before each record some offsets are left out, as after compaction."""
    found, offset = b"", 0
    for compression, records, attributes in batches:
        builder = MemoryRecordsBuilder(2, compression, 10**7, offset=offset)
        for gap, (timestamp, key, value, headers) in records:
            builder.skip(gap)
            builder.append(timestamp, key, value, headers)
            offset += gap + 1
        builder.close()
        found += _with_attributes(builder.buffer(), attributes)
    return found


def _with_attributes(batch: bytes, more: int) -> bytes:
    changed = bytearray(batch)
    changed[DefaultRecordBatch.ATTRIBUTES_OFFSET + 1] |= more
    at = DefaultRecordBatch.CRC_OFFSET
    changed[at : at + 4] = calc_crc32c(bytes(changed[DefaultRecordBatch.ATTRIBUTES_OFFSET :])).to_bytes(4, "big")
    return bytes(changed)


def _taken(decoder: type[Any], response: bytes, portion: int = 10_000, begin: int = 0, **options: Any) -> list[object]:
    """What a client sees of a response: records in portions with the next offset of each, and the error, if any."""
    records = decoder(begin, _PART, MemoryRecords(response), **options)
    seen: list[object] = []
    try:
        while records:
            taken = records.take(portion)
            seen.append([each if isinstance(each, SourceRecord) else _as_record(each) for each in taken])
            seen.append(records.next_fetch_offset)
    except CorruptRecordError:
        seen.append("corrupt")
    return seen


def _as_record(found: Any) -> SourceRecord:
    return SourceRecord(
        found.topic, found.partition, found.offset, found.timestamp, found.key, found.value, tuple(found.headers)
    )


@given(_batches, st.integers(1, 12), st.integers(0, 30))
def test_records_and_offsets_are_those_of_the_client(batches: Sequence[Any], portion: int, begin: int) -> None:
    response = _response(batches)
    assert _taken(FetchedRecords, response, portion, begin) == _taken(
        Fetcher.PartitionRecords, response, portion, begin
    )


@given(_batches, st.data())
def test_a_damaged_response_is_refused_as_by_the_client(batches: Sequence[Any], data: st.DataObject) -> None:
    response = bytearray(_response(batches))
    at = data.draw(st.integers(DefaultRecordBatch.HEADER_STRUCT.size, len(response) - 1))
    response[at] ^= data.draw(st.integers(1, 255))
    assert _taken(FetchedRecords, bytes(response)) == _taken(Fetcher.PartitionRecords, bytes(response))


def test_a_header_whose_name_is_no_text_is_an_error_of_the_batch() -> None:
    batch = _response([(_PLAIN, [(0, (1_700_000_000_000, b"1", b"{}", [("name", b"")]))], 0)])
    damaged = _with_attributes(batch.replace(b"name", b"n\xffme"), 0)
    assert _taken(FetchedRecords, damaged) == _taken(Fetcher.PartitionRecords, damaged) == ["corrupt"]


def test_the_last_records_of_a_batch_may_be_gone() -> None:
    """The next fetch begins after the batch, or the same batch would be fetched for ever."""
    batch = bytearray(_response([(_PLAIN, [(0, (1_700_000_000_000, b"1", b"{}", []))], 0)]))
    batch[23:27] = (9).to_bytes(4, "big")  # the offset of the last record, from the batch's first
    seen = _taken(FetchedRecords, _with_attributes(bytes(batch), 0))
    assert seen[-1] == 10
    assert seen == _taken(Fetcher.PartitionRecords, _with_attributes(bytes(batch), 0))


def test_sizes_that_do_not_fit_are_an_error_of_the_batch_even_if_its_checksum_fits() -> None:
    whole = bytearray(_response([(_PLAIN, [(0, (1_700_000_000_000, b"1", b"{}", []))], 0)]))
    size, faults = DefaultRecordBatch.HEADER_STRUCT.size, 0
    attributes = size + 1  # one byte; the client would read it as a number of a variable length
    for at in sorted({*range(size, len(whole))} - {attributes}):
        for value in (0, 1, 3, 0x7F, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[at] = value
            ours, theirs = (
                _taken(each, _with_attributes(bytes(damaged), 0)) for each in (FetchedRecords, Fetcher.PartitionRecords)
            )
            faults += theirs[-1] == "corrupt"
            assert ours == theirs, (at, value)
    assert faults > 20
