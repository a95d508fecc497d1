"""Snapshots, repairs and tombstones in the history of one user: reads of the database that write as no change does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.commands.explain.report import to_json
from consumer.commands.shared.explain.history import GroupProgress, History, trace
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.user_values import Note, ReadValues, user_values
from consumer.events.avro import NO_SCHEMAS
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import Partition, SourceRecord
from consumer.guard.search import Coverage
from consumer.guard.state import GuardState
from consumer.guard.version import Version
from tests.unit.commands.test_explain import (
    LIVED,
    RULES,
    TABLE,
    TOPIC,
    USER,
    explanation,
    last,
    noted,
    records,
    text_of,
    values_of,
    version,
)

READ = """incremental live_users 123 at 2024-01-15T12:00:00.000Z
  wallet_balance 20
  leverage {leverage}
  group VIP
plan
"""
READ_AT = "2024-01-15T12:00:00.000Z"
UPDATED_AT = "2024-01-15T11:00:00.000Z"
LATER = """update live_users 123 at 2024-01-15T13:00:00.000Z
  group VIP -> GOLD
plan
"""


def life(folder: Path, *more: str) -> list[SourceRecord]:
    return records(folder, LIVED + "".join(more))


def traced(found: Sequence[SourceRecord], read: int, stored: Version | None) -> History:
    return trace(found, USER, RULES, NO_SCHEMAS, progress(read, stored))


def progress(read: int, stored: Version | None) -> GroupProgress:
    return GroupProgress({Partition(TOPIC, 0): read}, {} if stored is None else {TABLE.table: stored})


def version_of(record: SourceRecord) -> Version:
    event = parse(record, NO_SCHEMAS)
    assert isinstance(event, ChangeEvent)
    return Version.of(event, 0)


def test_a_read_that_only_fills_is_lost_by_nobody(tmp_path: Path) -> None:
    """After a plain snapshot the guard keeps the version of the last change."""
    history = traced(life(tmp_path, READ.format(leverage=200)), 5, version(3))
    assert [each.outcome for each in history.changes] == [
        ChangeOutcome.APPLIED,
        ChangeOutcome.APPLIED,
        ChangeOutcome.APPLIED,
        ChangeOutcome.FILLED,
    ]
    found = values_of(history, version(3), {"leverage": "200", "last_updated": UPDATED_AT}, balance="20.00")
    assert noted(found)["leverage"] is Note.AS_WRITTEN
    assert noted(found)["last_updated"] is Note.AS_WRITTEN
    waiting = traced(life(tmp_path, READ.format(leverage=200)), 4, version(3))
    assert waiting.changes[-1].outcome is ChangeOutcome.PENDING


def test_what_a_read_filled_is_as_written(tmp_path: Path) -> None:
    """The balance string had expired, and the read made it anew."""
    history = traced(life(tmp_path, READ.format(leverage=250)), 5, version(3))
    found = values_of(history, version(3), {"leverage": "250", "last_updated": UPDATED_AT}, balance="20.00")
    (leverage,) = [each for each in found.config if each.name == "leverage"]
    assert leverage.note is Note.AS_WRITTEN
    assert leverage.written is not None
    assert leverage.written.version.offset == 4


@pytest.mark.parametrize("more", ["", LATER])
def test_a_read_of_a_marked_user_writes_everything(tmp_path: Path, more: str) -> None:
    """``snapshot --authoritative``: the guard takes the version of the read, and a later change another one."""
    found = life(tmp_path, READ.format(leverage=300), more)
    newest = version_of(found[-1])
    history = traced(found, len(found), newest)
    assert [each.outcome for each in history.changes] == [ChangeOutcome.APPLIED] * (4 if not more else 3) + (
        [] if not more else [ChangeOutcome.FILLED, ChangeOutcome.APPLIED]
    )
    stamp = "2024-01-15T13:00:00.000Z" if more else READ_AT
    notes = noted(
        values_of(history, newest, {"leverage": "300", "group": "GOLD" if more else "VIP", "last_updated": stamp})
    )
    assert {notes[name] for name in ("leverage", "group", "last_updated")} == {Note.AS_WRITTEN}


def test_the_first_read_of_a_user_makes_the_version(tmp_path: Path) -> None:
    found = records(
        tmp_path, "## A read\n" + READ.format(leverage=200) + READ.format(leverage=200).replace("12:00", "12:30")
    )
    history = traced(found, 2, version_of(found[0]))
    assert [each.outcome for each in history.changes] == [ChangeOutcome.APPLIED, ChangeOutcome.FILLED]


def test_a_deleted_user_is_not_filled(tmp_path: Path) -> None:
    deletion = "delete live_users 123 at 2024-01-15T11:30:00.000Z\nplan\n"
    found = life(tmp_path, deletion, READ.format(leverage=200))
    history = traced(found, 6, version_of(found[4]))
    assert history.changes[-1].outcome is ChangeOutcome.OLD


def test_what_a_repair_wrote_is_changed_by_nobodys_hand(tmp_path: Path) -> None:
    """The version stays as it was."""
    history = traced(life(tmp_path), 4, version(3))
    there = ReadValues({"leverage": "7"}, None, None, {"leverage": "7"})
    state = GuardState({TABLE.table: version(3)})
    assert noted(user_values(there, history, state, TABLE, RULES))["leverage"] is Note.BEYOND


def test_a_repair_writes_when_it_was(tmp_path: Path) -> None:
    history = traced(life(tmp_path), 4, version(3))
    for stamp, note in ((READ_AT, Note.BEYOND), ("2024-01-15T09:00:00.000Z", Note.BY_HAND), ("soon", Note.BY_HAND)):
        found = values_of(history, version(3), {"last_updated": stamp, "last_balance_update": UPDATED_AT})
        assert noted(found)["last_updated"] is note
        assert noted(found)["last_balance_update"] is Note.AS_WRITTEN


class TopicStub:
    """The records before the range."""

    def __init__(self, found: Sequence[SourceRecord]) -> None:
        self._found = found

    def offset_at(self, partition: Partition, since_ms: int) -> int:
        return next((each.offset for each in self._found if each.timestamp_ms >= since_ms), len(self._found))

    def changes(self, partition: Partition, begin: int, end: int) -> Iterator[tuple[list[ChangeEvent], int]]:
        some = [parse(each, NO_SCHEMAS) for each in self._found if begin <= each.offset < end]
        yield [each for each in some if isinstance(each, ChangeEvent)], end

    def coverage(self, partition: Partition) -> Coverage:
        return Coverage(0, 0)


def test_a_range_that_begins_behind_a_delete_shows_no_second_one(tmp_path: Path) -> None:
    found = life(tmp_path, "delete live_users 123 at 2024-01-15T12:00:00.000Z\nplan\n")
    deletion = found[4]
    tombstone = SourceRecord(TOPIC, 0, 5, deletion.timestamp_ms, deletion.key, None)
    asked = (USER, RULES, NO_SCHEMAS, progress(6, version_of(deletion)))
    assert trace([tombstone], *asked, earlier=TopicStub(found)).changes == ()
    (change,) = trace([tombstone], *asked, earlier=TopicStub(found[:4])).changes
    assert change.decision.reason == "user deleted", "the delete itself was compacted away"


DEPOSIT = """## A deposit
in one database transaction
update live_users 123 at 2024-01-15T10:30:00.000Z
  wallet_balance 10 -> 510
