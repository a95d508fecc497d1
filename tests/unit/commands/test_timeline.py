"""What happened to a user in a range: one line a change, as sent or as planned, and why nothing was done."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from consumer.commands.explain.timeline_report import json_lines, parts, summary
from consumer.commands.shared.explain.history import GroupProgress, History, trace
from consumer.commands.shared.explain.line import line
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.timeline import SentMessage, Step, Timeline, Window, steps
from consumer.commands.shared.explain.topics import removed, with_margins
from consumer.commands.shared.finding import Level, warning
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import Partition, SourceRecord
from consumer.guard.search import Coverage
from consumer.pipeline.letter_state import Unapplied
from consumer.planning.diff import Change, Diff
from consumer.source.bounds import At, Beginning, End, Offsets, Span
from tests.unit.commands.snapshot import WIDTHS, check_text, printed
from tests.unit.commands.test_explain import RULES, TABLE, TOPIC, USER, records
from tests.unit.commands.test_explain_reads import TopicStub, version_of
from tests.unit.commands.test_letter import box, written

LIVED = """## A night
insert live_users 123 at 2024-01-15T02:59:00.000Z
  wallet_balance 10
  group VIP
plan
in one database transaction
update live_users 123 at 2024-01-15T03:02:11.000Z
  wallet_balance 10 -> 510
insert user_transactions 55 at 2024-01-15T03:02:11.000Z
plan
plan
update live_users 123 at 2024-01-15T03:04:00.000Z
  group VIP -> GOLD
  email one@example.org -> two@example.org
plan
update live_users 123 at 2024-01-15T03:05:00.000Z
  password hunter2 -> hunter3
nothing
update live_users 123 at 2024-01-15T03:06:00.000Z
  leverage 100 -> 200
plan
update live_users 124 at 2024-01-15T03:06:30.000Z
  leverage 100 -> 300
plan
update live_users 123 at 2024-01-15T03:07:00.000Z
  margin 0 -> 5
  net_profit 0 -> 7
  leverage 200 -> 500
  status 1 -> 0
plan
update live_users 123 at 2024-01-15T03:30:00.000Z
  leverage 500 -> 50
plan
"""
BEGIN, END = 1_705_287_600_000, 1_705_288_200_000  # 03:00 and 03:10
WINDOW = Window(At(BEGIN), At(END))


def night(folder: Path) -> list[SourceRecord]:
    """The records; the change of leverage to 200 can't be read, and Debezium sent the deposit again after all."""
    found = records(folder, LIVED)
    found[5] = structs.replace(found[5], value=b"{broken")
    again = structs.replace(found[1], offset=9, timestamp_ms=END - 60_000)
    return [*found[:8], again, *found[8:]]


def letters(found: Sequence[SourceRecord]) -> tuple[Unapplied, ...]:
    return tuple(box([written(0, found[5])]).open())


def traced(found: Sequence[SourceRecord], read: int = 10, newest: SourceRecord | None = None) -> History:
    dead = frozenset((found[5].place,))
    stored = {TABLE.table: version_of(newest or found[-1])}
    stored |= {"user_transactions": version_of(found[2])}
    progress = GroupProgress({Partition(TOPIC, 0): read}, stored, dead, letters=dead)
    return trace(found, USER, RULES, NO_SCHEMAS, progress, is_partial=True)


def told(found: Sequence[SourceRecord], sent: Mapping[str, Sequence[SentMessage]] | None = None) -> tuple[Step, ...]:
    changes = [each for each in traced(found).changes if WINDOW.holds(each.record)]
    return steps(changes, USER, RULES, letters(found), sent)


