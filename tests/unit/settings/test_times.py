"""Times as a person writes them, and every form in which this program prints them."""

from __future__ import annotations

import pytest

from consumer.errors import ConfigError
from consumer.events.value import timestamp
from consumer.settings import times as moment
from consumer.source.bounds import At

NOW = 1_705_314_600_000


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2024-01-15T10:30:00Z", NOW),
        ("2024-01-15T10:30:00.000Z", NOW),
        ("2024-01-15t10:30:00z", NOW),
        ("2024-01-15T10:30:00+00:00", NOW),
        ("2024-01-15T16:00:00.5+05:30", NOW + 500),
        ("2024-01-15 10:30:00", NOW),
        ("2024-01-15T10:30", NOW),
        ("2024-01-15", 1_705_276_800_000),
        ("9999-12-31T23:59:59.9999Z", 253_402_300_799_999),
        ("9999-12-31T23:00:00-05:00", 253_402_300_799_999),
        ("0s", NOW),
        ("90s", NOW - 90_000),
        ("10m", NOW - 600_000),
        ("24h", NOW - 86_400_000),
        ("7d", NOW - 7 * 86_400_000),
        ("10:30", NOW),
        ("10:30Z", NOW),
        ("10:29:59.5", NOW - 500),
        ("00:00", 1_705_276_800_000),
        ("10:30:01", NOW + 1000 - 86_400_000),
        ("23:59", 1_705_276_800_000 - 60_000),
    ],
)
def test_every_form_is_read(text: str, ms: int) -> None:
    assert moment.parse(text, "--from", NOW) == ms


def test_the_last_moment_has_a_text() -> None:
    assert str(At(moment.parse("9999-12-31T23:00:00-05:00", "--to", NOW))) == "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize("printed", [timestamp(NOW + 7), str(At(NOW + 7))])
def test_a_time_that_is_printed_has_a_z_and_is_read(printed: str) -> None:
    assert printed.endswith("Z")
    assert moment.parse(printed, "--from", 0) == NOW + 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday 14:00",
        "now",
        "24:00",
        "10:60",
        "3:00",
        "14:00+01:00",
        "10",
        "m",
        "10 m",
        "-10m",
        "2024-13-01",
        "20240115",
        "2024-W03",
        "1705314600000",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        moment.parse(text, "--to", NOW)
    assert refusal.value.field == "--to"
    assert "2024-01-15T10:30:00Z" in str(refusal.value)


@pytest.mark.parametrize("text", ["99999d", "999999999d", "1960-01-01"])
def test_a_time_before_all_records_is_the_first_that_kafka_accepts(text: str) -> None:
    assert moment.parse(text, "--from", NOW) == 0
