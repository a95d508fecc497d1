"""Source records and their lines in a recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import ConfigError, Undecodable
from consumer.events.record import SourceRecord, from_line, to_line
from consumer.source import recording

records = st.builds(
    SourceRecord,
    topic=st.text(min_size=1),
    partition=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**63 - 1),
    timestamp_ms=st.integers(-1, 2**62),
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    headers=st.lists(st.tuples(st.text(), st.none() | st.binary())).map(tuple),
)


@given(records)
def test_a_line_reads_back_as_it_was_written(record: SourceRecord) -> None:
    line = to_line(record)
    assert "\n" not in line
    assert from_line(line) == record


def test_what_kcat_prints_is_read_too() -> None:
    line = json.dumps(
        {"topic": "t", "partition": 1, "offset": 7, "tstype": "create", "ts": 9, "broker": 0}
        | {"headers": ["a", "1", "b", "2"], "key": '{"id":5}', "payload": None}
    )
    assert from_line(line) == SourceRecord("t", 1, 7, 9, b'{"id":5}', None, (("a", b"1"), ("b", b"2")))


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", ""),
        ("[]", ""),
        ("{}", "topic"),
        ('{"topic":"t","partition":0,"offset":"7","timestamp_ms":1}', "offset"),
        ('{"topic":"t","partition":0,"offset":true,"timestamp_ms":1}', "offset"),
        ('{"topic":"t","partition":0,"offset":7,"timestamp_ms":1,"value":"%"}', "value"),
        ('{"topic":"t","partition":0,"offset":7,"timestamp_ms":1,"value":null,"headers":["a"]}', "headers"),
        ('{"topic":"t","partition":0,"offset":7,"timestamp_ms":1}', "value"),
        ('{"topic":"t","partition":0,"offset":7,"timestamp_ms":1,"valeu":"YQ=="}', "value"),
        ('{"topic":"t","partition":-1,"offset":7,"timestamp_ms":1,"value":null}', "partition"),
        ('{"topic":"t","partition":0,"offset":-7,"timestamp_ms":1,"value":null}', "offset"),
        ('{"topic":"t","partition":0,"offset":7,"ts":1,"paylaod":"a"}', "payload"),
    ],
)
def test_a_bad_line_names_its_field(line: str, field: str) -> None:
    with pytest.raises(Undecodable) as refusal:
        from_line(line)
    assert refusal.value.field == field


@pytest.mark.parametrize("name", ["plain.jsonl", "packed.jsonl.gz"])
def test_a_recording_reads_back_and_is_the_same_bytes_again(tmp_path: Path, name: str) -> None:
    written = [SourceRecord("t", 0, offset, 1, b"k", None if offset % 2 else b"v") for offset in range(5)]
    path = tmp_path / name
    assert recording.write(written, path) == 5
    first = path.read_bytes()
    assert list(recording.read(path)) == written
    recording.write(written, path)
    assert path.read_bytes() == first


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        list(recording.read(tmp_path / "absent"))
    path = tmp_path / "bad.jsonl"
    path.write_text("\n{}\n")
    with pytest.raises(ConfigError, match=r"bad\.jsonl, line 2: topic: should be str"):
        list(recording.read(path))
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(ConfigError, match="broken"):
        list(recording.read(broken))
