"""What counts as a difference, why it is there, and how it is told."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from consumer.commands.audit.cause import WHY, Cause, Evidence, cause_of
from consumer.commands.audit.differing_user import DifferingUser, Shape, UserDifference
from consumer.commands.audit.differing_user import user_differences as differences_of_table
from consumer.commands.audit.exported import AuditMetrics
from consumer.commands.audit.finding import AuditResult, Finding, summary_json, summary_text, to_json, to_text
from consumer.commands.audit.watch import Known
from consumer.events.event import RowImage
from consumer.events.position import Origin, SourcePosition
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.planning.database_row import DatabaseRow
from consumer.planning.effect import Plan
from consumer.planning.rebuild import rebuild_read
from consumer.sink.comparison import StoredKeys

RULES = reference()
TABLE = RULES.tables[0]
USER = UserId("live", 7)
CONFIG, BALANCE, PORTFOLIO = "user:{live:7}:config", "user_balance:live:7", "user:{live:7}:portfolio"
BINLOG = "0000000001/00000000000000000004/0000000000"
PLACE = SourcePosition("mysql", "1", f"{BINLOG}/0000000000", BINLOG, 1_000, Origin.SNAPSHOT)
ROW: RowImage = {
    **dict.fromkeys((column.name for column in TABLE.columns), None),
    "id": 7,
    "wallet_balance": "10",
    "margin": "0",
    "net_profit": "0",
    "leverage": 100,
    "group": "VIP",
}

LEVERAGE = UserDifference(Shape.DIFFERS, CONFIG, "leverage", "999", "100")
MISSING = UserDifference(Shape.ABSENT, CONFIG)
LEFT = UserDifference(Shape.LEFT, CONFIG)
SURE = Evidence(
    has_version=True,
    is_deleted=False,
    image={"leverage": "100"},
    is_lost=False,
    is_behind=False,
    connector_passed=True,
)


def plan_of(row: RowImage | None) -> Plan:
    return rebuild_read(DatabaseRow(TABLE.table, 7, row, PLACE), TABLE, RULES)


def user_differences(plan: Plan, stored: StoredKeys) -> frozenset[UserDifference]:
    return differences_of_table(plan, stored, TABLE, RULES)


def right() -> StoredKeys:
    plan = plan_of(ROW)
    assert plan.config is not None
    return StoredKeys(config=dict(plan.config.changed) | dict.fromkeys(plan.config.gone), balance="10.00")


def test_what_is_as_the_row_says_is_not_odd() -> None:
    assert user_differences(plan_of(ROW), right()) == frozenset()


def test_each_field_that_differs_is_odd_by_itself() -> None:
    there = replace(right(), config={**(right().config or {}), "leverage": "999", "group": None}, balance="9.00")
    assert user_differences(plan_of(ROW), there) == {
        LEVERAGE,
        UserDifference(Shape.ABSENT, CONFIG, "group", None, "VIP"),
        UserDifference(Shape.DIFFERS, BALANCE, "", "9.00", "10.00"),
    }


def test_a_hash_that_is_gone_is_one_difference_and_an_expired_balance_none() -> None:
    assert user_differences(plan_of(ROW), StoredKeys()) == {MISSING}
    assert user_differences(plan_of(ROW), replace(right(), balance=None)) == frozenset()


def test_of_a_portfolio_only_what_its_owner_keeps_of_ours_counts() -> None:
    there = {"wallet_balance": "9.00", "group": None}
    assert user_differences(plan_of(ROW), replace(right(), update=there)) == {
        UserDifference(Shape.DIFFERS, PORTFOLIO, "wallet_balance", "9.00", "10.00")
    }


def test_keys_of_a_user_whom_the_database_does_not_have() -> None:
    assert user_differences(plan_of(None), StoredKeys(present=(CONFIG,))) == {LEFT}
    assert user_differences(plan_of(None), StoredKeys()) == frozenset()


def test_a_key_of_another_type() -> None:
    assert user_differences(plan_of(ROW), replace(right(), config=None, others=(CONFIG,))) == {
        UserDifference(Shape.TYPE, CONFIG)
    }


def test_only_what_is_exactly_the_same_stays_suspected() -> None:
    moved = replace(LEVERAGE, should_be="200")
    differing = DifferingUser(USER, TABLE, frozenset({LEVERAGE, MISSING}), 5)
    assert differing.seen_again(frozenset({moved, MISSING})) == replace(differing, differences=frozenset({MISSING}))


@pytest.mark.parametrize(
    ("difference", "changes", "expected"),
    [
        (LEVERAGE, {}, Cause.OVERWRITTEN),
        (LEVERAGE, {"is_behind": True}, Cause.OVERWRITTEN),
        (LEVERAGE, {"image": {"leverage": "50"}}, Cause.NOT_SENT),
        (LEVERAGE, {"image": {"leverage": "50"}, "connector_passed": False}, Cause.CONNECTOR_BEHIND),
        (LEVERAGE, {"image": {"leverage": "50"}, "is_behind": True}, Cause.BEHIND),
        (LEVERAGE, {"image": {}}, Cause.COLUMN_NOT_SENT),
        (replace(LEVERAGE, should_be=None), {"image": {}}, Cause.OVERWRITTEN),
        (LEVERAGE, {"image": None}, Cause.UNKNOWN),
        (LEVERAGE, {"image": None, "is_behind": True}, Cause.BEHIND),
        (LEVERAGE, {"is_lost": True}, Cause.DEAD_LETTER),
        (LEVERAGE, {"is_emptied": True}, Cause.REDIS_EMPTIED),
        (MISSING, {"is_emptied": True, "has_version": False, "image": None, "is_lost": True}, Cause.REDIS_EMPTIED),
        (LEVERAGE, {"is_given_up": True}, Cause.OVERWRITTEN),
        (LEVERAGE, {"is_given_up": True, "image": {"leverage": "50"}}, Cause.GIVEN_UP),
        (LEVERAGE, {"is_given_up": True, "image": {"leverage": "50"}, "is_lost": True}, Cause.DEAD_LETTER),
        (LEVERAGE, {"is_given_up": True, "image": {"leverage": "50"}, "is_behind": True}, Cause.BEHIND),
        (MISSING, {"is_given_up": True, "has_version": False, "image": None}, Cause.GIVEN_UP),
        (MISSING, {"is_given_up": True}, Cause.EVICTED),
        (LEFT, {"is_given_up": True}, Cause.GIVEN_UP),
        (LEVERAGE, {"has_version": False, "image": None}, Cause.NO_VERSION),
        (LEVERAGE, {"is_deleted": True, "image": None}, Cause.NOT_SENT),
        (MISSING, {}, Cause.EVICTED),
        (MISSING, {"has_version": False, "image": None}, Cause.NEVER_SEEN),
        (MISSING, {"has_version": False, "image": None, "is_behind": True}, Cause.BEHIND),
        (LEFT, {"has_version": False, "image": None}, Cause.FOREIGN),
        (LEFT, {"is_deleted": True}, Cause.CAME_BACK),
        (LEFT, {"is_behind": True}, Cause.BEHIND),
        (LEFT, {}, Cause.NOT_SENT),
        (UserDifference(Shape.TYPE, CONFIG), {"is_lost": True}, Cause.WRONG_TYPE),
    ],
)
def test_causes(difference: UserDifference, changes: dict[str, object], expected: Cause) -> None:
    assert cause_of(difference, difference.field, replace(SURE, **changes)) is expected  # type: ignore[arg-type]


def test_every_cause_is_said_in_words() -> None:
    assert WHY.keys() == set(Cause)


def finding(
    difference: UserDifference = LEVERAGE, cause: Cause = Cause.OVERWRITTEN, *, is_mended: bool = False
) -> Finding:
    return Finding(USER, TABLE.table, difference, cause, 1_700_000_000_000, "version t[0]@5", is_mended)


def test_a_user_counts_once_by_the_first_cause() -> None:
    result = AuditResult(users=1000)
    result.add([finding(), finding(MISSING, Cause.DEAD_LETTER)])
    assert dict(result.wrong) == {Cause.DEAD_LETTER: 1}
    assert result.share_right == 0.999
    assert math.isclose(result.nines, 3)
    assert not result.is_clean


def test_what_was_mended_whole_does_not_remain() -> None:
    result = AuditResult(users=2)
    result.add([finding(is_mended=True), finding(MISSING)])
    assert not result.is_clean
    result = AuditResult(users=2)
    result.add([finding(is_mended=True)])
    assert result.is_clean
    assert "1  mended" in summary_text(result)


def test_an_orphan_counts_among_the_users() -> None:
    result = AuditResult(users=1)
    result.add([finding(LEFT, Cause.FOREIGN)])
    assert result.share_right == 0.5
    told = json.loads(summary_json(result))
    assert (told["users"], told["wrong"], told["orphans"], told["share_right"]) == (2, 1, 1, 0.5)
    assert "2 users compared, 1 wrong (50.000000% right)" in summary_text(result)
    assert "1  of them only in Redis" in summary_text(result)
    metrics = AuditMetrics()
    metrics.done(result, 1, 2)
    values = metrics.registry.get_sample_value
    assert (values("cdc_audit_users"), values("cdc_audit_consistency_ratio")) == (2, 0.5)
    assert values("cdc_audit_users_wrong", {"cause": "foreign"}) == 1


def test_nothing_to_compare_is_right() -> None:
    assert (AuditResult().share_right, AuditResult().nines) == (1.0, 0.0)


def test_a_named_user_whom_nobody_has_is_not_right() -> None:
    result = AuditResult(nobody=[UserId("live", 31337)])
    assert not result.is_clean
    assert "live:31337: the user is neither in the database nor in Redis" in summary_text(result)
    assert json.loads(summary_json(result))["unknown_users"] == ["live:31337"]


def test_rows_that_cannot_be_compared_remain() -> None:
    assert not AuditResult(users=3, unusable=1).is_clean


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (LEVERAGE, f"{CONFIG} leverage: Redis '999', database '100'"),
        (replace(LEVERAGE, is_there=None, shape=Shape.ABSENT), f"{CONFIG} leverage: Redis nothing, database '100'"),
        (UserDifference(Shape.DIFFERS, BALANCE, "", "9.00", "10.00"), f"{BALANCE}: Redis '9.00', database '10.00'"),
        (MISSING, f"{CONFIG}: does not exist"),
        (LEFT, f"{CONFIG}: this user is not in the database"),
        (UserDifference(Shape.TYPE, CONFIG), f"{CONFIG}: a key of another type"),
    ],
)
def test_a_finding_as_text(difference: UserDifference, said: str) -> None:
    text = to_text(finding(difference))
    assert said in text
    assert "overwritten: another program wrote it after the stored version (version t[0]@5)" in text
    assert "first seen 2023-11-14T22:13:20.000Z" in text


def test_a_finding_as_json() -> None:
    told = json.loads(to_json(finding()))
    assert (told["user"], told["field"], told["redis"], told["database"]) == ("live:7", "leverage", "999", "100")
    assert (told["cause"], told["first_seen"], told["mended"]) == ("overwritten", "2023-11-14T22:13:20.000Z", False)


def test_watching_tells_each_finding_once_and_keeps_when_it_was_seen_first() -> None:
    known = Known()
    assert known.fresh([finding()]) == [finding()]
    known.next_round()
    later = replace(finding(), since_ms=1_700_000_999_000)
    assert known.fresh([later]) == []
    known.next_round()
    assert known.fresh([replace(later, is_mended=True)]) == [finding(is_mended=True)]
    known.next_round()
    assert known.fresh([later]) == [later]
