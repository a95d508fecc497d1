"""How much work a change is, whatever the machine does beside: ``python -m benchmarks.work``.

Counts the calls of functions, Python's and C's, of the pure stages. The number is the same in every run, so a test can
compare it with the number that is written down here. Times need a quiet machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType

from benchmarks.envelopes import TABLE
from benchmarks.metrics import BATCH, results
from consumer.events.envelope import parse
from consumer.guard.history import Histories
from consumer.mapping.reference import reference
from consumer.observability.metrics import Metrics
from consumer.planning.decision import decide_all
from consumer.settings.sections import Guard
from consumer.sink.call import Calls

CALLS: Mapping[str, float] = {"the envelope": 17.0, "deciding": 93.1, "a call in Redis' protocol": 24.0, "metrics": 2.3}
"""Calls of functions a balance change, as counted when this was written down. Python 3.11."""
MOST = 1.3
"""By how many times a stage may grow before the test fails."""
_CLOCK_MS = 5000
_TOPIC = f"work.trading.{TABLE}"
"""No other code in the process reads it: how a record is decoded depends on the topic's earlier records."""


def counted() -> dict[str, float]:
    """The calls of functions a change, by stage."""
    records, done = results(_TOPIC)
    rules, calls, metrics = reference(), Calls(Guard()), Metrics()
    plans = [each.decision.plan for each in done if each.decision.plan is not None]
    stages: dict[str, Callable[[], object]] = {
        "the envelope": lambda: [parse(record) for record in records],
        "deciding": lambda: decide_all(records, rules, history=Histories(None, _CLOCK_MS)),
        "a call in Redis' protocol": lambda: [calls.of(plan, is_brief=True) for plan in plans],
        "metrics": lambda: metrics.records_done(done),
    }
    return {name: calls_of(stage) / BATCH for name, stage in stages.items()}


def calls_of(work: Callable[[], object]) -> int:
    """The calls of functions in the second round: the first one fills what is worked out once."""
    count = 0

    def told(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    work()
    before = sys.getprofile()
    sys.setprofile(told)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def main() -> None:
    """Print the counts beside those that are written down."""
    for name, found in counted().items():
        print(f"{name:22} {found:7.1f} calls a change, {found / CALLS[name]:.2f} times what is written down")


if __name__ == "__main__":
    main()
