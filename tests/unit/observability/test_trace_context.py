"""Where a change says which trace it belongs to."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.observability.tracing import COLUMN, carried
from consumer.planning.decision import decide
from tests.support.scenario import load_all

NAMES = ("traceparent", "tracestate")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]


def _of(text: object) -> tuple[SourceRecord, ChangeEvent | None]:
    assert DEPOSIT.after is not None
    record = replace(DEPOSIT, after=DEPOSIT.after | {COLUMN: text}).record(7)
    return record, decide(record, reference()).event


def test_headers_are_read_whatever_their_case_and_of_a_repeated_one_the_last() -> None:
    record = structs.replace(
        DEPOSIT.record(7),
        headers=(("TraceParent", b"first"), ("other", b"x"), ("tracestate", None), ("traceparent", PARENT.encode())),
    )
    assert carried(record, None, NAMES) == {"traceparent": PARENT}


def test_a_header_that_is_no_text_is_no_error() -> None:
    record = structs.replace(DEPOSIT.record(7), headers=(("traceparent", b"\xff\x00"),))
    assert set(carried(record, None, NAMES)) == {"traceparent"}


def test_the_column_is_java_properties() -> None:
    record, event = _of(f"#\n#Mon Nov 23 12:00:00 UTC 2026\ntraceparent={PARENT}\ntracestate=a\\=b\nbaggage=secret\n")
    assert carried(record, event, NAMES) == {"traceparent": PARENT, "tracestate": "a=b"}


def test_headers_come_before_the_column() -> None:
    record, event = _of(f"traceparent={PARENT}")
    record = structs.replace(record, headers=(("traceparent", b"header"),))
    assert carried(record, event, NAMES) == {"traceparent": "header"}


def test_without_either_there_is_none() -> None:
    for text in (None, 7, "", "no properties", "x" * 5000):
        assert carried(*_of(text), NAMES) == {}
    assert carried(DEPOSIT.record(7), None, NAMES) == {}
