"""What is counted of a batch."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from consumer.events.record import Partition
from consumer.guard.history import Histories
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.mapping.streams import Streams
from consumer.observability.batch_counts import OUTCOMES, count_batch, outcome_of
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.protocols import Applied, RecordResult
from consumer.planning.decision import decide, decide_all
from tests.support.scenario import load_all

DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]
USERS = Partition("trading.trading.live_users", 0)


def applied(verdict: Verdict = Verdict.NEWER) -> Applied:
    return Applied(verdict, config_created=False, updated=True, cleared=3, receivers=1, stored="")


def result(offset: int, answer: Applied | None) -> RecordResult:
    record = DEPOSIT.record(offset)
    (decision,) = decide_all([record], reference())
    return RecordResult(record, decision, answer)


def dead(offset: int, *, is_told: bool = False) -> RecordResult:
    record = structs.replace(DEPOSIT.record(offset), value=b"no JSON")
    (decision,) = decide_all([record], reference())
    assert decision.error is not None
    letter = None if is_told else DeadLetter(record, decision.error, (), "group")
    # The mark of the user was applied; the record was not.
    return RecordResult(record, decision, applied(), is_dead=True, letter=letter)


def test_every_outcome_has_its_word() -> None:
    tombstone = structs.replace(DEPOSIT.record(5), value=None)
    same = replace(DEPOSIT, after=DEPOSIT.before).record(6)
    ignored, nothing = decide_all([tombstone, same], reference())
    joined = structs.replace(nothing, carrier=7)
    (other,) = decide_all([same], replace(reference(), databases=frozenset({"elsewhere"})))
    again = structs.replace(nothing, first_sent=2)
    found = [
        outcome_of(each)
        for each in (
            *(result(0, applied(verdict)) for verdict in (Verdict.NEWER, Verdict.DUPLICATE, Verdict.STALE)),
            RecordResult(same, again, None),
            RecordResult(same, joined, None),
            RecordResult(same, nothing, None),
            RecordResult(tombstone, ignored, None),
            dead(0),
            RecordResult(same, other, None),
        )
    ]
    assert found == list(OUTCOMES)
    assert outcome_of(result(0, applied(Verdict.HEALED))) == "applied"


def test_a_batch_is_counted_by_table_and_outcome() -> None:
    batch = [result(0, applied()), result(1, applied()), result(2, applied(Verdict.STALE)), dead(3)]
    found = count_batch(batch)
    assert found.changes == {
        ("live_users", "applied"): 2,
        ("live_users", "stale"): 1,
        ("live_users", "dead_letter"): 1,
    }
    assert found.dead_letters == {("live_users", "undecodable"): 1}


def test_a_letter_counts_once_though_its_record_is_read_again() -> None:
    found = count_batch([dead(3, is_told=True)])
    assert found.changes == {("live_users", "dead_letter"): 1}
    assert found.dead_letters == {}


def test_effects_and_times_are_those_of_what_was_applied() -> None:
    batch = [result(0, applied()), result(1, applied(Verdict.DUPLICATE))]
    plan = batch[0].decision.plan
    assert plan is not None
    found = count_batch(batch)
    wanted = {"config": 1, "balance": 1, "update": 1, "remove": 0, "clear": 3, "publish": len(plan.messages), "add": 0}
    assert found.effects == wanted
    assert found.committed_ms == [plan.version.ts_ms]
    assert found.appended_ms == [batch[0].record.timestamp_ms]


def test_entries_of_streams_are_counted_by_channel() -> None:
    rules = replace(reference(), streams=Streams())
    decided = decide(DEPOSIT.record(0), rules)
    assert decided.plan is not None
    found = count_batch([RecordResult(DEPOSIT.record(0), decided, applied())] * 3)
    assert found.entries == {"user_updates": 3, "balance_updates": 3}
    assert (found.effects["publish"], found.effects["add"]) == (6, 6)
    again = structs.replace(decided, plan=decided.plan.repeated())
    found = count_batch([RecordResult(DEPOSIT.record(0), again, applied())])
    assert found.entries == {"user_updates": 1, "balance_updates": 1}
    assert (found.effects["publish"], found.effects["add"]) == (0, 2)
    assert count_batch([result(0, applied())]).entries == {}


def test_an_update_of_a_hash_that_is_not_there_is_no_effect() -> None:
    assert count_batch([result(0, structs.replace(applied(), updated=False))]).effects["update"] == 0


def test_what_debezium_sends_again_is_counted_and_has_no_effect() -> None:
    first = DEPOSIT.record(0)
    again = structs.replace(first, offset=1, timestamp_ms=first.timestamp_ms + 60_000)
    decisions = decide_all([first, again], reference(), history=Histories(None, 0))
    found = count_batch([RecordResult(first, decisions[0], applied()), RecordResult(again, decisions[1], None)])
    assert found.changes == {("live_users", "applied"): 1, ("live_users", "sent_again"): 1}
    assert found.effects["config"] == 1
    assert found.committed_ms == [first.timestamp_ms - 7], "it was not committed again"


def test_a_partition_is_as_far_as_its_last_record_by_the_sources_time() -> None:
    first, last = result(0, applied()), dead(3)
    assert first.decision.event is not None
    assert count_batch([first]).reached_ms == {USERS: first.decision.event.position.ts_ms}
    assert count_batch([first, last]).reached_ms == {USERS: last.record.timestamp_ms}, "it can't be read"
