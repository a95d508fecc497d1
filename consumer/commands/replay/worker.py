"""Replays one partition number: reads, folds or decides, and writes to Redis or compares with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec import structs

from consumer.commands.replay.partition import Folding, PartitionFold
from consumer.commands.replay.ranges import is_rebuilt_from
from consumer.commands.replay.state import packed
from consumer.commands.replay.store import MemoryLimit
from consumer.commands.replay.summary import Summary
from consumer.commands.replay.waiting import log_silence
from consumer.commands.replay.work import Finished, Interrupted, Reached, Read, Report, Wanted
from consumer.commands.replay.writer import OLD, Writer
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.record import Partition, SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import Histories
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import Batch, batched
from consumer.planning.decision import decide_all, healing_plan
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode
from consumer.settings.sources import Settings
from consumer.source.bounds import Span
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.range_reader import read
from consumer.source.registry import Registry

_T = TypeVar("_T")

OTHERS = "of a database that is not consumed, left out"
TOMBSTONE, NOTHING = "tombstones", "nothing of their own to write: no effect, of another user, or joined with another"


class Worker:
    """Replays one partition number after the other, in one thread or process."""

    def __init__(
        self, settings: Settings, rules: Rules, wanted: Wanted, report: Report, should_stop: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._wanted = wanted
        self._report = report
        self._should_stop = should_stop
        self._writer = Writer(settings, rules, wanted, should_stop)
        self._registry = Registry(settings.registry) if settings.registry.url is not None else None
        self._schemas: Schemas = self._registry or NO_SCHEMAS
        self._earlier = KafkaEarlierRecords(settings.kafka, self._schemas, placeholder=rules.placeholder)
        self._history = Histories(self._earlier, settings.guard.clock_ms)
        self._tables = TopicTables(rules.captured(), wanted.tables)

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._earlier.close()
        if self._registry is not None:
            self._registry.close()

    def replay(self, number: int, reached: dict[str, int], summary: Summary) -> None:
        """Replay a partition number; if part of it is done, from the offsets ``reached`` on.

        Raises:
            Interrupted: told to stop.
            RedisReplaced: acknowledged writes may be lost.
            ServerError: a server refuses; in a dry run also if a server stays away.
        """
        self._writer.reach()
        if self._wanted.is_rebuild:
            self._rebuild(number)
        else:
            self._apply(number, reached, summary)

    def _rebuild(self, number: int) -> None:
        summary = Summary()
        rules, guard = self._rules, self._settings.guard
        spans = self._wanted.of(number)
        tables = {span.topic: self._tables.of(span.topic) for span in spans}
        wanted = self._wanted
        folding = Folding(
            rules,
            self._schemas,
            self._earlier,
            guard.clock_ms,
            wanted.users,
            of_tables=wanted.of_tables,
            settled=wanted.settled,
        )
        budget = MemoryLimit(self._wanted.memory)
        second_budget = MemoryLimit(self._wanted.memory)
        try:
            fold = PartitionFold(number, tables, folding, budget.store)
            for span, records in self._records(spans):
                summary.records += len(records)
                self._writer.retried(lambda span=span, records=records: fold.add(span.topic, records))  # type: ignore[misc]
            self._writer.write_users(_with_ends(fold.plans(), spans), summary, fold.unusable)
            rejections, given_up = fold.rejections, set(fold.rejections.given_up)
            summary.reject(rejections.first, rejections.count)
            summary.count(OTHERS, fold.others)
            users = packed(fold.users())
            if fold.unusable:
                second = fold.again(second_budget.store)
                for span, records in self._records(spans, is_new=False):
                    self._writer.retried(lambda span=span, records=records: second.add(span.topic, records))  # type: ignore[misc]
                self._writer.write_users(_with_ends(second.plans(), spans), summary)
                summary.reject(second.rejections.first, second.rejections.count)
                given_up |= second.rejections.given_up
            summary.give_up(len(given_up))
        finally:
            budget.close()
            second_budget.close()
        self._writer.check_replay_key()
        self._report(Finished(number, summary, users))

    def _apply(self, number: int, reached: dict[str, int], summary: Summary) -> None:
        spans = [replace(span, begin=reached.get(span.topic, span.begin)) for span in self._wanted.of(number)]
        at = {span.topic: span.begin for span in spans}
        for span, records in self._records(spans):
            for some in batched(records):
                self._decide(some, summary)
                summary.records += len(some)
                at[span.topic] = some[-1].offset + 1
                # Before the check: if Redis was emptied, the next attempt must know what was published.
                self._report(Reached(number, dict(at), summary))
                self._writer.check_replay_key()
        self._report(Finished(number, summary))

    def _decide(self, records: Sequence[SourceRecord], summary: Summary) -> None:
        decisions = self._writer.retried(
            lambda: decide_all(records, self._rules, self._schemas, self._tables, self._history)
        )
        batch = Batch(records, decisions, "", self._published(records))
        wanted, of_tables = self._wanted.users, self._wanted.of_tables
        plans = {
            at: plan
            for at, plan in batch.plans().items()
            if (wanted is None or str(plan.user) in wanted) and (of_tables is None or plan.table in of_tables)
        }
        counted = set(plans)
        for at, error in batch.errors.items():
            users = {str(mark.user) for mark in decisions[at].marks}
            if records[at].place in self._wanted.settled:
                summary.give_up(1)
            elif at in plans or wanted is None or not users or users & wanted:
                summary.reject([str(error)])
            else:
                continue
            counted.add(at)
        for at, (record, decision) in enumerate(zip(records, decisions, strict=True)):
            if at not in counted:
                summary.count(TOMBSTONE if record.value is None else OTHERS if decision.database else NOTHING)
        if wanted is not None:
            summary.find(str(plan.user) for plan in plans.values())
        if self._wanted.is_dry:
            outcomes = self._writer.compare([plan for plan in plans.values() if plan.mode is not Mode.MARK], summary)
        else:
            answers = self._writer.apply(
                plans, summary, lambda at: batch.unpublished(at, healing_plan(decisions[at], self._rules))
            )
            outcomes = ["applied" if answer.is_accepted else OLD for answer in answers.values()]
        for each in outcomes:
            summary.count(each)

    def _published(self, records: Sequence[SourceRecord]) -> Collection[int]:
        """The indexes of the records whose messages are not published: they were published before, or none are wanted.

        A record that counts as published gets no dead letter either.
        """
        if not self._wanted.publishes:
            return range(len(records))
        below = self._wanted.published
        return frozenset(at for at, each in enumerate(records) if each.offset < below.get(Partition.of(each), 0))

    def _records(self, spans: Sequence[Span], *, is_new: bool = True) -> Iterator[tuple[Span, Sequence[SourceRecord]]]:
        """The records of ``spans``; tables that a rebuild does not write are not read, only counted as read."""
        is_rebuild, rules = self._wanted.is_rebuild, self._rules
        needed = [span for span in spans if not is_rebuild or is_rebuilt_from(span.topic, self._tables, rules)]
        if is_new:
            self._report(Read(sum(span.size for span in spans if span not in needed)))
        at = {span.topic: span.begin for span in needed}
        for span, records, position in read(self._settings.kafka, needed, log_silence):
            if self._should_stop():
                raise Interrupted
            if is_new and position > at[span.topic]:
                self._report(Read(position - at[span.topic]))
                at[span.topic] = position
            if records:
                yield span, records


def _with_ends(plans: Iterable[Plan], spans: Sequence[Span]) -> Iterator[Plan]:
    """The plans of a fold, each with the end offset of its topic's range."""
    ends = {span.topic: span.end for span in spans}
    for plan in plans:
        is_rebuild = plan.mode is Mode.REBUILD
        yield structs.replace(plan, known_below=ends.get(plan.version.topic)) if is_rebuild else plan
