"""A user's records to what became of each, and to which of them set what stands in Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from consumer.commands.explain import overview
from consumer.commands.explain.report import parts as report_parts
from consumer.commands.explain.report import summary, to_json
from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.history import Change, GroupProgress, History, trace
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.timeline import steps
from consumer.commands.shared.explain.user_values import Note, ReadValues, UserValues, user_values
from consumer.errors import Place
from consumer.events.avro import NO_SCHEMAS
from consumer.events.position import Origin
from consumer.events.record import Partition, SourceRecord
from consumer.guard.state import GuardState
from consumer.guard.version import Version
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.sink.view import StoredUser
from tests.support.scenario import load
from tests.unit.commands.snapshot import WIDTHS, check_text, printed

RULES = reference()
TABLE = RULES.tables[0]
USER = UserId("live", 123)
TOPIC = "trading.trading.live_users"
LIVED = """## A life
insert live_users 123 at 2024-01-15T10:00:00.000Z
  wallet_balance 10
  group VIP
plan
update live_users 123 at 2024-01-15T10:30:00.000Z
  leverage 100 -> 200
plan
update live_users 124 at 2024-01-15T10:31:00.000Z
  leverage 100 -> 300
plan
update live_users 123 at 2024-01-15T11:00:00.000Z
  wallet_balance 10 -> 20
  leverage 200 -> 200
plan
"""


def records(folder: Path, text: str = LIVED) -> list[SourceRecord]:
    (folder / "one.txt").write_text(text)
    (scenario,) = load(folder / "one.txt")
    return scenario.records()


def version(offset: int) -> Version:
    """Of the life's change at ``offset``; of a later one of the same day behind them."""
    time = {0: "10:00", 1: "10:30", 2: "10:31", 3: "11:00", 4: "12:00"}.get(offset, "13:00")
    ts_ms = round(datetime.fromisoformat(f"2024-01-15T{time}:00Z").timestamp() * 1000)
    return Version(0, Origin.STREAMED, ts_ms + 7, ts_ms, TOPIC, 0, offset)


def traced(found: list[SourceRecord], read: int, stored: Version | None) -> History:
    versions = {} if stored is None else {TABLE.table: stored}
    return trace(found, USER, RULES, NO_SCHEMAS, GroupProgress({Partition(TOPIC, 0): read}, versions))


def values_of(history: History, guard: Version | None, config: Mapping[str, str], **there: str) -> UserValues:
    state = GuardState({} if guard is None else {TABLE.table: guard})
    found = ReadValues(dict(config), None, there.get("balance"), None)
    return user_values(found, history, state, TABLE, RULES)


def noted(found: UserValues) -> dict[str, Note]:
    return {each.name: each.note for each in found.config}


def test_each_field_has_the_change_that_set_it_last(tmp_path: Path) -> None:
    history = traced(records(tmp_path), 4, version(3))
    assert [(each.record.offset, each.outcome) for each in history.changes] == [
        (0, ChangeOutcome.APPLIED),
        (1, ChangeOutcome.APPLIED),
        (3, ChangeOutcome.APPLIED),
    ]
    values = history.written.config
    assert {name: values[name].version.offset for name in ("group", "leverage", "wallet_balance")} == {
        "group": 0,
        "leverage": 1,
        "wallet_balance": 3,
    }
    assert values["leverage"].value == "200"
    assert values["last_balance_update"].value == "2024-01-15T11:00:00.000Z"
    assert history.written.balance is not None
    assert history.written.balance.value == "20.00"


def test_what_the_group_has_not_come_to_is_pending(tmp_path: Path) -> None:
    history = traced(records(tmp_path), 1, version(0))
    assert [each.outcome for each in history.changes] == [
        ChangeOutcome.APPLIED,
        ChangeOutcome.PENDING,
        ChangeOutcome.PENDING,
    ]
    assert history.written.config["leverage"].version.offset == 0


def test_the_version_tells_more_than_the_offset(tmp_path: Path) -> None:
    """The offset is committed a moment after Redis has the change; and Redis may lose what was committed."""
    assert traced(records(tmp_path), 0, version(3)).of(ChangeOutcome.PENDING) == []
    history = traced(records(tmp_path), 4, version(1))
    assert [each.outcome for each in history.changes] == [
        ChangeOutcome.APPLIED,
        ChangeOutcome.APPLIED,
        ChangeOutcome.MISSED,
    ]


