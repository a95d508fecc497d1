"""What is different from the database, and what is only written another way: audit, API and `explain` say the same."""

from __future__ import annotations

import pytest

from consumer.commands.api.comparison import Held, consistency
from consumer.commands.audit.cause import Cause
from consumer.commands.audit.finding import Finding, Tally, to_text
from consumer.commands.audit.suspect import Shape, odds_of
from consumer.commands.explain.account import There, account
from consumer.commands.explain.history import Progress, trace
from consumer.events.avro import NO_SCHEMAS
from consumer.guard.state import GuardState
from consumer.planning.diff import read_image
from consumer.sink.drift import SPELLING, Standing, compared
from tests.unit.test_audit_findings import CONFIG, ROW, RULES, TABLE, USER, plan_of, right

FULL = {**ROW, "wallet_balance": "10000.5", "is_active": 1}
PLAN = plan_of(FULL)


def standing(
    config: dict[str, str | None], balance: str = "10000.50", portfolio: dict[str, str | None] | None = None
) -> Standing:
    assert PLAN.config is not None
    return Standing(config=dict(PLAN.config.changed) | config, balance=balance, update=portfolio)


CASES = [
    (standing({}), [], []),
    (standing({"wallet_balance": "10000.5"}), [], ["wallet_balance"]),
    (standing({"wallet_balance": "1.00005e4"}), [], ["wallet_balance"]),
    (standing({"is_active": "true"}), [], ["is_active"]),
    (standing({"is_active": "false"}), ["is_active"], []),
    (standing({"group": "vip"}), ["group"], []),
    (standing({"group": None}), ["group"], []),
    (standing({"leverage": "junk", "wallet_balance": "10000.500"}), ["leverage"], ["wallet_balance"]),
    (standing({}, balance="10000.5"), [], ["balance"]),
    (standing({}, balance="10000.51"), ["balance"], []),
    (standing({}, portfolio={"wallet_balance": "10000.5", "group": None}), [], ["portfolio.wallet_balance"]),
    (standing({}, portfolio={"wallet_balance": "9.00", "group": "VIP"}), ["portfolio.wallet_balance"], []),
]


def by_audit(there: Standing) -> tuple[list[str], list[str]]:
    odds = odds_of(PLAN, there, TABLE, RULES)
    names = {odd: called(odd.key, odd.field) for odd in odds}
    wrong = sorted(name for odd, name in names.items() if odd.shape is not Shape.SPELLING)
    return wrong, sorted(name for odd, name in names.items() if odd.shape is Shape.SPELLING)


def called(key: str, field: str) -> str:
    if key == CONFIG:
        return field
    return f"portfolio.{field}" if field else "balance"


def by_api(there: Standing) -> tuple[list[str], list[str]]:
    held = Held(there.config or {}, None, there.balance, 60)
    found = list(compared(PLAN, there, TABLE, RULES))
    told = consistency(USER, FULL, held, found, TABLE, RULES)
    lines = told["differences"]
    assert isinstance(lines, list)
    wrong = sorted(called(each["key"], each["field"]) for each in lines if each["kind"] != SPELLING)
    assert told["is_consistent"] is not bool(wrong)
    return wrong, sorted(called(each["key"], each["field"]) for each in lines if each["kind"] == SPELLING)


def by_explain(there: Standing) -> tuple[list[str], list[str]]:
    fields, _ = read_image(FULL, TABLE, {})
    image = {"id": "7", "user_type": "live", **TABLE.constants, **fields}
    held = [
        None if hash_ is None else {name: text for name, text in hash_.items() if text is not None}
        for hash_ in (there.config, there.update)
    ]
    history = trace([], USER, RULES, NO_SCHEMAS, Progress({}, {}))
    found = account(There(held[0], held[1], there.balance, image), history, GuardState(), TABLE, RULES)
    return sorted(found.wrong()), sorted(found.spelled())


@pytest.mark.parametrize(("there", "wrong", "spelled"), CASES)
def test_all_three_agree(there: Standing, wrong: list[str], spelled: list[str]) -> None:
    assert by_audit(there) == (wrong, spelled)
    assert by_api(there) == (wrong, spelled)
    assert by_explain(there) == (wrong, spelled)


def test_a_field_that_the_database_has_no_column_for_should_not_be_there() -> None:
    row = {name: value for name, value in FULL.items() if name != "country_id"}
    plan = plan_of(row)
    assert plan.config is not None
    there = Standing(config=dict(plan.config.changed) | {"country_id": "44"}, balance="10000.50")
    assert [(odd.field, odd.is_there, odd.should_be) for odd in odds_of(plan, there, TABLE, RULES)] == [
        ("country_id", "44", None)
    ]
    fields, _ = read_image(row, TABLE, {})
    history = trace([], USER, RULES, NO_SCHEMAS, Progress({}, {}))
    held = There({"country_id": "44"}, None, None, fields, frozenset({"country_id"}))
    assert "country_id" in account(held, history, GuardState(), TABLE, RULES).wrong()


def test_a_user_of_whom_a_value_is_written_another_way_is_right() -> None:
    there = standing({"wallet_balance": "10000.5"})
    (odd,) = odds_of(PLAN, there, TABLE, RULES)
    finding = Finding(USER, TABLE.table, odd, Cause.OVERWRITTEN, 0)
    assert "Redis '10000.5', database '10000.50': the same value, written another way" in to_text(finding)
    tally = Tally(users=1)
    tally.add([finding])
    assert (tally.is_clean, tally.share_right, tally.spelled, tally.wrong.total()) == (True, 1.0, 1, 0)


def test_right_is_right() -> None:
    assert by_audit(right())[0] == by_api(right())[0]
