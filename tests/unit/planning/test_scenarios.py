"""The rules as text: every scenario decides as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.mapping.reference import reference
from consumer.planning.decision import decide_all
from tests.support.scenario import Scenario, Unreadable, load, load_all, said

SCENARIOS = load_all()


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 25


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.title for each in SCENARIOS])
def test_scenario(scenario: Scenario) -> None:
    for decision, expected in zip(decide_all(scenario.records(), reference()), scenario.outcomes, strict=True):
        found = said(decision, expected)
        assert found == expected, f"{scenario.place}: {scenario.title}"


@pytest.mark.parametrize(
    "text",
    [
        "upsert live_users 1 at 2024-01-15T10:30:00Z\nplan\n  user live:1",
        "update live_users 1 at 2024-01-15T10:30:00Z\n  group VIP\nplan\n  user live:1",
        "update other_users 1 at 2024-01-15T10:30:00Z\nplan\n  user live:1",
        "delete live_users 1 at 2024-01-15T10:30:00Z\nplan\n  shout loudly",
        "delete live_users 1 at 2024-01-15T10:30:00Z",
    ],
)
def test_a_word_that_is_not_known_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(f"## Wrong\n{text}\n")
    with pytest.raises(Unreadable, match=r"wrong\.txt:"):
        list(load(path))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.title for each in SCENARIOS])
def test_the_same_records_always_give_the_same_plan(scenario: Scenario) -> None:
    once, again = (decide_all(scenario.records(), reference()) for _ in range(2))
    assert [(each.reason, each.plan) for each in once] == [(each.reason, each.plan) for each in again]
