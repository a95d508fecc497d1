"""What is different from the database, and what is only written another way: audit, API and `explain` say the same."""

from __future__ import annotations

import pytest

from consumer.commands.api.comparison import StoredFields, consistency
from consumer.commands.audit.cause import Cause
from consumer.commands.audit.differing_user import Shape, user_differences
from consumer.commands.audit.finding import AuditResult, Finding, to_text
from consumer.commands.shared.explain.history import GroupProgress, trace
from consumer.commands.shared.explain.user_values import ReadValues, user_values
from consumer.events.avro import NO_SCHEMAS
from consumer.guard.state import GuardState
from consumer.planning.diff import read_image
from consumer.sink.comparison import SPELLING, StoredKeys, differences_from_database
from tests.unit.commands.test_audit_findings import CONFIG, ROW, RULES, TABLE, USER, plan_of, right

FULL = {**ROW, "wallet_balance": "10000.5", "is_active": 1}
PLAN = plan_of(FULL)


def stored(
    config: dict[str, str | None], balance: str = "10000.50", portfolio: dict[str, str | None] | None = None
) -> StoredKeys:
    assert PLAN.config is not None
    return StoredKeys(config=dict(PLAN.config.changed) | config, balance=balance, update=portfolio)


CASES = [
    (stored({}), [], []),
    (stored({"wallet_balance": "10000.5"}), [], ["wallet_balance"]),
    (stored({"wallet_balance": "1.00005e4"}), [], ["wallet_balance"]),
    (stored({"is_active": "true"}), [], ["is_active"]),
    (stored({"is_active": "false"}), ["is_active"], []),
    (stored({"group": "vip"}), ["group"], []),
    (stored({"group": None}), ["group"], []),
    (stored({"leverage": "junk", "wallet_balance": "10000.500"}), ["leverage"], ["wallet_balance"]),
    (stored({}, balance="10000.5"), [], ["balance"]),
    (stored({}, balance="10000.51"), ["balance"], []),
    (stored({}, portfolio={"wallet_balance": "10000.5", "group": None}), [], ["portfolio.wallet_balance"]),
    (stored({}, portfolio={"wallet_balance": "9.00", "group": "VIP"}), ["portfolio.wallet_balance"], []),
]


def by_audit(there: StoredKeys) -> tuple[list[str], list[str]]:
    odds = user_differences(PLAN, there, TABLE, RULES)
    names = {odd: called(odd.key, odd.field) for odd in odds}
    wrong = sorted(name for odd, name in names.items() if odd.shape is not Shape.SPELLING)
    return wrong, sorted(name for odd, name in names.items() if odd.shape is Shape.SPELLING)


def called(key: str, field: str) -> str:
    if key == CONFIG:
        return field
    return f"portfolio.{field}" if field else "balance"


def by_api(there: StoredKeys) -> tuple[list[str], list[str]]:
    stored_user = StoredFields(there.config or {}, None, there.balance, 60)
    found = list(differences_from_database(PLAN, there, TABLE, RULES))
    told = consistency(USER, FULL, stored_user, found, TABLE, RULES)
    lines = told["differences"]
    assert isinstance(lines, list)
    wrong = sorted(called(each["key"], each["field"]) for each in lines if each["kind"] != SPELLING)
    assert told["is_consistent"] is not bool(wrong)
    return wrong, sorted(called(each["key"], each["field"]) for each in lines if each["kind"] == SPELLING)


def by_explain(there: StoredKeys) -> tuple[list[str], list[str]]:
    fields, _, _ = read_image(FULL, TABLE, {})
    image = {"id": "7", "user_type": "live", **TABLE.constants, **fields}
    stored_user = [
        None if hash_ is None else {name: text for name, text in hash_.items() if text is not None}
        for hash_ in (there.config, there.update)
    ]
    history = trace([], USER, RULES, NO_SCHEMAS, GroupProgress({}, {}))
    found = user_values(
        ReadValues(stored_user[0], stored_user[1], there.balance, image), history, GuardState(), TABLE, RULES
    )
    return sorted(found.wrong()), sorted(found.spelled())


@pytest.mark.parametrize(("there", "wrong", "spelled"), CASES)
def test_all_three_agree(there: StoredKeys, wrong: list[str], spelled: list[str]) -> None:
    assert by_audit(there) == (wrong, spelled)
    assert by_api(there) == (wrong, spelled)
    assert by_explain(there) == (wrong, spelled)


def test_a_field_that_the_database_has_no_column_for_should_not_be_there() -> None:
    row = {name: value for name, value in FULL.items() if name != "country_id"}
    plan = plan_of(row)
    assert plan.config is not None
    there = StoredKeys(config=dict(plan.config.changed) | {"country_id": "44"}, balance="10000.50")
    assert [(odd.field, odd.is_there, odd.should_be) for odd in user_differences(plan, there, TABLE, RULES)] == [
        ("country_id", "44", None)
    ]
    fields, _, _ = read_image(row, TABLE, {})
    history = trace([], USER, RULES, NO_SCHEMAS, GroupProgress({}, {}))
    stored_user = ReadValues({"country_id": "44"}, None, None, fields, frozenset({"country_id"}))
    assert "country_id" in user_values(stored_user, history, GuardState(), TABLE, RULES).wrong()


def test_a_user_of_whom_a_value_is_written_another_way_is_right() -> None:
    there = stored({"wallet_balance": "10000.5"})
    (odd,) = user_differences(PLAN, there, TABLE, RULES)
    finding = Finding(USER, TABLE.table, odd, Cause.OVERWRITTEN, 0)
    assert "Redis '10000.5', database '10000.50': the same value, written another way" in to_text(finding)
    tally = AuditResult(users=1)
    tally.add([finding])
    assert (tally.is_clean, tally.share_right, tally.spelled, tally.wrong.total()) == (True, 1.0, 1, 0)


def test_right_is_right() -> None:
    assert by_audit(right())[0] == by_api(right())[0]
