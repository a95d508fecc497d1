"""Counts for one batch, so that metrics are updated once per batch and not once per record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from consumer.events.record import Partition
from consumer.pipeline.protocols import RecordResult

APPLIED, DEAD_LETTER, JOINED = "applied", "dead_letter", "joined"
SENT_AGAIN, OTHER_DATABASE = "sent_again", "other_database"
OUTCOMES = (APPLIED, "duplicate", "stale", SENT_AGAIN, JOINED, "nothing", "ignored", DEAD_LETTER, OTHER_DATABASE)
UNKNOWN = "unknown"
"""The table of a record whose table is not known, in a topic with several tables or with none that is known."""
KINDS = ("config", "balance", "update", "remove", "clear", "publish", "add")


@dataclass(slots=True)
class BatchCounts:
    """Counts for one batch.

    ``effects``: by kind; ``clear`` counts deleted keys, ``publish`` counts messages, ``add`` counts entries of streams;
    ``entries`` counts these by channel. ``committed_ms`` and
    ``appended_ms``: the source's and Kafka's times of applied changes. ``reached_ms``: the source's time of the last
    record of each partition. All times are UTC milliseconds.
    """

    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    effects: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    entries: Counter[str] = field(default_factory=Counter)
    committed_ms: list[int] = field(default_factory=list)
    appended_ms: list[int] = field(default_factory=list)
    reached_ms: dict[Partition, int] = field(default_factory=dict)


def outcome_of(result: RecordResult) -> str:
    """One of ``OUTCOMES``."""
    if result.is_dead:
        return DEAD_LETTER
    if (applied := result.applied) is not None:
        return APPLIED if applied.is_accepted else applied.verdict.value
    if result.decision.first_sent is not None:
        return SENT_AGAIN
    if result.decision.database:
        return OTHER_DATABASE
    return JOINED if result.decision.carrier is not None else result.decision.outcome.value


def count_batch(results: Sequence[RecordResult]) -> BatchCounts:
    """Count ``results``, which are in the order of each partition."""
    found = BatchCounts()
    applied = [each for each in results if each.applied is not None and each.applied.is_accepted and not each.is_dead]
    _count_applied(applied, found)
    if len(applied) < len(results):
        for result in results:
            if (outcome := outcome_of(result)) != APPLIED:
                table = result.decision.table or UNKNOWN
                found.changes[table, outcome] += 1
                if result.letter is not None:
                    found.dead_letters[table, result.letter.reason] += 1
    last = {(each.record.topic, each.record.partition): each for each in results}
    found.reached_ms = {Partition(*place): _time_ms(result) for place, result in last.items()}
    return found


def _count_applied(results: Sequence[RecordResult], found: BatchCounts) -> None:
    """Count changes that were applied. Only a few have different effects, so these are counted together."""
    plans = [each.decision.plan for each in results]
    found.committed_ms = [plan.version.ts_ms for plan in plans if plan is not None]
    found.appended_ms = [each.record.timestamp_ms for each in results]
    shapes = [plan.shape if plan is not None else None for plan in plans]
    tables, answers = [each.decision.table for each in results], [each.applied for each in results]
    kinds = Counter(zip(shapes, tables, answers, strict=True))
    effects = found.effects
    for (shape, table, applied), count in kinds.items():
        if shape is None or applied is None:
            continue
        found.changes[table or UNKNOWN, APPLIED] += count
        effects["config"] += count * (applied.config_created is not None)
        effects["balance"] += count * bool(shape.balance)
        effects["update"] += count * (applied.updated is True)
        effects["remove"] += count * bool(shape.removed)
        effects["clear"] += count * applied.cleared
        if not shape.has_streams:
            effects["publish"] += count * len(shape.channels)
            continue
        for channel in shape.channels:
            effects["publish"] += count * channel.is_published
            effects["add"] += count * bool(channel.stream)
            found.entries[channel.name] += count * bool(channel.stream)


def _time_ms(result: RecordResult) -> int:
    """The source's time, or Kafka's if the record has none; UTC milliseconds."""
    event = result.decision.event
    return event.position.ts_ms if event is not None else result.record.timestamp_ms
