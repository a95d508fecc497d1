"""A dead letter is the record as it was, with headers that say where it lay and why it is one."""

from __future__ import annotations

import pytest
from msgspec import structs

from consumer.errors import CdcError, InvalidValue, Refused, Undecodable
from consumer.events.record import SourceRecord
from consumer.mapping.keys import UserId
from consumer.pipeline.dead_letter import DeadLetter

RECORD = SourceRecord(
    "t.db.live_users", 3, 41, 1700000000000, b'{"id":5}', b"hunter2", (("trace", b"\xff"), ("no", None))
)


def headers(error: CdcError, *users: UserId) -> dict[str, bytes | None]:
    return dict(DeadLetter(RECORD, error, users, "the-group", ("live_users",)).headers())


def test_the_headers_are_kafka_connects_and_our_own_beside_the_records() -> None:
    error = InvalidValue("is no number", field="margin", advice="correct it")
    error.place = RECORD.place
    assert headers(error, UserId("live", 5)) == {
        "trace": b"\xff",
        "no": None,
        "__connect.errors.topic": b"t.db.live_users",
        "__connect.errors.partition": b"3",
        "__connect.errors.offset": b"41",
        "__connect.errors.connector.name": b"the-group",
        "__connect.errors.task.id": b"0",
        "__connect.errors.stage": b"TRANSFORMATION",
        "__connect.errors.class.name": b"consumer.plan",
        "__connect.errors.exception.class.name": b"consumer.errors.InvalidValue",
        "__connect.errors.exception.message": b"t.db.live_users[3]@41: margin: is no number",
        "cdc.reason": b"invalid_value",
        "cdc.stage": b"plan",
        "cdc.advice": b"correct it",
        "cdc.field": b"margin",
        "cdc.user": b"live:5",
        "cdc.table": b"live_users",
        "cdc.timestamp_ms": b"1700000000000",
    }


@pytest.mark.parametrize(
    ("error", "reason", "stage", "connect"),
    [
        (Undecodable("7 bytes"), b"undecodable", b"decode", b"VALUE_CONVERTER"),
        (Refused("Redis", "WRONGTYPE k is no hash"), b"redis_wrongtype", b"apply", b"TASK_PUT"),
    ],
)
def test_reason_and_stage(error: CdcError, reason: bytes, stage: bytes, connect: bytes) -> None:
    found = headers(error)
    assert (found["cdc.reason"], found["cdc.stage"], found["__connect.errors.stage"]) == (reason, stage, connect)
    assert found["cdc.user"] == b""


def test_a_letter_that_is_written_again_has_each_header_once() -> None:
    again = structs.replace(RECORD, headers=tuple(DeadLetter(RECORD, Undecodable("one"), (), "a").headers()))
    names = [name for name, _ in DeadLetter(again, Undecodable("two"), (), "b").headers()]
    assert len(names) == len(set(names))
    found = dict(DeadLetter(again, Undecodable("two"), (), "b").headers())
    assert found["__connect.errors.exception.message"] == b"two"


def test_no_header_holds_the_value() -> None:
    assert not any(b"hunter2" in (value or b"") for value in headers(Undecodable("7 bytes that are not JSON")).values())
