"""A rebuild of topics whose names do not tell the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from consumer.commands.replay.partition import Folding, PartitionFold
from consumer.commands.replay.summary import Summary, UserCounts, to_text
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.planning.decision import Outcome, decide_all
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode
from consumer.source import recording
from tests.support.scenario import load_all
from tests.unit.commands.test_fold import Memory

FIELD = Path(__file__).parents[2] / "recordings" / "field"
TOPIC = "cdc.users"
GOOD, BAD, BETTER = recording.read(FIELD / "y2-unreadable-in-routed-topic.jsonl")
NEW_DEMO = next(each for each in load_all() if each.title.startswith("A new demo user")).changes[0]


def demo(offset: int, user_id: int = 7) -> SourceRecord:
    assert NEW_DEMO.after is not None
    record = replace(NEW_DEMO, user_id=user_id, after=NEW_DEMO.after | {"id": user_id}).record(0)
    return structs.replace(record, topic=TOPIC, offset=offset)


def folded(
    records: Sequence[SourceRecord], known: Sequence[str] = (), rules: Rules | None = None, topic: str = TOPIC
) -> tuple[PartitionFold, list[Plan]]:
    fold = PartitionFold(0, {topic: known}, Folding(rules or reference()), Memory)
    for record in records:
        fold.add(topic, [record])
    return fold, list(fold.plans())


def told(plans: Sequence[Plan]) -> set[tuple[str, str, Mode]]:
    return {(str(plan.user), plan.table, plan.mode) for plan in plans}


@pytest.mark.parametrize("known", [(), ("live_users",), ("demo_users", "live_users")])
def test_each_row_goes_to_the_table_that_it_names(known: tuple[str, ...]) -> None:
    fold, plans = folded([GOOD, demo(1), BETTER], known)
    assert told(plans) == {("live:7", "live_users", Mode.REBUILD), ("demo:7", "demo_users", Mode.REBUILD)}
    balances = {str(plan.user): plan.balance.value for plan in plans if plan.balance is not None}
    assert balances["live:7"] == "2000.00"
    assert fold.rejections.count == 0


@pytest.mark.parametrize("known", [(), ("live_users",), ("demo_users", "live_users")])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1)], ids=["between", "first", "last"])
def test_what_can_not_be_read_counts_once_and_marks_the_user_of_each_table(
    known: tuple[str, ...], order: tuple[int, ...]
) -> None:
    records = [(BAD, GOOD, demo(0))[each] for each in order]
    records = [structs.replace(each, offset=at) for at, each in enumerate(records)]
    fold, plans = folded(records, known)
    marks = {found for found in told(plans) if found[2] is Mode.MARK}
    assert marks == {("live:7", "live_users", Mode.MARK), ("demo:7", "demo_users", Mode.MARK)}
    assert fold.rejections.count == 1
    assert len(fold.rejections.first) == 1


def test_rows_of_another_database_are_left_out_and_counted() -> None:
    production, restored = recording.read(FIELD / "u-two-databases.jsonl")
    records = [structs.replace(each, topic=TOPIC, offset=at) for at, each in enumerate((production, restored))]
    rules = replace(reference(), databases=frozenset({"trading"}))
    fold, plans = folded(records, rules=rules)
    ((balance),) = [plan.balance.value for plan in plans if plan.balance is not None]
    assert balance == "1000.00"
    assert (fold.others, fold.rejections.count) == (1, 0)


def test_in_a_topic_of_debeziums_name_they_can_not_be_used_and_mark_nobody() -> None:
    production, restored = recording.read(FIELD / "u-two-databases.jsonl")
    topic = production.topic
    rules = replace(reference(), databases=frozenset({"trading"}))
    fold, plans = folded([production, structs.replace(restored, topic=topic, offset=1)], (), rules, topic)
    assert told(plans) == {("live:7", "live_users", Mode.REBUILD)}
    assert fold.rejections.count == 1
    assert "trading_restore" in fold.rejections.first[0]


def test_a_table_that_no_rule_names_can_not_be_used() -> None:
    other = structs.replace(GOOD, value=(GOOD.value or b"").replace(b'"table": "live_users"', b'"table": "others"'))
    fold, plans = folded([other], ("live_users",))
    assert (plans, fold.rejections.count) == ([], 1)
    assert "no rule names the table 'others'" in fold.rejections.first[0]


def test_only_the_tables_that_were_asked_for() -> None:
    fold = PartitionFold(0, {TOPIC: ()}, Folding(reference(), of_tables=frozenset({"demo_users"})), Memory)
    fold.add(TOPIC, [GOOD, demo(1), BETTER])
    assert told(list(fold.plans())) == {("demo:7", "demo_users", Mode.REBUILD)}


DEPOSIT = next(each for each in load_all() if each.title.startswith("An admin deposit"))


def test_the_plans_of_a_user_come_together_and_count_as_one_user() -> None:
    """Of three users: the row and a transaction of two of them, and a transaction of one who has no row."""
    fold = PartitionFold(0, {}, Folding(reference()), Memory)
    offset = 0
    for number in (1, 2, 3):
        for change in DEPOSIT.changes:
            assert change.after is not None
            column = "id" if change.table == "live_users" else "user_id"
            if number == 3 and column == "id":
                continue
            row = replace(change, after=change.after | {column: number})
            fold.add(f"trading.trading.{change.table}", [structs.replace(row.record(offset), offset=offset)])
            offset += 1
    users = [str(plan.user) for plan in fold.plans()]
    assert users == ["live:1", "live:1", "live:2", "live:2", "live:3"]
    summary = Summary()
    counted = UserCounts(summary)
    for user, became in zip(
        users, ["right already", "corrected", "created", "corrected", "right already"], strict=True
    ):
        counted.add(user, became)
    counted.end()
    assert summary.counts == {"corrected": 1, "created": 1, "right already": 1}
    assert "users:" in to_text(summary, "rebuild", is_dry=False).splitlines()


@pytest.mark.parametrize("known", [(), ("live_users", "demo_users")])
def test_records_that_were_given_up_do_not_count(known: tuple[str, ...]) -> None:
    settled = frozenset({BAD.place})
    fold = PartitionFold(0, {TOPIC: known}, Folding(reference(), settled=settled), Memory)
    fold.add(TOPIC, [GOOD, BAD])
    list(fold.plans())
    assert (fold.rejections.count, fold.rejections.given_up) == (0, {BAD.place})
    assert Mode.MARK in {plan.mode for plan in fold.plans()}, "what the record changed is lost all the same"


def test_a_tombstone_counts_only_where_the_topic_has_one_table() -> None:
    """As ``run`` decides: elsewhere the table of a tombstone is not known."""
    lone = structs.replace(GOOD, value=None, offset=5)
    _, plans = folded([lone], ("live_users",))
    assert told(plans) == {("live:7", "live_users", Mode.REBUILD)}
    assert plans[0].removed is not None
    assert folded([lone], ("demo_users", "live_users"))[1] == []
    assert folded([lone])[1] == []


def of_other_database() -> list[SourceRecord]:
    """A user of the consumed database, and behind it the delete of one with the same id in another one."""
    production, restored = recording.read(FIELD / "u-two-databases.jsonl")
    row = json.loads(restored.value or b"")
    deleted = json.dumps(row | {"op": "d", "before": row["after"], "after": None}).encode()
    values = (production.value, deleted, None)
    return [
        structs.replace(production, topic=TOPIC, key=restored.key, offset=at, value=value)
        for at, value in enumerate(values)
    ]


def test_the_tombstone_of_another_database_deletes_nobody() -> None:
    rules = replace(reference(), databases=frozenset({"trading"}))
    fold, plans = folded(of_other_database(), ("live_users",), rules)
    assert [plan.removed for plan in plans] == [None]
    assert fold.others == 1


def test_nor_does_it_in_the_stream() -> None:
    rules = replace(reference(), databases=frozenset({"trading"}))
    tables, sent = TopicTables(rules.captured(), [(TOPIC, "live_users")]), Histories(None, 5000)
    decided = [decide_all([each], rules, tables=tables, history=sent)[0] for each in of_other_database()]
    assert [each.outcome for each in decided] == [Outcome.PLANNED, Outcome.IGNORED, Outcome.IGNORED]
