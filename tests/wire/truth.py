"""What the changes mean, and where a format is known not to carry it."""

from __future__ import annotations

from typing import Any

from tests.wire.formats import Format
from tests.wire.plans import comparable
from tests.wire.taken import Taken

_WIDE = "3.12345678"
# The mapping says six decimals; the record does not say eight.
_WIDE_MISREAD = "312.345678"


def check_truth(taken: Taken) -> None:
    """The changes of tests/wire/changes.py, seen from the plans."""
    written = _written(comparable(taken), "live:1")
    assert _values(written, "wallet_balance") == [
        *("10000.50", "10150.75", "-99999999999.999999", "0.00", "77.25", ""),
    ]
    assert _values(written, "margin") == ["0.00", "0.10", "1.50", "2.50", _WIDE]
    assert _values(written, "leverage") == ["100", "0", "5000000000"]
    assert _values(written, "group") == ["VIP", "Größe 日本", ""]
    assert _values(written, "copytrading_alloted_time") == [
        *("2024-02-29T23:59:59.000Z", "1999-12-31T00:00:00.000Z", ""),
    ]
    assert _values(_written(comparable(taken), "live:2"), "margin") == ["123456789012.123456"]
    assert _values(_written(comparable(taken), "live:3"), "net_profit") == ["-0.000001"]
    assert _values(_written(comparable(taken), "demo:1"), "net_profit") == ["0.00", "999999999999.999999"]
    enriched = [
        effect["message"]
        for each in comparable(taken)
        for effect in each["effects"]
        if effect["effect"] == "publish" and "request_id" in effect["message"]
    ]
    assert [(each["amount"], each["request_id"], each["transaction_id"]) for each in enriched] == [
        ("77.25", "REQ1", "TXN1")
    ] * 2


def check_equal(wire: Format, taken: Taken, reference: Taken) -> None:
    """All plans are those of the reference, but for what the documentation says that the format can't carry."""
    found, expected = comparable(taken), comparable(reference)
    assert len(found) == len(expected)
    different = [(mine, its) for mine, its in zip(found, expected, strict=True) if mine != its]
    if wire.is_avro:
        (nulled,) = different
        assert _of(nulled[1], "wallet_balance") == ""
        # The change to NULL arrives as one to the columns' defaults.
        assert (_of(nulled[0], "wallet_balance"), _of(nulled[0], "group")) == ("0.00", "Standard")
    elif wire.decimals == "precise" and not wire.has_schema:
        wide = [pair for pair in different if _of(pair[1], "margin") == _WIDE]
        assert [_of(mine, "margin") for mine, _ in wide] == [_WIDE_MISREAD]
        assert [_whole(mine)["margin"] for mine, _ in different if mine != wide[0][0]] in ([], [_WIDE_MISREAD])
    else:
        assert different == []


def _written(decisions: list[dict[str, Any]], user: str) -> list[dict[str, str]]:
    return [
        effect["changed"]
        for each in decisions
        if each["user"] == user
        for effect in each["effects"]
        if effect["effect"] == "upsert"
    ]


def _values(written: list[dict[str, str]], field: str) -> list[str]:
    return [fields[field] for fields in written if field in fields]


def _of(decision: dict[str, Any], field: str) -> str | None:
    return next((each["changed"].get(field) for each in decision["effects"] if each["effect"] == "upsert"), None)


def _whole(decision: dict[str, Any]) -> dict[str, str]:
    return next((each["whole"] for each in decision["effects"] if each["effect"] == "upsert"), {})
