"""What watching costs: ``python -m benchmarks.metrics``. CPU time a record of telling metrics and traces of a batch.

For traces every record carries one; spans go nowhere. Beside it, for comparison, what deciding about the same records
costs. The best of several rounds, for others may use
the machine too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from msgspec import structs
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from benchmarks.envelopes import changes
from benchmarks.memory import PARTITIONS, TOPIC
from consumer.events.record import SourceRecord
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.observability.metrics import Metrics
from consumer.observability.tracing import Tracing
from consumer.pipeline.protocols import Applied, RecordResult
from consumer.planning.decision import decide_all

BATCH = 500
ROUNDS = 40
_ANSWER = Applied(Verdict.NEWER, config_created=False, updated=None, cleared=2, receivers=1, stored="")


def results(topic: str = TOPIC) -> tuple[Sequence[SourceRecord], Sequence[RecordResult]]:
    """A batch of balance changes of many users, and the same once it is applied."""
    now_ms = int(time.time() * 1000)
    updates = islice(changes(2 * BATCH, BATCH, PARTITIONS), BATCH, None)
    records = [
        SourceRecord(topic, partition, offset, now_ms, key, value)
        for offset, (partition, key, value) in enumerate(updates)
    ]
    decisions = decide_all(records, reference())
    return records, [
        RecordResult(record, decision, _ANSWER) for record, decision in zip(records, decisions, strict=True)
    ]


def cost_us(work: Callable[[], object]) -> float:
    """Microseconds of CPU a record, at best."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return best / BATCH / 1000


class _Nowhere(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def main() -> None:
    """Print the costs."""
    records, done = results()
    metrics, rules = Metrics(), reference()
    tracing = Tracing(_Nowhere(), "benchmark")
    header = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    traced = [structs.replace(each, record=structs.replace(each.record, headers=(header,))) for each in done]
    print(f"deciding {cost_us(lambda: decide_all(records, rules)):6.2f} us a record")
    print(f"metrics  {cost_us(lambda: metrics.records_done(done)):6.2f} us a record")
    print(f"traces   {cost_us(lambda: tracing.records_done(traced)):6.2f} us a record that carries one")
    print(f"         {cost_us(lambda: tracing.records_done(done)):6.2f} us a record that carries none")
    tracing.close()


if __name__ == "__main__":
    main()
