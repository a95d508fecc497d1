"""A record that is decoded in part says what it says when it is decoded whole, or that it must be decoded whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from consumer.commands.replay.partial_decoder import LinkedPartialDecoder, PartialDecoder
from consumer.errors import RecordError
from consumer.events.avro import KnownSchemas
from consumer.events.decimals import with_decimal_schema
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent, Operation
from consumer.mapping.reference import reference
from consumer.planning.diff import diff, is_whole
from consumer.planning.plan import user_of
from consumer.source import recording
from tests.support.scenario import load_all

RULES = reference()
RECORDINGS = sorted((Path(__file__).parents[2] / "recordings").glob("*json*.jsonl.gz"))
UNCOUNTED = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(5)
BLOCK = b'"transaction":{"id":"3e11fa47:6","total_order":1,"data_collection_order":1}'
DEPOSIT = structs.replace(UNCOUNTED, value=(UNCOUNTED.value or b"").replace(b'"transaction":null', BLOCK))


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.name.removesuffix(".jsonl.gz"))
def test_of_real_records_it_says_what_reading_them_whole_says(file: Path) -> None:
    seen_at_once = 0
    for record in recording.read(file):
        try:
            event = parse(record, KnownSchemas({}))
        except RecordError:
            event = None
        table = RULES.table(record.topic.rpartition(".")[2])
        if table is not None and record.value is not None:
            seen = PartialDecoder(table)(record.value)
            if seen is None:
                continue
            seen_at_once += 1
            assert isinstance(event, ChangeEvent)
            assert (seen.user, seen.op, seen.position) == (str(user_of(event, table)), event.op, event.position)
            if event.op is Operation.UPDATE:
                event = with_decimal_schema(event, table.money())
                assert event.after is not None
                changed = diff(event.before or {}, event.after, table, event.schema).fields
                assert list(seen.changed) == list(changed)
                assert seen.is_whole == is_whole(event.after, table)
        linked = RULES.linked_table(record.topic.rpartition(".")[2])
        if linked is not None and record.value is not None and isinstance(event, ChangeEvent) and event.after:
            done = event.after[linked.status] in linked.done
            was_done = event.before is not None and event.before[linked.status] in linked.done
            assert LinkedPartialDecoder(linked)(record.value) is (done and not was_done)
    assert seen_at_once


def test_a_record_without_a_count_of_its_transaction_is_seen_at_once() -> None:
    read = next(each for each in load_all() if each.title.startswith("An incremental")).changes[0].record(5)
    for record in (read, UNCOUNTED):
        assert record.value is not None
        assert b'"transaction":null' in record.value
        assert PartialDecoder(RULES.tables[0])(record.value) is not None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00\x01",
        b"[]",
        b'{"op":"u"}',
        b"\xff\xfe",
        DEPOSIT.value and DEPOSIT.value.replace(b'"live_users"', b'"demo_users"'),
        DEPOSIT.value and DEPOSIT.value.replace(b'"id":123', b'"id":"123"'),
        DEPOSIT.value and DEPOSIT.value.replace(b'"op":"u"', b'"op":"t"'),
        DEPOSIT.value and DEPOSIT.value.replace(b'"pos"', b'"was"'),
        DEPOSIT.value and DEPOSIT.value.replace(b'"Standard"', b'"__debezium_unavailable_value"'),
        DEPOSIT.value and DEPOSIT.value.replace(b'"10000.500000"', b"{}"),
    ],
)
def test_what_is_unusual_is_read_whole(value: bytes) -> None:
    table = RULES.tables[0]
    assert DEPOSIT.value is not None
    assert PartialDecoder(table)(DEPOSIT.value) is not None
    assert PartialDecoder(table)(value) is None
