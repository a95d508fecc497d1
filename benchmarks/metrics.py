"""What watching costs: ``python -m benchmarks.metrics``. CPU time a record of telling the metrics of a batch.

Beside it, for comparison, what deciding about the same records costs. The best of several rounds, for others may use
the machine too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from benchmarks.memory import TOPIC, envelopes
from consumer.decision import decide_all
from consumer.metrics import Metrics
from consumer.position import Verdict
from consumer.protocols import Applied, Step
from consumer.record import SourceRecord
from consumer.reference import reference

BATCH = 500
ROUNDS = 40
_ANSWER = Applied(Verdict.NEWER, config_created=False, updated=None, cleared=2, receivers=1, stored="")


def steps() -> tuple[Sequence[SourceRecord], Sequence[Step]]:
    """A batch of balance changes of many users, and the same once it is applied."""
    now_ms = int(time.time() * 1000)
    changes = islice(envelopes(2 * BATCH, BATCH), BATCH, None)
    records = [
        SourceRecord(TOPIC, partition, offset, now_ms, key, value)
        for offset, (partition, key, value) in enumerate(changes)
    ]
    decisions = decide_all(records, reference())
    return records, [Step(record, decision, _ANSWER) for record, decision in zip(records, decisions, strict=True)]


def cost_us(work: Callable[[], object]) -> float:
    """Microseconds of CPU a record, at best."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return best / BATCH / 1000


def main() -> None:
    """Print the costs."""
    records, done = steps()
    metrics, rules = Metrics(), reference()
    print(f"deciding {cost_us(lambda: decide_all(records, rules)):6.2f} us a record")
    print(f"metrics  {cost_us(lambda: metrics.stepped(done)):6.2f} us a record")


if __name__ == "__main__":
    main()
