"""Bounds and sizes as an operator writes them."""

from __future__ import annotations

import pytest

from consumer.errors import ConfigError
from consumer.events.record import Partition
from consumer.source.bounds import At, Beginning, Bound, End, Offsets, check_order, parse_bound, parse_size

NOW = 1_705_314_600_000


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("beginning", Beginning()),
        ("end", End()),
        ("2024-01-15T10:30:00Z", At(1_705_314_600_000)),
        ("2024-01-15T10:30:00", At(1_705_314_600_000)),
        ("2024-01-15T11:30:00.250+01:00", At(1_705_314_600_250)),
        ("2024-01-15", At(1_705_276_800_000)),
        ("10m", At(NOW - 600_000)),
        ("a.b.c:0:17", Offsets({Partition("a.b.c", 0): 17})),
        ("2024.b:12:0, a:0:1", Offsets({Partition("a", 0): 1, Partition("2024.b", 12): 0})),
    ],
)
def test_each_way_to_say_a_bound(text: str, bound: Bound) -> None:
    assert parse_bound(text, "--from", NOW) == bound
    assert parse_bound(str(bound), "--from", NOW) == bound


@pytest.mark.parametrize(
    "text",
    [
        "",
        "start",
        "a:0",
        "a:0:x",
        "a:-1:3",
        ":0:1",
        "a:0:1,",
        "2024-13-01",
        "a:0:1,a:0:2",
        "a:0:99999999999999999999",
        "a:99999999999:0",
        "a:\N{ARABIC-INDIC DIGIT THREE}:0",
    ],
)
def test_what_is_no_bound_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_bound(text, "--to", NOW)
    assert refusal.value.field == "--to"


@pytest.mark.parametrize(
    ("begin", "end", "is_refused"),
    [
        ("beginning", "end", False),
        ("beginning", "beginning", False),
        ("a:0:5", "a:0:5", False),
        ("a:0:5", "b:0:1", False),
        ("a:0:5", "2024-01-15", False),
        ("end", "beginning", True),
        ("2024-01-15", "beginning", True),
        ("end", "a:0:5", True),
        ("2024-01-16", "2024-01-15", True),
        ("a:0:1,b:0:5", "a:0:2,b:0:4", True),
    ],
)
def test_bounds_with_nothing_between_them_are_refused(begin: str, end: str, is_refused: bool) -> None:
    bounds = parse_bound(begin, "--from", NOW), parse_bound(end, "--to", NOW)
    if not is_refused:
        check_order(*bounds)
        return
    with pytest.raises(ConfigError, match="is before"):
        check_order(*bounds)


def test_sizes() -> None:
    assert [parse_size(text, "-") for text in ("7", "2k", "512M", "1G")] == [7, 2048, 512 * 2**20, 2**30]
    for text in ("", "M", "-1", "0", "1.5G", "1T"):
        with pytest.raises(ConfigError):
            parse_size(text, "--memory")
