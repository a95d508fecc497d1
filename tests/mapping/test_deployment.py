"""A deployment with other names: the scenarios beside this file, with nothing but a mapping file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consumer import mapping
from consumer.decision import decide
from consumer.report import plan_text
from tests.scenario import Scenario, load

HERE = Path(__file__).parent
RULES = mapping.load(HERE / "broker.toml")
SCENARIOS = list(load(HERE / "scenarios" / "broker.txt"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.title for each in SCENARIOS])
def test_scenario(scenario: Scenario) -> None:
    for offset, (change, expected) in enumerate(zip(scenario.changes, scenario.outcomes, strict=True)):
        decision = decide(change.record(offset), RULES)
        if decision.plan is None:
            found = [f"{decision.outcome} {decision.reason}"]
        else:
            found = [re.sub(r"\s+", " ", line.strip()) for line in plan_text(decision.plan).splitlines()]
        assert found == expected, f"{scenario.place}: {scenario.title}"
