"""Decimals in JSON without schema: text, or base64 with the mapping's scale."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.planning.decision import Decision, Outcome, decide
from tests.support.scenario import load_all

DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)
MONEY = ("wallet_balance", "margin", "net_profit", "copy_trading_wallet")
AMOUNTS = st.integers(-(10**14), 10**14)


def record(before: Mapping[str, object], after: Mapping[str, object]) -> SourceRecord:
    envelope: dict[str, Any] = json.loads(DEPOSIT.value or b"")
    envelope["before"] |= before
    envelope["after"] |= after
    # As the connectors of connect/ send it: else the content would be part of the event's id.
    envelope["transaction"] = {"id": "any", "total_order": 1}
    return structs.replace(DEPOSIT, value=json.dumps(envelope).encode())


def precise(unscaled: int) -> str:
    return b64encode(unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)).decode()


def plain(unscaled: int) -> str:
    return f"{'-' if unscaled < 0 else ''}{abs(unscaled) // 10**6}.{abs(unscaled) % 10**6:06d}"


@given(
    st.fixed_dictionaries({name: st.none() | AMOUNTS for name in MONEY}),
    st.fixed_dictionaries({name: st.none() | AMOUNTS for name in MONEY}),
)
def test_both_spellings_give_the_same_plan(before: dict[str, int | None], after: dict[str, int | None]) -> None:
    texts = [
        {name: None if number is None else spell(number) for name, number in image.items()}
        for spell in (plain, precise)
        for image in (before, after)
    ]
    spelled, unscaled = record(texts[0], texts[1]), record(texts[2], texts[3])
    amounts = [text for image in texts[2:] for text in image.values() if text is not None]
    assume(not amounts or not all(text.isdecimal() for text in amounts))  # it looks as numbers look: seldom
    found, expected = decide(unscaled, reference()), decide(spelled, reference())
    assert found.outcome is expected.outcome
    assert _without_names(found) == _without_names(expected)


def _without_names(decision: Decision) -> str:
    """The plan without the names of changes, which hold a checksum of the row as the wire spells it."""
    return re.sub(r'"event_id":"[^"]*"', "", repr(decision.plan).replace("\\\\", ""))


ZERO = dict.fromkeys(MONEY, "AA==")


@pytest.mark.parametrize(
    ("before", "after", "balance"),
    [
        (ZERO, ZERO | {"wallet_balance": "Bf2CIA=="}, "100.50"),
        # 1234 is a number, but the other columns say that this one is base64 too.
        (ZERO, ZERO | {"wallet_balance": "1234"}, "-2.658824"),
        (dict.fromkeys(MONEY, "0"), dict.fromkeys(MONEY, "0") | {"wallet_balance": "1234"}, "1234.00"),
        (dict.fromkeys(MONEY, "0.00"), dict.fromkeys(MONEY) | {"wallet_balance": "1234"}, "1234.00"),
        (dict.fromkeys(MONEY), dict.fromkeys(MONEY) | {"wallet_balance": -12}, "-12.00"),
    ],
)
def test_the_columns_decide_together(before: dict[str, object], after: dict[str, object], balance: str) -> None:
    plan = decide(record(before, after), reference()).plan
    assert plan is not None
    assert plan.balance is not None
    assert plan.balance.value == balance


@pytest.mark.parametrize(
    ("text", "balance"), [("1234", "1234.00"), ("00000000", "0.00"), ("1E+3", "1000.00"), ("12345678", "12345678.00")]
)
def test_a_whole_number_that_may_be_base64_too_is_a_number(text: str, balance: str) -> None:
    nothing = dict.fromkeys(MONEY)
    plan = decide(record(nothing, nothing | {"wallet_balance": text}), reference()).plan
    assert plan is not None
    assert plan.balance is not None
    assert plan.balance.value == balance


@given(st.integers(0, 10**38))
def test_base64_of_a_positive_amount_never_begins_with_a_digit(unscaled: int) -> None:
    """So whole numbers as text are never mistaken for one: what begins with a digit is text, or a negative amount."""
    assert not precise(unscaled)[0].isdecimal()


@pytest.mark.parametrize("text", ["NaN", "NAN", "Infinity", "-Infinity", "POSITIVE_INFINITY", "-NEGATIVE_INFINITY"])
def test_what_is_no_amount_says_so(text: str) -> None:
    nothing = dict.fromkeys(MONEY)
    found = decide(record(nothing, nothing | {"wallet_balance": text}), reference())
    assert found.outcome is Outcome.REJECTED
    assert found.error is not None
    assert found.error.field == "wallet_balance"
    assert "no amount" in found.reason
    assert "decimal.handling.mode" not in found.error.advice
    assert text not in found.reason


def test_the_scale_of_precise_decimals_is_told_to_be_assumed() -> None:
    found = decide(record(ZERO, ZERO | {"wallet_balance": "Bf2CIA=="}), reference())
    assert Drift("live_users", "", DriftKind.SCALE) in found.drifts


def test_text_among_base64_is_refused() -> None:
    found = decide(record(ZERO, ZERO | {"wallet_balance": "1.00"}), reference())
    assert found.outcome is Outcome.REJECTED