insert user_transactions 55 at 2024-01-15T10:30:00.000Z
plan
plan
"""


def test_what_a_row_of_another_batch_may_have_told_is_not_said_as_sent(tmp_path: Path) -> None:
    found = records(tmp_path, DEPOSIT)
    history = traced(found, 9, version_of(found[0]))
    known = replace(explanation(tmp_path), history=history)
    (told,) = [line for line in text_of(known, 9).splitlines() if "TXN0001" in line and "balance_updates" in line]
    assert "if its row was read in the same batch: " in told
    assert "  with transaction_id" not in told
    changes = json.loads(to_json(known, last(known, 9)))["changes"]
    (plan,) = [each["plan"] for each in changes if "publish   balance_updates" in str(each["plan"])]
    assert any("if its row was read in the same batch: " in line for line in plan)


def test_of_a_change_that_did_nothing_no_message_is_shown(tmp_path: Path) -> None:
    first = life(tmp_path)[1]
    again = SourceRecord(TOPIC, 0, 1, first.timestamp_ms, first.key, first.value)
    history = traced([*life(tmp_path), again], 5, version(3))
    assert history.changes[-1].outcome is ChangeOutcome.OLD
    known = replace(explanation(tmp_path), history=history)
    assert "publish" not in text_of(known, 1)


def test_without_topics_nothing_is_said_to_be_right(tmp_path: Path) -> None:
    known = replace(explanation(tmp_path), history=traced([], 0, None), lacking="topics like wrong.<db>.<table>")
    assert known.problems()[0] == "no topic to read: topics like wrong.<db>.<table>"
    assert "no problem was found" not in text_of(known, 1)
