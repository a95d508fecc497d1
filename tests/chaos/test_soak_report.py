"""What follows from the numbers of a long run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.chaos.soak_report import Report, Round, Run, UnreadableReport, problems_of_growth

RUN = Run("standalone", 1, "kafka-python", False, 60.0, 5, "1")
ROUND = Round(0, 36.0, 1000, 3000, 2, {"zombie": 1}, [], 0, 1, 50, {"user": 150, "cdc": 4}, 9, 100, 10)


def rounds(count: int, **last: object) -> list[Round]:
    """So many rounds like the first; ``last`` is what the second half has instead."""
    plain = [msgspec.structs.replace(ROUND, number=number) for number in range(count)]
    return [*plain[: count // 2], *(msgspec.structs.replace(each, **last) for each in plain[count // 2 :])]


def test_a_report_has_the_rounds_of_each_run(tmp_path: Path) -> None:
    report, other = Report(tmp_path / "soak.jsonl"), msgspec.structs.replace(RUN, redis="cluster")
    assert report.rounds(RUN) == []
    for each in rounds(2):
        report.add(RUN, each)
    report.add(other, ROUND)
    assert report.rounds(RUN) == rounds(2)
    of_cluster, of_one, faults = report.summary().splitlines()
    assert of_cluster.startswith(
        "cluster, kafka-python, 1 workers, seed 5: 1,000 changes, 3,000 messages, 1 faults, 1 "
    )
    assert of_one.startswith("standalone, kafka-python, 1 workers, seed 5: 2,000 changes, 6,000 messages, 2 faults, 2 ")
    assert "; 4 messages lost to a key of another type, 0 told again after a failover of Redis; " in of_one
    assert of_one.endswith("; 2 looks at all balances; 0 unexplained")
    assert faults == "faults: 3 zombie"


def test_memory_and_keys_that_stay_are_no_problem() -> None:
    assert problems_of_growth(rounds(20)) == []
    assert problems_of_growth(rounds(20, users=200, keys={"user": 600, "cdc": 4})) == []
    assert problems_of_growth(rounds(4, consumer_mb=900)) == [], "too few rounds to say"


def test_what_grows_is_named() -> None:
    assert problems_of_growth(rounds(20, consumer_mb=200)) == ["a consumer grew from 100 MB to 200 MB"]
    grown = rounds(20, keys={"user": 150, "cdc": 40})
    assert problems_of_growth(grown) == ["keys that begin with cdc: from 4 to 40"]


def test_a_line_of_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "soak.jsonl"
    Report(path).add(RUN, ROUND)
    with path.open("ab") as file:
        file.write(b'{"run": {"redis": "standalone"}, "round": {}}\n')
    with pytest.raises(UnreadableReport, match=r"soak\.jsonl: line 2 is no round of this version: .*missing"):
        Report(path).rounds(RUN)
