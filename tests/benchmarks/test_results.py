"""The pure parts: percentiles, aims, tables, plots."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.aims import BARE_READ, BARE_SCRIPT, CEILING, OURS, STRAIGHTFORWARD, WITH_STREAMS, WITHOUT_STREAMS, aims
from benchmarks.distribution import curve, quantile
from benchmarks.envelopes import changes
from benchmarks.results_page import page, plots, table
from benchmarks.svg import Axis, Series, bars, plot


def results(**parts: object) -> dict[str, Any]:
    return {"date": "2026-11-23", "mode": "quick", "machine": {"cores": "2"}, **parts}


def line(name: str, per_s: float, megabytes: int = 100) -> dict[str, Any]:
    cpu_us, resident = {"consumer": 30.0, "Redis": 20.0}, {"consumer": megabytes * 2**20}
    return {"name": name, "per_s": per_s, "cpu_us": cpu_us, "resident": resident}


EVERYTHING = results(
    throughput=[
        line(OURS["kafka-python"], 21_000),
        line(OURS["confluent"], 36_000),
        line(STRAIGHTFORWARD, 10_000),
        line(CEILING["kafka-python"], 30_000),
        line(BARE_READ["confluent"], 120_000),
        line(BARE_SCRIPT, 44_000),
    ],
    stages=[{"name": "deciding", "us": 30.04}, {"name": "… JSON", "us": 3.96}],
    latency=[
        {
            "name": OURS["kafka-python"],
            "rates": [{"per_s": 1000, "median": 2.0, "p99": 12.5, "most": 20.0, "curve": [[1.0, 0.5], [12.5, 0.99]]}],
        }
    ],
    wildcards=[
        {"name": "1,000 keys", "keys": 1000, "index_us": 100.0, "scan_us": 120.0},
        {"name": "100,000 keys", "keys": 100_000, "index_us": 110.0, "scan_us": 9000.0},
    ],
    streams=[line(WITHOUT_STREAMS, 20_000), line(WITH_STREAMS, 15_000)],
    scaling=[
        {"workers": 1, **line(OURS["kafka-python"], 20_000)},
        {"workers": 2, **line(OURS["kafka-python"], 35_000)},
    ],
)


def drawn(picture: str) -> list[list[tuple[float, float]]]:
    """The points of each line."""
    lines = ElementTree.fromstring(picture).findall("{*}polyline")  # noqa: S314  # made here
    return [
        [(float(x), float(y)) for x, _, y in (pair.partition(",") for pair in each.attrib["points"].split())]
        for each in lines
    ]


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.0, 7.0),
        ([7.0], 1.0, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.51, 3.0),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 1001)), 0.99, 990),
    ],
)
def test_a_quantile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert quantile(values[::-1], share) == expected


def test_of_nothing_there_is_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_curve_rises_to_the_greatest_value() -> None:
    points = curve([3.0, 1.0, 2.0])
    assert points == sorted(points)
    assert points[-1] == (3.0, 1.0)


def test_aims_say_what_is_met_and_what_is_not() -> None:
    found = {each.name: each.is_met for each in aims(EVERYTHING)}
    assert found == {
        f"{OURS['kafka-python']}, against {STRAIGHTFORWARD}": True,
        f"{OURS['kafka-python']}, against {CEILING['kafka-python']}": False,
        f"{OURS['kafka-python']}, Redis": False,
        f"{OURS['kafka-python']}, p99 from append to Redis at 1,000/s": False,
        f"{OURS['kafka-python']}, p99 from append to Redis at 10,000/s": None,
        f"{OURS['kafka-python']}, two workers against one": True,
        f"{OURS['confluent']}, against {STRAIGHTFORWARD}": True,
        f"{OURS['confluent']}, against {CEILING['confluent']}": None,
        f"{OURS['confluent']}, Redis": False,
        f"{OURS['confluent']}, p99 from append to Redis at 1,000/s": None,
        f"{OURS['confluent']}, p99 from append to Redis at 10,000/s": None,
        f"{OURS['confluent']}, two workers against one": None,
        "deciding": False,
        "wildcard clears flat": True,
        "memory": True,
    }


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {each.is_met for each in aims(results())} == {None}


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_the_page_has_each_part_and_why_one_is_left_out() -> None:
    lacking = {"name": "Debezium Server", "lacking": "needs Java 21 or later"}
    text = page({**EVERYTHING, "debezium": [lacking]})
    assert f"| {OURS['kafka-python']} | 21,000 | 2.10 | 30.0 | 20.0 |  | 50.0 | 100 |" in text
    assert "| 100,000 | 110 | 9,000 |" in text
    assert f"| {WITH_STREAMS} | 15,000 | 0.75 | 30.0 | 20.0 |" in text
    assert "left out: needs Java 21 or later" in text
    assert "**not met**" in text


def test_parts_that_were_not_run_are_not_on_the_page() -> None:
    text = page(results(wildcards=EVERYTHING["wildcards"]))
    assert "## Wildcards" in text
    assert "## Throughput" not in text


def test_each_plot_is_svg_with_a_line_for_each_series() -> None:
    pictures = plots(EVERYTHING)
    assert pictures.keys() == {"latency.svg", "scaling.svg", "stages.svg", "throughput.svg", "wildcards.svg"}
    assert {name: len(drawn(text)) for name, text in pictures.items()} == {
        "latency.svg": 1,
        "scaling.svg": 1,
        "stages.svg": 0,
        "throughput.svg": 0,
        "wildcards.svg": 2,
    }


@pytest.mark.parametrize("is_log", [False, True])
def test_points_of_a_plot_lie_within_it(is_log: bool) -> None:
    points = ((0.0, 5.0), (3.0, 5.0), (12_345.0, 5.0))  # none positive, all alike, large
    (places,) = drawn(plot([Series("<one> & only", points)], Axis("x", is_log=is_log), Axis("y")))
    assert len(places) == len(points)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert all(0 <= x <= 720 and 0 <= y <= 400 for x, y in places)


def test_envelopes_are_of_the_size_that_they_say() -> None:
    updates = [each.value for each in changes(300, 100, 4)][100:]
    assert all(1450 < len(value) < 1550 for value in updates)


def test_a_bar_is_as_long_as_its_value() -> None:
    picture = ElementTree.fromstring(bars([("one", 10.0), ("two", 5.0), ("<three>", 0.0)], "µs"))  # noqa: S314  # made here
    _, *found = picture.findall("{*}rect")
    widths = [float(each.attrib["width"]) for each in found]
    assert widths == [widths[0], widths[0] / 2, 0.0]
    assert [each.text for each in picture.findall("{*}text")][-2:] == ["<three>", "0 µs"]