def test_each_change_of_the_range_and_what_followed(tmp_path: Path) -> None:
    found = told(night(tmp_path))
    assert [(each.place.offset, each.outcome) for each in found] == [
        (1, ChangeOutcome.APPLIED),
        (2, ChangeOutcome.APPLIED),
        (3, ChangeOutcome.APPLIED),
        (4, ChangeOutcome.NOTHING),
        (5, ChangeOutcome.DEAD),
        (7, ChangeOutcome.APPLIED),
        (9, ChangeOutcome.OLD),
    ]
    deposit, transaction, group, ignored, dead, healed, copy = found
    assert values(deposit) == {"wallet_balance": ("10.00", "510.00")}
    assert deposit.rules == ("financial", "balance")
    assert [each.channel for each in deposit.messages] == ["user_updates", "balance_updates"]
    assert transaction.operation == "insert"
    assert values(transaction)["status"] == (None, "completed")
    assert (values(group), group.differences.outside) == ({"group": ("VIP", "GOLD")}, ("email",))
    assert (ignored.why, ignored.messages) == ("no mapped column changed", ())
    assert (dead.why, dead.messages) == ("undecodable", ())
    assert "group_updates" in [each.channel for each in healed.messages], "it writes the whole image"
    assert (copy.why, copy.messages) == ("sent before, at offset 1: Debezium sends it again", ())


def values(step: Step) -> dict[str, tuple[str | None, str | None]]:
    return {name: (each.old, each.new) for name, each in step.differences.fields.items()}


def test_a_value_that_the_mapping_does_not_use_is_shown_nowhere(tmp_path: Path) -> None:
    shown = timeline(told(night(tmp_path)))
    texts = [printed(*parts(shown, width), width=width) for width in WIDTHS]
    for text in (*texts, "\n".join(json_lines(shown)), *(line(each, None) for each in shown.steps)):
        assert "hunter" not in text
        assert "example.org" not in text
    assert "email" in texts[-1], "that it changed was published"


def timeline(found: Sequence[Step], **more: Any) -> Timeline:
    return Timeline(USER, TABLE.table, WINDOW, tuple(found), **more)


def test_screens(tmp_path: Path) -> None:
    """One line for each change, at each width."""
    found = timeline(told(night(tmp_path)))
    for width in WIDTHS:
        text = printed(*parts(found, width), width=width)
        check_text(f"timeline.{width}.txt", text)
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) == len(found.steps) + 3, "a title, what planned means, a summary"
    check_text("timeline.pipe.txt", printed(*parts(found, None), width=80, is_terminal=False))


def sent_all(found: Sequence[Step]) -> dict[str, list[SentMessage]]:
    return {
        each.event_id: [
            SentMessage(message.channel, each.written_ms + 40, at + 1) for at, message in enumerate(each.messages)
        ]
        for each in found
        if each.messages
    }


def test_what_streams_keep_is_shown_as_it_was_sent(tmp_path: Path) -> None:
    found = night(tmp_path)
    sent = sent_all(told(found))
    shown = timeline(told(found, sent), has_streams=True)
    text = printed(*parts(shown, 120), width=120)
    check_text("timeline_sent.120.txt", text)
    assert "planned" not in text
    assert shown.steps[-1].messages == (), "a copy that was refused has the event_id of the first record"
    deposit = json.loads(next(json_lines(shown)))
    assert deposit["messages"] == [
        {"channel": "user_updates", "as": "sent", "sent": "2024-01-15T03:02:11.047Z", "receivers": 1},
        {"channel": "balance_updates", "as": "sent", "sent": "2024-01-15T03:02:11.047Z", "receivers": 2},
    ]


def test_a_message_that_no_stream_has_is_planned(tmp_path: Path) -> None:
    found = night(tmp_path)
    sent = sent_all(told(found))
    deposit = told(found)[0].event_id
    sent[deposit] = sent[deposit][:1]
    shown = timeline(told(found, sent), has_streams=True)
    assert [each.sent is not None for each in shown.steps[0].messages] == [True, False]
    text = printed(*parts(shown, 120), width=120)
    assert "sent user_updates to 1; planned balance_updates" in line(shown.steps[0], None)
    assert "planned: messages that no stream has: trimmed, or not sent" in text


