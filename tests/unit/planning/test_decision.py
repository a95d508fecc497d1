"""Decisions about records that Debezium has sent before, tombstones without their delete, and the names of changes."""

from __future__ import annotations

import gc
import json
import re
import weakref
from dataclasses import replace

import pytest
from msgspec import structs

from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.planning.decision import Decision, Outcome, decide, decide_all
from consumer.planning.shape import Mode
from tests.support.scenario import load_all

RULES = reference()
SCENARIOS = {each.title: each for each in load_all()}
DEPOSIT = next(each for title, each in SCENARIOS.items() if title.startswith("A deposit")).changes[0]
DELETED = next(each for title, each in SCENARIOS.items() if title.startswith("A deleted user")).changes[0]


def again(record: SourceRecord, offset: int, **source: tuple[bytes, bytes]) -> SourceRecord:
    """The same change, sent a minute later; ``source`` is what another server's log tells otherwise, as bytes."""
    value = record.value or b""
    for old, new in source.values():
        assert value.count(old) == 1
        value = value.replace(old, new)
    return structs.replace(record, offset=offset, timestamp_ms=record.timestamp_ms + 60_000, value=value)


def tombstone(of: SourceRecord, offset: int) -> SourceRecord:
    return structs.replace(of, offset=offset, value=None)


def counted(record: SourceRecord, count: int) -> SourceRecord:
    block = b'"transaction":{"id":"3e11fa47:7","total_order":%d,"data_collection_order":%d}' % (count, count)
    return structs.replace(record, value=(record.value or b"").replace(b'"transaction":null', block))


def event_id(decision: Decision) -> str:
    assert decision.plan is not None
    (name,) = {json.loads(message.body)["event_id"] for message in decision.plan.messages}
    return str(name)


def test_a_change_that_was_sent_before_has_no_plan() -> None:
    """Read from a replica's log, whose places are lower, after a failover."""
    first = DEPOSIT.record(3)
    moved = again(first, 4, file=(b"binlog.000003", b"binlog.000001"), pos=(b'"pos":1300', b'"pos":77'))
    new, old = decide_all([first, moved], RULES, history=Histories(None, 5000))
    assert new.outcome is Outcome.PLANNED
    assert (old.outcome, old.plan, old.first_sent) == (Outcome.NOTHING, None, 3)
    assert old.reason == "sent before, at offset 3: Debezium sends it again"


def test_without_a_history_the_offset_alone_decides() -> None:
    """As where one record is looked at by itself."""
    assert decide(again(DEPOSIT.record(3), 4), RULES).outcome is Outcome.PLANNED


def test_a_tombstone_behind_its_delete_is_ignored() -> None:
    delete = DELETED.record(3)
    _, behind = decide_all([delete, tombstone(delete, 4)], RULES, history=Histories(None, 5000))
    assert behind.outcome is Outcome.IGNORED


def test_a_tombstone_without_its_delete_removes_the_user_if_anything_is_there() -> None:
    """The delete was compacted away. Most such users were gone before, so nobody is told unless something was there."""
    (found,) = decide_all([tombstone(DELETED.record(3), 4)], RULES, history=Histories(None, 5000))
    assert found.outcome is Outcome.PLANNED
    assert found.plan is not None
    assert found.plan.removed is not None
    assert (found.plan.mode, found.plan.version.offset) == (Mode.REBUILD, 4)
    (message,) = found.plan.messages
    told = json.loads(message.body)
    assert (told["event_type"], told["user_id"], told["database_transaction_id"]) == ("user_deleted", 123, None)


@pytest.mark.parametrize("key", [b'{"id":"x"}', b"{", None])
def test_a_tombstone_of_nobody_is_ignored(key: bytes | None) -> None:
    record = structs.replace(tombstone(DELETED.record(3), 4), key=key)
    (found,) = decide_all([record], RULES, history=Histories(None, 5000))
    assert found.outcome is Outcome.IGNORED


def test_a_change_has_one_name_whatever_log_it_is_read_from() -> None:
    first = counted(DEPOSIT.record(3), 1)
    moved = again(first, 9, file=(b"binlog.000003", b"binlog.000001"), server=(b'"server_id":223344', b'"server_id":5'))
    assert event_id(decide(first, RULES)) == event_id(decide(moved, RULES))


def two_of_one_transaction() -> list[SourceRecord]:
    assert DEPOSIT.after is not None
    later = replace(DEPOSIT, before=DEPOSIT.after, after={**DEPOSIT.after, "leverage": 500})
    return [DEPOSIT.record(3, 7), later.record(4, 7)]


@pytest.mark.parametrize(
    "is_counted",
    [
        True,
        False,
    ],
)
def test_a_change_has_one_name_whatever_it_is_read_together_with(is_counted: bool) -> None:
    """Else a replay's batches would give it another one."""
    records = two_of_one_transaction()
    if is_counted:
        records = [counted(record, at) for at, record in enumerate(records, start=1)]
    together, alone = decide_all(records, RULES), decide(records[1], RULES)
    assert together[0].carrier == 1
    assert event_id(together[1]) == event_id(alone)
    assert event_id(decide(records[0], RULES)) != event_id(alone)


def test_a_rejected_record_is_not_kept_when_it_is_done() -> None:
    """The error's traceback holds the frames of its batch: together with the decision they are a reference cycle."""
    bad = structs.replace(DEPOSIT.record(3), value=b"{}")
    error = weakref.ref(decide_all([DEPOSIT.record(2), bad], RULES)[1].error or Exception())
    gc.collect()
    assert error() is None


def test_an_update_stays_by_itself_if_the_delete_of_its_transaction_can_not_be_used() -> None:
    """The delete's time is outside the years that a message can say."""
    update, delete = (counted(each, at) for at, each in enumerate((DEPOSIT.record(3), DELETED.record(4)), start=1))
    year = b'"ts_ms":' + str(10**15).encode()
    late = structs.replace(delete, value=re.sub(rb'"ts_ms":\d+', year, delete.value or b""))
    alone, rejected = decide_all([update, late], RULES)
    assert rejected.outcome is Outcome.REJECTED
    assert alone.outcome is Outcome.PLANNED


def test_a_tombstone_is_not_read_with_what_later_records_of_its_batch_show() -> None:
    """In a topic whose tables are not known yet it may be of any table."""
    routed = structs.replace(DEPOSIT.record(3), topic="users")
    gone = tombstone(structs.replace(DELETED.record(9), topic="users"), 9)
    _, found = decide_all([routed, gone], RULES, history=Histories(None, 5000))
    assert found.outcome is Outcome.IGNORED