def test_a_record_that_came_twice_counts_once(tmp_path: Path) -> None:
    found = records(tmp_path)
    first = found[1]
    again = SourceRecord(TOPIC, 0, 4, first.timestamp_ms + 3_600_000, first.key, first.value)
    history = traced([*found, again], 5, version(3))
    assert [each.outcome for each in history.changes] == [
        ChangeOutcome.APPLIED,
        ChangeOutcome.APPLIED,
        ChangeOutcome.APPLIED,
        ChangeOutcome.OLD,
    ]
    assert history.changes[-1].decision.first_sent == 1
    assert history.written.config["leverage"].version.offset == 1


def test_the_change_behind_a_dead_letter_writes_everything(tmp_path: Path) -> None:
    found = records(tmp_path)
    found[1] = SourceRecord(TOPIC, 0, 1, found[1].timestamp_ms, found[1].key, b"{broken")
    history = traced(found, 4, version(3))
    assert [each.outcome for each in history.changes] == [
        ChangeOutcome.APPLIED,
        ChangeOutcome.DEAD,
        ChangeOutcome.APPLIED,
    ]
    assert history.written.config["group"].version.offset == 3


def test_a_deleted_user_keeps_nothing(tmp_path: Path) -> None:
    found = records(tmp_path, LIVED + "delete live_users 123 at 2024-01-15T12:00:00.000Z\nplan\n")
    history = traced(found, 5, version(4))
    assert (history.written.config, history.written.balance) == ({}, None)
    assert history.written.removed is not None


def test_a_value_that_no_change_wrote_was_changed_by_hand(tmp_path: Path) -> None:
    history = traced(records(tmp_path), 4, version(3))
    found = values_of(history, version(3), {"group": "GOLD", "leverage": "200", "nickname": "x"}, balance="20.00")
    notes = noted(found)
    assert (notes["group"], notes["leverage"], notes["margin"]) == (Note.BY_HAND, Note.AS_WRITTEN, Note.GONE)
    assert found.others == ("nickname",)
    assert found.balance is not None
    assert found.balance.note is Note.AS_WRITTEN


def test_a_version_that_the_topics_do_not_tell_wrote_what_they_do_not(tmp_path: Path) -> None:
    """The changes that were applied last are not in the topics any more, or not in the range that was read."""
    history = traced(records(tmp_path), 10, version(9))
    notes = noted(values_of(history, version(9), {"group": "GOLD", "leverage": "200"}))
    assert (notes["group"], notes["leverage"]) == (Note.BEYOND, Note.AS_WRITTEN)


def test_without_records_nothing_is_known(tmp_path: Path) -> None:
    history = traced([], 0, None)
    assert noted(values_of(history, None, {"group": "GOLD"})) == {"group": Note.UNTOLD}


def explanation(folder: Path, *, in_database: bool = True) -> Explanation:
    history = traced(records(folder), 3, version(1))
    guard = GuardState(
        {TABLE.table: version(1)}, marks={TABLE.table: Place(TOPIC, 0, 2)}, kept={"last_transaction_id": "TX1"}
    )
    config = {"group": "GOLD", "leverage": "200", "email": "somebody@example.org"}
    there = ReadValues(config, None, "10.00", {"group": "VIP", "leverage": "200", "wallet_balance": "20.00"})
    return Explanation(
        user=USER,
        stored_user=StoredUser(config, None, "10.00", 60, guard),
        user_values=user_values(there, history, guard, TABLE, RULES),
        history=history,
        letters=(),
        knows_database=True,
        is_in_database=in_database,
        names=RULES.names,
    )


def last(known: Explanation, count: int) -> Sequence[Change]:
    return known.history.changes[-count:]


def text_of(known: Explanation, count: int) -> str:
    """The full form in a pipe, with the plans of the last ``count`` changes."""
    shown = report_parts(known, last(known, count), len(known.history.changes))
    return "\n".join(part.plain for part in shown)


def test_problems_come_first(tmp_path: Path) -> None:
    text = text_of(explanation(tmp_path), 1)
    assert text.splitlines()[:4] == [
        "live:123",
        "  ! not as in the database: wallet_balance, group, balance",
        "  ! changed by hand, or by another program: group",
        "  ! written before, and gone: "
        + ", ".join(each.name for each in explanation(tmp_path).user_values.config if each.note is Note.GONE),
    ]
    assert "records that the consumer has not reached: 1" in text
    assert "  group                    'GOLD'  !! database 'VIP'" in text
    assert "changed by hand: 'VIP' was written by trading.trading.live_users[0]@0" in text
    assert "leverage                 '200'  as in the database" in text
    assert "the last 1 of 3 changes" in text
    assert "incomplete since trading.trading.live_users[0]@2" in text
    assert "kept until the config hash exists: last_transaction_id" in text


