"""`cdc-consumer plan` on recordings of more than one database, and of a topic of another name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consumer.commands.cli import app

FIELD = Path(__file__).parents[2] / "recordings" / "field"


def planned(name: str, code: int = 0) -> list[dict[str, Any]]:
    ran = CliRunner().invoke(app, ["plan", str(FIELD / f"{name}.jsonl"), "--json"])
    assert ran.exit_code == code, ran.output
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(("database", "taken"), [("", 0), ("trading", 0), ("trading_restore", 1), ("none", None)])
def test_it_follows_the_database_that_is_set_else_the_first(
    monkeypatch: pytest.MonkeyPatch, database: str, taken: int | None
) -> None:
    monkeypatch.setenv("CDC_SOURCE__DATABASE", database)
    found = planned("u-two-databases")
    assert [at for at, each in enumerate(found) if each["outcome"] == "planned"] == ([] if taken is None else [taken])
    left = [each["reason"] for each in found if each["outcome"] == "ignored"]
    assert all("which is not consumed" in reason for reason in left)
    assert len(left) == 2 - (taken is not None)


def test_one_that_can_not_be_read_among_others() -> None:
    found = planned("y2-unreadable-in-routed-topic", 1)
    assert [each["outcome"] for each in found] == ["planned", "rejected", "planned"]
