"""Source trees that take turns: what is run, and what is printed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import turns
from benchmarks.meter import Rate


def test_a_tree_is_run_with_its_settings(tmp_path: Path) -> None:
    tree = tmp_path / "before"
    found = turns.program(f"{tree},CDC_KAFKA__FETCH_MAX_BYTES=4000000,CDC_MAPPING=a=b", "confluent")
    assert found.name == "before CDC_KAFKA__FETCH_MAX_BYTES=4000000 CDC_MAPPING=a=b"
    assert found.environment == {
        "CDC_KAFKA__CLIENT": "confluent",
        "PYTHONPATH": str(tree),
        "CDC_KAFKA__FETCH_MAX_BYTES": "4000000",
        "CDC_MAPPING": "a=b",
    }


def test_a_line_has_the_medians() -> None:
    rates = [
        Rate(per_s, {"consumer": cpu}, {"consumer": 10**8}) for per_s, cpu in ((1, 50.0), (30_000, 40.0), (2, 1.0))
    ]
    assert turns.line("before", rates).split() == ["before", "2", "40.0", "100"]


def test_trees_of_one_name_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["turns", str(tmp_path / "a" / "main"), str(tmp_path / "b" / "main")])
    with pytest.raises(SystemExit):
        turns.main()
    assert "two trees have the same name" in capsys.readouterr().err