def test_an_emptied_redis_is_named_before_everything_that_follows_from_it(tmp_path: Path) -> None:
    known = explanation(tmp_path)
    said = "Redis was emptied, and is not rebuilt yet: cdc-consumer replay --rebuild --yes"
    assert replace(known, is_emptied=True).problems() == [said, *known.problems()]
    assert said not in known.problems()


def test_what_is_left_of_a_user_is_wrong_and_nobody_is_not(tmp_path: Path) -> None:
    known = explanation(tmp_path, in_database=False)
    left = replace(known, stored_user=replace(known.stored_user, config=None, portfolio={"equity": "1"}))
    assert "the database has no such user, but Redis does: balance string, portfolio hash" in left.problems()
    history = traced([], 0, None)
    nothing = StoredUser(None, None, None, None, GuardState({}))
    nobody = replace(known, stored_user=nothing, history=history, user_values=UserValues((), (), None, ()))
    assert nobody.problems() == []
    assert "  the user is neither in the database nor in Redis" in text_of(nobody, 1).splitlines()


def test_a_wrong_balance_is_told_without_a_hash_and_a_portfolio_by_its_name(tmp_path: Path) -> None:
    history = traced(records(tmp_path), 4, version(3))
    guard = GuardState({TABLE.table: version(3)})
    database = {"wallet_balance": "20.00", "group": "VIP"}
    there = ReadValues(None, {"wallet_balance": "5.00", "equity": "2"}, "0.01", database)
    found = user_values(there, history, guard, TABLE, RULES)
    assert found.wrong() == ["portfolio.wallet_balance", "balance"]
    assert found.noted(Note.GONE) == []


def test_fields_of_others_are_named_and_not_shown(tmp_path: Path) -> None:
    known = explanation(tmp_path)
    for told in (text_of(known, 5), to_json(known, last(known, 5))):
        assert "email" in told
        assert "somebody" not in told


def test_json_says_the_same(tmp_path: Path) -> None:
    told = json.loads(to_json(explanation(tmp_path), last(explanation(tmp_path), 5)))
    assert told["problems"] == explanation(tmp_path).problems()
    (group,) = [each for each in told["config"] if each["field"] == "group"]
    assert (group["redis"], group["database"], group["note"]) == ("GOLD", "VIP", "changed by hand")
    assert (group["set_by"]["record"], group["set_by"]["value"]) == (f"{TOPIC}[0]@0", "VIP")
    assert [each["record"] for each in told["pending"]] == [f"{TOPIC}[0]@3"]
    assert [each["fate"] for each in told["changes"]] == ["applied", "applied", "pending"]
    assert told["marks"] == {TABLE.table: f"{TOPIC}[0]@2"}


def test_an_orphan_is_named_first(tmp_path: Path) -> None:
    known = explanation(tmp_path, in_database=False)
    assert known.problems()[0] == "the database has no such user, but Redis does: config hash, balance string"
    there = replace(known.stored_user, config=None, others=("user:{live:123}:config",))
    gone = replace(known, stored_user=there, is_in_database=True)
    assert gone.problems()[:2] == [
        "of another type than it should be: user:{live:123}:config",
        "there is no config hash: services ask the database instead",
    ]


def test_screens(tmp_path: Path) -> None:
    """The short form and the full one, at each width and in a pipe."""
    known = explanation(tmp_path)
    known = replace(known, steps=steps(known.history.changes, USER, RULES))
    for width in (*WIDTHS, None):
        short = overview.parts(known, TABLE.table, width)
        full = [*report_parts(known, last(known, 5), len(known.history.changes)), summary(known)]
        for name, parts in (("explain", short), ("explain_full", full)):
            text = printed(*parts, width=width or 80, is_terminal=width is not None)
            check_text(f"{name}.{width or 'pipe'}.txt", text)
            assert width is None or max(map(len, text.splitlines())) <= width
            whole = printed(*parts, width=1000, is_terminal=width is not None)
            assert set(text.split()) <= set(whole.split()), "no word is broken"


def test_nobody_and_a_user_without_a_database_in_the_short_form(tmp_path: Path) -> None:
    known = explanation(tmp_path, in_database=False)
    nothing = StoredUser(None, None, None, None, GuardState({}))
    nobody = replace(known, stored_user=nothing, history=traced([], 0, None), user_values=UserValues((), (), None, ()))
    text = printed(*overview.parts(nobody, TABLE.table, 80), width=80)
    assert "the user is neither in the database nor in Redis" in text
    assert "config hash: does not exist" in text
    asked_nobody = replace(known, knows_database=False)
    assert "the database was not asked" in printed(*overview.parts(asked_nobody, TABLE.table, 80), width=80)
