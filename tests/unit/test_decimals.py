"""Decimals in JSON without schema: text, or base64 with the mapping's scale."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from consumer.decision import Outcome, decide
from consumer.errors import InvalidValue
from consumer.record import SourceRecord
from consumer.reference import reference
from tests.scenario import load_all

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
    found, expected = decide(unscaled, reference()), decide(spelled, reference())
    if found.outcome is Outcome.REJECTED:
        assert isinstance(found.error, InvalidValue)
        assert "may be text" in found.reason, "every amount looked like a number: seldom, and never guessed"
        return
    assert (found.outcome, found.plan) == (expected.outcome, expected.plan)


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


@pytest.mark.parametrize("text", ["1234", "00000000", "Infinity", "1E+3"])
def test_what_may_be_either_is_refused_with_advice(text: str) -> None:
    nothing = dict.fromkeys(MONEY)
    found = decide(record(nothing, nothing | {"wallet_balance": text}), reference())
    assert found.outcome is Outcome.REJECTED
    assert found.error is not None
    assert found.error.field == "wallet_balance"
    assert "decimal.handling.mode=string" in found.error.advice
    assert text not in found.reason


def test_text_among_base64_is_refused() -> None:
    found = decide(record(ZERO, ZERO | {"wallet_balance": "1.00"}), reference())
    assert found.outcome is Outcome.REJECTED
