"""Where the processor time of a change goes: each stage of the consumer by itself, in this process, on balance changes.

The best of several rounds, in which all lies in the processor's caches; a running consumer takes somewhat more.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pydantic import SecretStr

from benchmarks.envelopes import TABLE, changes
from benchmarks.memory import TOPIC
from benchmarks.meter import emptied
from benchmarks.metrics import BATCH, ROUNDS, cost_us, results
from benchmarks.system import PARTITIONS, System
from consumer.events.avro import NO_SCHEMAS
from consumer.events.codec import decode
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.events.record import SourceRecord
from consumer.mapping.reference import reference
from consumer.observability.metrics import Metrics
from consumer.planning.decision import decide_all
from consumer.planning.diff import diff, whole_image
from consumer.planning.effect import Plan
from consumer.settings.sections import Guard, Redis
from consumer.sink.call import Calls
from consumer.sink.redis_sink import RedisSink

PART = "… "
"""With it begin stages that are part of the one before them."""


def deciding() -> Iterator[tuple[str, float]]:
    """Stages without IO, with their microseconds of a change."""
    rules = reference()
    table = rules.table(TABLE)
    assert table is not None
    records, done = results()
    events = [event for event in map(parse, records) if isinstance(event, ChangeEvent)]
    images = [(event.before or {}, event.after or {}, event.schema) for event in events]
    values = [data for each in records for data in (each.value, each.key) if data is not None]
    metrics = Metrics()
    yield "deciding", cost_us(lambda: decide_all(records, rules))
    yield f"{PART}JSON", cost_us(lambda: [decode(each, NO_SCHEMAS) for each in values])
    yield f"{PART}JSON, the envelope, its position", cost_us(lambda: [parse(each) for each in records])
    yield f"{PART}the whole row image", cost_us(lambda: [whole_image(new, table, schema) for _, new, schema in images])
    yield f"{PART}what differs", cost_us(lambda: [diff(old, new, table, schema) for old, new, schema in images])
    yield "metrics", cost_us(lambda: metrics.records_done(done))


def carrying_out(system: System) -> Iterator[tuple[str, float]]:
    """From plans to Redis' answers, with their microseconds of a change."""
    calls = Calls(Guard())
    batches = list(_batches())
    plans = batches[-1]
    emptied(system.redis)
    sink = RedisSink(Redis(url=SecretStr(system.stack.redis.url)), Guard(), reference())
    try:
        sink.reach()
        yield "from a plan to Redis' answer", min([_applied(sink, batch) for batch in batches][1:])
    finally:
        sink.close()
    yield f"{PART}as a call in Redis' protocol", cost_us(lambda: [calls.of(plan, is_brief=True) for plan in plans])


def _batches() -> Iterator[Sequence[Plan]]:
    """The first inserts the users that those after it change."""
    now_ms = int(time.time() * 1000)
    records = [
        SourceRecord(TOPIC, partition, offset, now_ms, key, value)
        for offset, (partition, key, value) in enumerate(changes(ROUNDS * BATCH, BATCH, PARTITIONS))
    ]
    for at in range(0, len(records), BATCH):
        decisions = decide_all(records[at : at + BATCH], reference())
        yield [each.plan for each in decisions if each.plan is not None]


def _applied(sink: RedisSink, plans: Sequence[Plan]) -> float:
    began = time.process_time_ns()
    answered = len(list(sink.apply(plans)))
    assert answered == BATCH
    return (time.process_time_ns() - began) / BATCH / 1000