def test_what_was_sent_of_a_row_that_was_not_joined_is_shown(tmp_path: Path) -> None:
    """`explain` joins rows by their times; a member that read them in two batches published each."""
    text = """## Two changes in one transaction
in one database transaction
update live_users 123 at 2024-01-15T03:02:11.000Z
  wallet_balance 10 -> 20
update live_users 123 at 2024-01-15T03:02:11.000Z
  wallet_balance 20 -> 30
plan
nothing
"""
    found = records(tmp_path, text)
    progress = GroupProgress({Partition(TOPIC, 0): 2}, {TABLE.table: version_of(found[-1])})
    changes = trace(found, USER, RULES, NO_SCHEMAS, progress).changes
    (joined,) = [each for each in steps(changes, USER, RULES) if each.outcome is ChangeOutcome.JOINED]
    assert joined.messages == ()
    sent = {joined.event_id: [SentMessage("user_updates", BEGIN, 3)]}
    (joined,) = [each for each in steps(changes, USER, RULES, (), sent) if each.outcome is ChangeOutcome.JOINED]
    assert "; sent user_updates to 3" in line(joined, None)


def test_json_has_a_line_for_each_change_and_one_for_all(tmp_path: Path) -> None:
    *changes, end = [json.loads(each) for each in json_lines(timeline(told(night(tmp_path))))]
    assert [each["part"] for each in changes] == ["change"] * 7
    group, dead, copy = changes[2], changes[4], changes[6]
    assert group["columns"] == [{"name": "group", "old": "VIP", "new": "GOLD"}]
    assert (group["columns_without_values"], group["outcome"]) == (["email"], "applied")
    assert [each["as"] for each in group["messages"]] == ["planned"] * 3
    assert (dead["outcome"], dead["why"], dead["committed"]) == ("dead letter", "undecodable", None)
    assert (copy["outcome"], copy["committed"]) == ("refused", "2024-01-15T03:02:11.000Z")
    assert {name: end[name] for name in ("part", "from", "to", "level", "changes")} == {
        "part": "summary",
        "from": "2024-01-15T03:00:00.000Z",
        "to": "2024-01-15T03:10:00.000Z",
        "level": "failure",
        "changes": 7,
    }
    assert end["outcomes"] == {"applied": 4, "nothing": 1, "dead letter": 1, "refused": 1}


def test_an_empty_range_is_said_and_so_is_what_was_removed() -> None:
    assert summary(timeline(())).text == "ok: no change in this range"
    gone = warning("topic trading.trading.live_users", "retention may have removed records", "keep them longer")
    shown = timeline((), findings=(gone,))
    for width in WIDTHS:
        check_text(f"timeline_gone.{width}.txt", printed(*parts(shown, width), width=width))
    assert (summary(shown).level, summary(shown).text) == (
        Level.WARNING,
        "ok, with warnings: no change in this range",
    )
    assert "retention may have removed records" in printed(*parts(shown, 80), width=80)
    (end,) = [json.loads(each) for each in json_lines(shown)]
    assert end["problems"][0]["found"] == "retention may have removed records"


def test_a_change_that_waits_and_one_that_redis_lost(tmp_path: Path) -> None:
    found = night(tmp_path)
    waiting = [each.outcome for each in traced(found, read=4, newest=found[3]).changes][-1]
    missed = [each.outcome for each in traced(found, read=11, newest=found[3]).changes][-1]
    assert (waiting, missed) == (ChangeOutcome.PENDING, ChangeOutcome.MISSED)
    texts = [line(steps(traced(found, read=read, newest=found[3]).changes, USER, RULES)[-1], 120) for read in (4, 11)]
    assert "pending: the consumer has not reached it" in texts[0]
    assert "missed: it was read and is not in Redis: Redis lost it, or its version" in texts[1]


def test_a_plan_that_redis_refused_is_a_dead_letter_and_the_next_change_writes_everything(tmp_path: Path) -> None:
    found = records(tmp_path, LIVED)
    place = found[3].place
    progress = GroupProgress(
        {Partition(TOPIC, 0): 9}, {TABLE.table: version_of(found[-1])}, frozenset((place,)), letters=frozenset((place,))
    )
    dead, healed = trace(found, USER, RULES, NO_SCHEMAS, progress).changes[3:6:2]
    assert dead.outcome is ChangeOutcome.DEAD
    assert healed.plan is not None
    assert "group_updates" in [each.channel for each in healed.plan.messages]


