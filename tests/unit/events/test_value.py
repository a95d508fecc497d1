"""Values: one canonical text each, exact for money."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import InvalidValue
from consumer.events.event import UNREADABLE, ColumnSchema
from consumer.events.value import Kind, canonical, money, timestamp, whole_number

MONEY = st.decimals(min_value=-(10**12), max_value=10**12, places=6) | st.decimals(
    min_value=-(10**30), max_value=10**30, places=12
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10000.500000", "10000.50"),
        ("10000.5", "10000.50"),
        ("10000", "10000.00"),
        ("0.123456", "0.123456"),
        ("0.000000", "0.00"),
        ("-0.000000", "0.00"),
        ("-12.340000", "-12.34"),
        ("1E+3", "1000.00"),
        ("-1.5e-3", "-0.0015"),
        ("007.50", "7.50"),
        ("123456789012345678901234.123456", "123456789012345678901234.123456"),
    ],
)
def test_money_text(text: str, expected: str) -> None:
    assert canonical(text, Kind.MONEY, 6) == expected


@given(MONEY)
def test_money_is_exact_and_plain(number: Decimal) -> None:
    text = money(number)
    assert Decimal(text) == number
    assert "E" not in text.upper()
    places = text.partition(".")[2]
    assert len(places) >= 2
    assert len(places) == 2 or not places.endswith("0")
    assert not (number == 0 and text.startswith("-"))


@given(MONEY)
def test_every_spelling_of_a_number_is_one_text(number: Decimal) -> None:
    spellings = {
        str(number),
        format(number, "f"),
        f"{number:e}",
        format(number, "f") + ("0" if "." in str(number) else ""),
    }
    assert {canonical(text, Kind.MONEY, 6) for text in spellings} == {money(number)}


@given(st.integers(-(2**80), 2**80), st.integers(0, 12))
def test_precise_decimals_are_unscaled_big_endian(unscaled: int, scale: int) -> None:
    size = (unscaled.bit_length() + 8) // 8
    text = b64encode(unscaled.to_bytes(size, "big", signed=True)).decode()
    schema = ColumnSchema("org.apache.kafka.connect.data.Decimal", scale)
    found = canonical(text, Kind.MONEY, 6, schema)
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    assert found is not None
    assert Decimal(found) == Decimal((int(unscaled < 0), digits, -scale))


@pytest.mark.parametrize("value", [1.5, "NaN", "Infinity", "twelve", "", True, [], "1e999999999", "1" * 100])
def test_what_is_no_money_is_refused_without_repeating_it(value: object) -> None:
    with pytest.raises(InvalidValue) as refusal:
        canonical(value, Kind.MONEY, 6)
    assert str(value) not in str(refusal.value) or value in ("", [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((True, "1"), (False, "0"), (0, "0"), (-3, "-3"), ("MAM001", "MAM001"), ("", ""), (None, None)),
        *(("true", "1"), ("False", "0"), ("TRUE ", "1"), ("MAM001  ", "MAM001"), ("truer", "truer")),
    ],
)
def test_whole_numbers_and_flags(value: object, expected: str | None) -> None:
    assert canonical(value, Kind.INTEGER, 0) == expected


@given(st.datetimes(min_value=datetime(1978, 1, 12), max_value=datetime(2262, 1, 1)))
def test_every_unit_of_time_is_one_text(moment: datetime) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    ms = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    expected = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    assert timestamp(ms) == expected
    spellings: list[object] = [ms, ms * 1000, ms * 1_000_000, moment.isoformat(), moment, expected]
    assert {canonical(each, Kind.TIME, 0) for each in spellings} == {expected}


def test_the_schema_says_the_unit_where_there_is_one() -> None:
    micro = ColumnSchema("io.debezium.time.MicroTimestamp")
    assert canonical(1_000_000, Kind.TIME, 0, micro) == "1970-01-01T00:00:01.000Z"


@pytest.mark.parametrize("value", ["yesterday", "20240115", "9999-13-01", "infinity", "-infinity", 1.5, True, 10**30])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue):
        canonical(value, Kind.TIME, 0)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_text_base64_and_bytes_are_one_amount(number: Decimal) -> None:
    """(18,6): what string mode, precise JSON and precise Avro say of the same number."""
    unscaled = int(number.scaleb(6))
    data = unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)
    decimal = ColumnSchema("org.apache.kafka.connect.data.Decimal", 6)
    spellings: list[tuple[object, ColumnSchema]] = [
        (f"{number:f}", ColumnSchema()),
        (b64encode(data).decode(), decimal),
        (data, decimal),
        ({"scale": 6, "value": data}, ColumnSchema("io.debezium.data.VariableScaleDecimal")),
        ({"scale": 6, "value": b64encode(data).decode()}, ColumnSchema()),
    ]
    assert {canonical(value, Kind.MONEY, 2, schema) for value, schema in spellings} == {money(number)}


@given(st.integers(-(10**12) + 1, 10**12 - 1))
def test_two_decimals_keep_two(unscaled: int) -> None:
    """(12,2), against integers alone."""
    sign, whole, cents = "-" if unscaled < 0 else "", *divmod(abs(unscaled), 100)
    expected = f"{sign}{whole}.{cents:02d}"
    data = unscaled.to_bytes(6, "big", signed=True)
    assert canonical(expected, Kind.MONEY, 2) == expected
    assert canonical(b64encode(data).decode(), Kind.MONEY, 6, ColumnSchema("Decimal", 2)) == expected
    assert canonical(data, Kind.MONEY, 6, ColumnSchema("Decimal", 2)) == expected


@given(st.floats())
def test_no_float_is_money(number: float) -> None:
    with pytest.raises(InvalidValue, match="floating point"):
        canonical(number, Kind.MONEY, 6)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (b"\x01", ColumnSchema()),
        (b"", ColumnSchema("Decimal", 6)),
        (b"\x01" * 100, ColumnSchema("Decimal", 6)),
        (b"\x01", ColumnSchema("Decimal", 10**9)),
        ("A" * 8000, ColumnSchema("Decimal", 6)),
        ({"scale": 6}, ColumnSchema()),
        ({"scale": 10**9, "value": b"\x01"}, ColumnSchema()),
        ({"scale": True, "value": b"\x01"}, ColumnSchema()),
        ({"scale": 6, "value": 7}, ColumnSchema()),
        ("1_000", ColumnSchema()),
        ("१२", ColumnSchema()),
        (" 1", ColumnSchema()),
        (10**80, ColumnSchema()),
    ],
)
def test_what_is_no_amount_of_any_format(value: object, schema: ColumnSchema) -> None:
    with pytest.raises(InvalidValue):
        canonical(value, Kind.MONEY, 6, schema)


def test_a_whole_number_that_came_as_a_decimal() -> None:
    """BIGINT UNSIGNED with bigint.unsigned.handling.mode=precise."""
    data = (2**64 - 1).to_bytes(9, "big", signed=True)
    whole = ColumnSchema("org.apache.kafka.connect.data.Decimal", 0)
    assert canonical(data, Kind.INTEGER, 0, whole) == canonical(b64encode(data).decode(), Kind.INTEGER, 0, whole)
    assert canonical(data, Kind.INTEGER, 0, whole) == "18446744073709551615"
    with pytest.raises(InvalidValue):
        canonical(data, Kind.INTEGER, 0, ColumnSchema("Decimal", 1))


def test_a_date_is_midnight() -> None:
    assert canonical(19723, Kind.TIME, 0, ColumnSchema("io.debezium.time.Date")) == "2024-01-01T00:00:00.000Z"


END_OF_TIME = 253_402_300_799


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (END_OF_TIME * 10**3, "9999-12-31T23:59:59.000Z"),
        (END_OF_TIME * 10**6 + 999_999, "9999-12-31T23:59:59.999Z"),
        ((END_OF_TIME + 1 - 86_400) * 10**3, "9999-12-31T00:00:00.000Z"),
        (10**14 - 1, "5138-11-16T09:46:39.999Z"),
        (-2_208_988_800_000, "1900-01-01T00:00:00.000Z"),
        (-2_208_988_800_000_000, "1900-01-01T00:00:00.000Z"),
        (-(10**14), "1966-10-31T14:13:20.000Z"),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), "9999-12-31T23:00:00.000Z"),
    ],
)
def test_times_at_the_ends(value: object, expected: str) -> None:
    assert canonical(value, Kind.TIME, 0) == expected


@given(st.integers(10**14, (END_OF_TIME - 2 * 86_400) * 10**3 - 1), st.sampled_from([1, 1000]))
def test_a_unit_that_can_not_be_known_is_not_guessed(number: int, unit: int) -> None:
    """Milliseconds of the year 5138 or later, or microseconds of 1973 to 1978; and the same for the next unit."""
    with pytest.raises(InvalidValue, match="unit can't be known"):
        canonical(number * unit, Kind.TIME, 0)
    named = ColumnSchema("io.debezium.time.Timestamp" if unit == 1 else "io.debezium.time.MicroTimestamp")
    assert canonical(number * unit, Kind.TIME, 0, named) == timestamp(number)


@pytest.mark.parametrize("name", ["", "io.debezium.time.MicroTimestamp", "io.debezium.time.Timestamp"])
@pytest.mark.parametrize(
    "number", [9223372036825200000, 9223372036832400000, 9223372036825200, 9223372036832400, 2**63 - 1, -(2**63)]
)
def test_infinity_as_a_number_is_no_date(number: int, name: str) -> None:
    for each in (number, -number):
        with pytest.raises(InvalidValue):
            canonical(each, Kind.TIME, 0, ColumnSchema(name))


def test_a_number_that_the_schema_calls_something_else_is_no_moment() -> None:
    with pytest.raises(InvalidValue, match="MicroTime"):
        canonical(37_800_000_000, Kind.TIME, 0, ColumnSchema("io.debezium.time.MicroTime"))


@given(st.integers(0, 2**64 - 1))
def test_bits_are_a_number_the_lowest_byte_first(number: int) -> None:
    data = number.to_bytes(8, "little")
    text, bits = b64encode(data).decode(), ColumnSchema("io.debezium.data.Bits")
    assert {canonical(each, Kind.INTEGER, 0, bits) for each in (data, text)} == {str(number)}
    assert {canonical(each, Kind.BITS, 0) for each in (data, text, number)} == {str(number)}


@pytest.mark.parametrize("text", ["BQ==", "AQ==", "//8="])
def test_base64_of_which_nothing_is_said_is_no_number(text: str) -> None:
    with pytest.raises(InvalidValue, match="base64") as refusal:
        canonical(text, Kind.INTEGER, 0)
    assert 'kind = "bits"' in refusal.value.advice
    assert "bigint.unsigned.handling.mode=long" in refusal.value.advice


@pytest.mark.parametrize(
    ("text", "expected"), [("VIP       ", "VIP"), (" VIP", " VIP"), ("   ", ""), ("VIP\t", "VIP\t")]
)
def test_the_padding_of_a_char_column_is_no_difference(text: str, expected: str) -> None:
    assert canonical(text, Kind.TEXT, 0) == expected


WHOLE = ColumnSchema("org.apache.kafka.connect.data.Decimal", 0)


@given(st.integers(0, 10**20 - 1))
def test_every_spelling_of_an_id_is_one_number(number: int) -> None:
    data = number.to_bytes(9, "big", signed=True)
    spellings: list[tuple[object, ColumnSchema]] = [
        (number, ColumnSchema()),
        (str(number), ColumnSchema()),
        (f"{number}  ", ColumnSchema()),
        (data, WHOLE),
        (b64encode(data).decode(), WHOLE),
    ]
    assert {whole_number(value, schema) for value, schema in spellings} == {number}


@pytest.mark.parametrize("value", ["Bw==", "x", "", "-1", "1.0", -1, True, 1.0, None, 10**20, "1" * 500, b"\x07"])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue) as refusal:
        whole_number(value)
    assert ("bigint.unsigned.handling.mode=long" in refusal.value.advice) == isinstance(value, str | bytes)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_the_driver_can_not_read_is_of_no_kind(kind: Kind) -> None:
    with pytest.raises(InvalidValue, match="the driver can't read it"):
        canonical(UNREADABLE, kind, 6)
