"""``make model``: random histories for so many minutes, with the program's rule or with that of version 0.1."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import GuardMachine, LineageMachine

_HISTORIES = 500
_STEPS = 60


def main() -> int:
    """0 if no history was found in which the rule is wrong, else 1."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--rule", choices=("offset", "lineage"), default="offset", help="lineage: that of version 0.1")
    given = options.parse_args()
    machine = GuardMachine if given.rule == "offset" else LineageMachine
    began = time.monotonic()
    done = 0
    while (left := given.minutes * 60 - (time.monotonic() - began)) > 0:
        found = _fault(lambda: _tried(machine))
        if found is not None:
            print(found)
            print(f"the rule is wrong in this history; found after {time.monotonic() - began:.0f} s")
            return 1
        done += _HISTORIES
        print(f"{done} histories of up to {_STEPS} steps, no fault; {max(0.0, left):.0f} s left", file=sys.stderr)
    print(f"{done} histories of up to {_STEPS} steps in {time.monotonic() - began:.0f} s: no fault")
    return 0


def _tried(machine: type[GuardMachine]) -> None:
    how = settings(
        max_examples=_HISTORIES,
        stateful_step_count=_STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        database=None,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(machine, settings=how)


def _fault(attempt: Callable[[], None]) -> str | None:
    try:
        attempt()
    except AssertionError as error:
        return "\n".join([str(error), *getattr(error, "__notes__", ())])
    return None


if __name__ == "__main__":
    sys.exit(main())