def test_a_row_that_was_read_in_a_range_filled_what_was_missing(tmp_path: Path) -> None:
    """What came before the range is not known."""
    read = """## A read
incremental live_users 123 at 2024-01-15T03:00:00.000Z
  wallet_balance 20
plan
"""
    found = records(tmp_path, read)
    newer = structs.replace(version_of(found[0]), offset=7)
    progress = GroupProgress({Partition(TOPIC, 0): 9}, {TABLE.table: newer})
    for is_partial, outcome in ((True, ChangeOutcome.FILLED), (False, ChangeOutcome.APPLIED)):
        (change,) = trace(found, USER, RULES, NO_SCHEMAS, progress, is_partial=is_partial).changes
        assert change.outcome is outcome


@pytest.mark.parametrize(
    ("window", "offsets"),
    [
        (Window(), [0, 1, 3, 8]),
        (Window(At(BEGIN), At(END)), [1, 3]),
        (Window(At(BEGIN)), [1, 3, 8]),
        (Window(end=At(BEGIN + 131_007)), [0]),
        (Window(Offsets({Partition(TOPIC, 0): 1}), Offsets({Partition(TOPIC, 0): 8})), [1, 3]),
        (Window(Offsets({Partition(TOPIC, 1): 1})), []),
        (Window(end=Offsets({Partition(TOPIC, 1): 1})), []),
    ],
)
def test_which_records_are_shown(tmp_path: Path, window: Window, offsets: list[int]) -> None:
    found = [each for each in records(tmp_path, LIVED) if each.offset in (0, 1, 3, 8)]
    assert [each.offset for each in found if window.holds(each)] == offsets


def test_more_is_read_than_is_shown_because_a_transaction_may_lie_across_a_bound() -> None:
    assert with_margins(WINDOW) == Window(At(BEGIN - 2000), At(END + 2000))
    assert with_margins(Window(At(5), End())) == Window(At(0), End())
    assert with_margins(Window()) == Window(Beginning(), End())


class Kept(TopicStub):
    """A topic of two partitions: of the first everything before a time was removed."""

    def coverage(self, partition: Partition) -> Coverage:
        return Coverage(0, 0 if partition.number else BEGIN + 5)


@pytest.mark.parametrize(("begin", "gone"), [(BEGIN, {TOPIC: BEGIN + 5}), (BEGIN + 5, {}), (BEGIN + 6, {})])
def test_a_range_that_retention_has_removed_is_noticed(begin: int, gone: dict[str, int]) -> None:
    spans = [Span(TOPIC, 0, 0, 0), Span(TOPIC, 1, 0, 0)]
    assert removed(spans, Kept([]), begin) == gone


def test_a_change_that_debezium_wrote_late_says_when_it_was_committed(tmp_path: Path) -> None:
    found = records(tmp_path, LIVED)
    late = structs.replace(found[3], timestamp_ms=found[3].timestamp_ms + 3_600_000)
    (step,) = steps(traced([*found[:3], late, *found[4:]]).changes[3:4], USER, RULES)
    assert line(step, 120, "2024-01-15").endswith("; committed 2024-01-15T03:04:00Z")
    (step,) = steps(traced(found).changes[3:4], USER, RULES)
    assert "committed" not in line(step, 120)


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (None, "", "NULL → ''"),
        ("a b", "c", "'a b' → c"),
        ("a\nb", "\x1b[2J", r"'a\nb' → '\x1b[2J'"),
    ],
)
def test_a_value_is_on_one_line_and_no_command_for_the_terminal(
    tmp_path: Path, old: str | None, new: str, shown: str
) -> None:
    step = replace(told(night(tmp_path))[0], differences=Diff({"group": Change(old, new)}, ()))
    for width in (80, None):
        assert f"group {shown}; " in line(step, width, "2024-01-15", TABLE.table)


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_no_word_is_broken_on_a_narrow_screen(tmp_path: Path, width: int) -> None:
    for step in told(night(tmp_path)):
        words = set(re.findall(r"[a-z_]+", line(step, None)))
        shown = set(re.findall(r"[a-z_]+", line(step, width, "2024-01-15", TABLE.table)))
        assert shown <= words
