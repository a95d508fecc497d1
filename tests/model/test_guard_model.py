"""The guard's rule in random histories: none makes it lose a change, go back or tell twice."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import GuardMachine, LineageMachine

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "150"))
_HOW = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    database=None,
)


def test_no_history_makes_the_guard_lose_a_change_go_back_or_tell_twice() -> None:
    run_state_machine_as_test(GuardMachine, settings=_HOW)


def test_the_model_finds_what_was_wrong_with_comparing_places_of_servers() -> None:
    quick = settings(_HOW, phases=(Phase.generate,))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LineageMachine, settings=quick)
