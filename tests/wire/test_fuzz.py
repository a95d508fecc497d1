"""A few seconds of ``make fuzz``, from a new seed each time."""

from __future__ import annotations

import random

from tests.wire.fuzz import fuzz


def test_damaged_records_raise_nothing_but_this_programs_errors() -> None:
    seed = random.SystemRandom().randrange(10**9)
    outcomes, faults = fuzz(3.0, seed)
    assert faults == {}, f"python -m tests.wire.fuzz --seed {seed} --only {min(faults)}"
    assert {"planned", "rejected"} <= outcomes.keys()
    assert outcomes["rejected"] < outcomes.total() * 0.95, "damage that nothing survives tests only the first step"
