"""Replays one partition number: reads, folds or decides, and writes to Redis or compares with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec import structs

from consumer.commands.replay.partition import Folding, PartitionFold, counts
from consumer.commands.replay.state import packed
from consumer.commands.replay.store import MemoryLimit
from consumer.commands.replay.summary import Summary, UserCounts
from consumer.commands.replay.waiting import log_silence, retried
from consumer.commands.replay.work import Finished, Interrupted, Reached, Read, RedisReplaced, Report, Wanted
from consumer.errors import Place, Reconnected
from consumer.events.avro import NO_SCHEMAS, Schemas
from consumer.events.record import SourceRecord
from consumer.events.topic_tables import TopicTables
from consumer.guard.history import Histories
from consumer.guard.version import Verdict
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import Batch, Delivery, batched
from consumer.pipeline.protocols import Applied
from consumer.planning.decision import decide_all, healing_plan
from consumer.planning.effect import Plan
from consumer.planning.mark import mark_refused
from consumer.planning.shape import Mode
from consumer.settings.sources import Settings
from consumer.sink.comparison import differences, would_apply
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.bounds import Span
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.range_reader import read
from consumer.source.registry import Registry

_T = TypeVar("_T")

OTHERS = "of a database that is not consumed, left out"
TOMBSTONE, NOTHING = "tombstones", "nothing of their own to write: no effect, of another user, or joined with another"
NEWER, OLD, RIGHT = "newer in Redis, left alone", "applied before, or older than what is in Redis", "right already"

TO_WRITE = "would be written"


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
        self._view = RedisView(settings.redis)
        self._registry = Registry(settings.registry) if settings.registry.url is not None else None
        self._schemas: Schemas = self._registry or NO_SCHEMAS
        self._sink = RedisSink(settings.redis, settings.guard, rules)
        self._earlier = KafkaEarlierRecords(settings.kafka, self._schemas, placeholder=rules.placeholder)
        self._history = Histories(self._earlier, settings.guard.clock_ms)
        self._run = ""
        self._tables = TopicTables(rules.captured(), wanted.tables)

    def close(self) -> None:
        """Close the connections."""
        self._sink.close()
        self._view.close()
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
        if not self._run:
            self._run = self._retried(self._view.run)
            if not self._wanted.is_dry:
                self._retried(self._sink.reach)
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
                self._retried(lambda span=span, records=records: fold.add(span.topic, records))  # type: ignore[misc]
            self._write(_with_ends(fold.plans(), spans), summary, fold.unusable)
            rejections, given_up = fold.rejections, set(fold.rejections.given_up)
            summary.reject(rejections.first, rejections.count)
            summary.count(OTHERS, fold.others)
            users = packed(fold.users())
            if fold.unusable:
                second = fold.again(second_budget.store)
                for span, records in self._records(spans, is_new=False):
                    self._retried(lambda span=span, records=records: second.add(span.topic, records))  # type: ignore[misc]
                self._write(_with_ends(second.plans(), spans), summary)
                summary.reject(second.rejections.first, second.rejections.count)
                given_up |= second.rejections.given_up
            summary.give_up(len(given_up))
        finally:
            budget.close()
            second_budget.close()
        self._check_replay_key()
        self._report(Finished(number, summary, users))

    def _apply(self, number: int, reached: dict[str, int], summary: Summary) -> None:
        spans = [replace(span, begin=reached.get(span.topic, span.begin)) for span in self._wanted.of(number)]
        at = {span.topic: span.begin for span in spans}
        for span, records in self._records(spans):
            for some in batched(records):
                self._decide(some, summary)
                summary.records += len(some)
                at[span.topic] = some[-1].offset + 1
                self._check_replay_key()
                self._report(Reached(number, dict(at), summary))
        self._report(Finished(number, summary))

    def _check_replay_key(self) -> None:
        replay_key = self._wanted.replay_key
        if replay_key and not self._retried(lambda: self._view.replay_key_exists(replay_key)):
            raise RedisReplaced

    def _decide(self, records: Sequence[SourceRecord], summary: Summary) -> None:
        decisions = self._retried(lambda: decide_all(records, self._rules, self._schemas, self._tables, self._history))
        # Records count as published before: so nothing is published, and no dead letters are written.
        published = () if self._wanted.publishes else range(len(records))
        batch = Batch(records, decisions, "", published)
        wanted, of_tables = self._wanted.users, self._wanted.of_tables
        plans = {
            at: plan
            for at, plan in batch.plans().items()
            if (wanted is None or str(plan.user) in wanted) and (of_tables is None or plan.table in of_tables)
        }
        for at, error in batch.errors.items():
            users = {str(mark.user) for mark in decisions[at].marks}
            if at >= 0 and records[at].place in self._wanted.settled:
                summary.give_up(1)
            elif at in plans or wanted is None or not users or users & wanted:
                summary.reject([str(error)])
        tombstones = sum(record.value is None for record in records)
        others = sum(bool(decision.database) for decision in decisions)
        done = sum(at >= 0 for at in plans.keys() | batch.errors.keys())
        summary.count(TOMBSTONE, tombstones)
        summary.count(OTHERS, others)
        summary.count(NOTHING, len(records) - tombstones - others - done)
        if wanted is not None:
            summary.find(str(plan.user) for plan in plans.values())
        if self._wanted.is_dry:
            outcomes = self._compare([plan for plan in plans.values() if plan.mode is not Mode.MARK], summary)
        else:
            answers = self._deliver(
                plans, summary, lambda at: batch.unpublished(at, healing_plan(decisions[at], self._rules))
            )
            outcomes = ["applied" if answer.is_accepted else OLD for answer in answers.values()]
        for each in outcomes:
            summary.count(each)

    def _write(self, plans: Iterable[Plan], summary: Summary, later: Collection[str] = ()) -> None:
        """Write plans. Users in ``later`` are written again by a second fold, and are counted there."""
        users = UserCounts(summary)
        for some in batched(plans):
            if self._should_stop():
                raise Interrupted
            if self._wanted.users is not None:
                summary.find(str(plan.user) for plan in some)
            if self._wanted.is_dry:
                changes = [plan for plan in some if plan.mode is not Mode.MARK]
                found = list(zip(changes, self._compare(changes, summary), strict=True))
            else:
                numbered = dict(enumerate(some))
                answers = self._deliver(numbered, summary, numbered.__getitem__)
                changed = [(plan, answers[at]) for at, plan in numbered.items() if at in answers]
                found = [(plan, _outcome(answer)) for plan, answer in changed if plan.mode is not Mode.MARK]
            for plan, outcome in found:
                if str(plan.user) not in later:
                    users.add(str(plan.user), outcome)
        users.end()

    def _deliver(
        self, plans: dict[int, Plan], summary: Summary, healing: Callable[[int], Plan]
    ) -> Mapping[int, Applied]:
        """Redis' answer to each plan that it accepted."""
        delivery = Delivery(
            plans,
            healing=healing,
            mark=lambda plan: mark_refused(plan, self._rules),
            attempts=self._settings.dead_letters.attempts,
        )
        while not delivery.is_over:
            self._retried(lambda: delivery.attempt(self._sink))
        for at, refused in delivery.refused.items():
            place = _place(plans[at])
            if place in self._wanted.settled:
                summary.give_up(1)
            else:
                summary.reject([f"{place}: Redis refused the change: {refused.problem}"])
        if delivery.halt is not None:
            raise delivery.halt
        return delivery.answers

    def _compare(self, plans: Sequence[Plan], summary: Summary) -> list[str]:
        """The expected outcome of each plan."""
        stored_keys = self._retried(lambda: self._view.stored_keys(plans))
        outcomes = []
        for plan, stored in zip(plans, stored_keys, strict=True):
            if not would_apply(plan, stored):
                outcomes.append(NEWER if self._wanted.is_rebuild else OLD)
                continue
            found = list(differences(plan, stored))
            outcomes.append(TO_WRITE if found else RIGHT)
            for each in found:
                summary.differ(each, self._wanted.shown)
        return outcomes

    def _records(self, spans: Sequence[Span], *, is_new: bool = True) -> Iterator[tuple[Span, Sequence[SourceRecord]]]:
        """The records of ``spans``; tables that a rebuild does not write are not read, only counted as read."""
        needed = [span for span in spans if not self._wanted.is_rebuild or self._counts(span.topic)]
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

    def _counts(self, topic: str) -> bool:
        """Whether a rebuild may write something from a topic."""
        tables = self._tables.of(topic)
        return not tables or any(counts(table, self._rules) for table in tables)

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        while True:
            try:
                return retried(attempt, self._should_stop, is_dry=self._wanted.is_dry)
            except Reconnected:
                if self._retried(self._view.run) != self._run:
                    raise RedisReplaced from None
                self._sink.accept_new_connection()


def _with_ends(plans: Iterable[Plan], spans: Sequence[Span]) -> Iterator[Plan]:
    """The plans of a fold, each with the end offset of its topic's range."""
    ends = {span.topic: span.end for span in spans}
    for plan in plans:
        is_rebuild = plan.mode is Mode.REBUILD
        yield structs.replace(plan, known_below=ends.get(plan.version.topic)) if is_rebuild else plan


def _outcome(answer: Applied) -> str:
    """The outcome of a plan of a rebuild."""
    if answer.verdict is Verdict.STALE:
        return NEWER
    if not answer.is_accepted or answer.differed == 0:
        return RIGHT
    return "created" if answer.config_created else "corrected"


def _place(plan: Plan) -> Place:
    return Place(plan.version.topic, plan.version.partition, plan.version.offset)
