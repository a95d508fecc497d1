"""A batch: records that were polled together, the decision about each, the delivery of its plans, the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from consumer.errors import CdcError, RecordError, Refused, ServerError, ServerUnavailable, UnknownReply
from consumer.events.record import Partition, SourceRecord
from consumer.guard.version import Verdict
from consumer.pipeline.dead_letter import DeadLetter
from consumer.pipeline.dead_letter_limit import Judged, TooManyLetters
from consumer.pipeline.protocols import Applied, RecordResult, Sink
from consumer.planning.decision import Decision, Outcome
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode

SIZE = 500
"""The number of records about which a command decides together, as ``run`` does by default. Records of one database
transaction are joined only if they are among them. Also the number of plans that are sent to Redis at once."""
_IGNORED, _UNHEALED, _MARK = Outcome.IGNORED, Verdict.UNHEALED, Mode.MARK  # looked up once (decision 29)
ATTEMPTS = 8
"""Attempts for a plan that Redis answers with an unknown error. With the pauses, 8 take about ten seconds."""


@dataclass(slots=True)
class Batch:
    """A batch. All attributes use a record's index in ``records``. Records from ``end`` on are not applied now.

    ``published``: records whose messages were published before, or whose dead letters are already acknowledged.
    ``generations``: the generations of the partitions when the records were polled. ``dropped``: records whose
    partition was assigned again since. ``errors``: records that can't be applied. ``answers``: Redis' answers.
    """

    records: Sequence[SourceRecord]
    decisions: Sequence[Decision]
    group: str
    published: Collection[int]
    generations: Mapping[Partition, int] = field(default_factory=dict)
    end: int = field(init=False)
    errors: dict[int, CdcError] = field(init=False)
    answers: Mapping[int, Applied] = field(default_factory=dict)
    are_letters_safe: bool = False
    dropped: set[int] = field(default_factory=set)
    _further_marks: dict[int, int] = field(default_factory=dict)
    """The record of each mark with a number below 0."""

    def __post_init__(self) -> None:
        self.end = len(self.records)
        self.errors = {at: each.error for at, each in enumerate(self.decisions) if each.error is not None}

    def drop_revoked(self, assignment: Mapping[Partition, int]) -> bool:
        """Drop records whose partition has another or no generation in ``assignment``; answers whether there are any.

        The member that has the partition now reads these records again.
        """
        revoked = {part for part, generation in self.generations.items() if assignment.get(part) != generation}
        if revoked:
            self.dropped.update(at for at, record in enumerate(self.records) if Partition.of(record) in revoked)
        return bool(revoked)

    def needed(self) -> set[int]:
        """The indexes of the plans that are needed by records that were not dropped."""
        needed = {self._carrier_of(at) for at in range(self.end) if at not in self.dropped}
        return needed | {number for number, at in self._further_marks.items() if at not in self.dropped}

    def plans(self) -> dict[int, Plan]:
        """The plans to send, in order: those of the decisions, and the marks of users whose record can't be read.

        If a record has several marks, all but the first get numbers below 0, because their answers belong to no record.
        """
        if not self.published and not self.errors and self.end == len(self.records):
            return {at: each.plan for at, each in enumerate(self.decisions) if each.plan is not None}
        found: dict[int, Plan] = {}
        for at in range(self.end):
            decision = self.decisions[at]
            if decision.plan is not None:
                found[at] = self.unpublished(at, decision.plan)
            for mark in decision.marks:
                number = -1 - len(found) if at in found else at
                found[number] = self.unpublished(at, mark)
                if number != at:
                    self._further_marks[number] = at
        return found

    def unpublished(self, at: int, plan: Plan) -> Plan:
        """``plan`` without its messages, if they were published before."""
        return plan.repeated() if at in self.published else plan

    def refuse(self, refused: Mapping[int, Refused]) -> None:
        """Redis will always refuse these plans: mark all records that depend on them as not applicable."""
        for at in range(self.end):
            if (error := refused.get(self._carrier_of(at))) is not None:
                self.errors[at] = error

    def judged(self) -> Judged:
        """For the limit of dead letters: which records can't be applied, by index.

        Ignored records, such as heartbeats, and records that were counted before are left out.
        """
        return {
            at: (self.records[at].topic, at in self.errors)
            for at in self._kept()
            if self.decisions[at].outcome is not _IGNORED and at not in self.published
        }

    def good(self) -> Mapping[str, int]:
        """As :meth:`judged`, if every record can be applied: the number of the records in each topic."""
        if self.dropped or self.published or self.end < len(self.records):
            return Counter(topic for topic, _ in self.judged().values())
        both = zip(self.records, self.decisions, strict=True)
        return Counter([record.topic for record, decision in both if decision.outcome is not _IGNORED])

    def letters(self) -> list[DeadLetter]:
        """The dead letters for the records that can't be applied."""
        return [self._letter(at) for at in self._kept() if at in self.errors and at not in self.published]

    def plan(self, at: int) -> Plan | None:
        """The plan that applies the record at ``at``."""
        return self.decisions[self._carrier_of(at)].plan

    def answer(self, at: int) -> Applied | None:
        """Redis' answer to that plan."""
        return self.answers.get(self._carrier_of(at))

    def cause(self, at: int) -> CdcError:
        """Why the record at ``at`` can't be applied, with the record's place."""
        error = self.errors[at]
        if not isinstance(error, Refused):
            return error
        return RecordError(
            f"Redis refused the change: {error.problem}", advice=error.advice, place=self.records[at].place
        )

    def results(self) -> list[RecordResult]:
        """The records that are done. A dead letter is done when it is acknowledged."""
        if self._is_all_done():
            return [*map(RecordResult, self.records, self.decisions, map(self.answers.get, range(self.end)))]
        return [
            RecordResult(
                self.records[at],
                self.decisions[at],
                self.answers.get(at),
                at in self.errors,
                self._letter(at) if at in self.errors and at not in self.published else None,
            )
            for at in self._kept()
            if (self.are_letters_safe if at in self.errors else self._is_done(at))
        ]

    def _is_all_done(self) -> bool:
        """Whether every record is done and none is a dead letter."""
        if self.errors or self.dropped or self.end < len(self.records):
            return False
        return all(at in self.answers or each.plan is None for at, each in enumerate(self.decisions))

    def _kept(self) -> list[int]:
        return [at for at in range(self.end) if at not in self.dropped]

    def _is_done(self, at: int) -> bool:
        last = self._carrier_of(at)
        return last < self.end and (last in self.answers or self.plan(at) is None)

    def _carrier_of(self, at: int) -> int:
        """The index of the record whose plan applies this one too; usually ``at`` itself."""
        while (carrier := self.decisions[at].carrier) is not None:
            at = carrier
        return at

    def _letter(self, at: int) -> DeadLetter:
        decision = self.decisions[at]
        plan = self.plan(at)
        plans = decision.marks if plan is None else (plan,)
        tables = (decision.table,) if decision.table else tuple(each.table for each in plans)
        users = tuple(dict.fromkeys(each.user for each in plans))
        return DeadLetter(self.records[at], self.errors[at], users, self.group, tables)


@dataclass(slots=True)
class Delivery:
    """Sends plans until each has its answer. Plans are identified by number and sent in their order.

    ``healing`` makes the plan that writes the whole state, after a plan met a mark. ``mark`` makes the plan that marks
    a user, after the user's plan was refused. ``answers``: what Redis did. ``refused``: plans that Redis will always
    refuse. ``halt``: an error that is not about one plan; the remaining plans are then not tried. A plan that gets
    an unknown error ``attempts`` times counts as refused. A mark does not: if even a mark fails, the cause is not
    one plan.
    """

    plans: Mapping[int, Plan]
    healing: Callable[[int], Plan]
    mark: Callable[[Plan], Plan | None]
    attempts: int = ATTEMPTS
    answers: dict[int, Applied] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    halt: ServerError | None = None
    _left: dict[int, Plan] = field(init=False)
    _unknown: Counter[int] = field(default_factory=Counter)
    _sent: tuple[list[int], Iterator[tuple[int, Applied | ServerError]]] | None = None

    def __post_init__(self) -> None:
        self._left = dict(self.plans)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to send and no answer is missing."""
        return (not self._left and self._sent is None) or self.halt is not None

    def begin(self, sink: Sink) -> None:
        """Send what can be sent now, without waiting for the answers."""
        with suppress(ServerError):  # :meth:`attempt` raises it again
            self._sent = self._send(sink)

    def attempt(self, sink: Sink) -> None:
        """Send once all plans that have no answer yet, and read their answers.

        Raises:
            ServerUnavailable: call again for the plans that are left.

        """
        unavailable = None
        numbers, answers = self._sent or self._send(sink)
        self._sent = None
        for at, answer in answers:
            number = numbers[at]
            if isinstance(answer, Applied):
                plan = self._left.get(number)
                if plan is None:  # sent, and dropped before the answer came
                    continue
                if answer.verdict is _UNHEALED:
                    self._left[number] = self.healing(number)
                    continue
                del self._left[number]
                if plan.shape.mode is not _MARK:
                    self.answers[number] = answer
            elif isinstance(answer, UnknownReply) and self._has_failed_too_often(number):
                self._refuse(number, Refused(answer.server, answer.problem, answer.advice, answer.cause))
            elif isinstance(answer, ServerUnavailable):
                unavailable = answer
            else:
                self._refuse(number, answer)
        if unavailable is not None:
            raise unavailable

    def keep(self, numbers: Collection[int]) -> None:
        """Try only the plans with these numbers from now on. Answers to other plans that were sent are ignored."""
        self._left = {number: plan for number, plan in self._left.items() if number in numbers}

    def _send(self, sink: Sink) -> tuple[list[int], Iterator[tuple[int, Applied | ServerError]]]:
        numbers = [number for number in self.plans if number in self._left]
        return numbers, sink.apply([self._left[number] for number in numbers])

    def _has_failed_too_often(self, number: int) -> bool:
        self._unknown[number] += 1
        plan = self._left.get(number)
        return plan is not None and plan.mode is not _MARK and self._unknown[number] >= self.attempts

    def _refuse(self, number: int, error: ServerError) -> None:
        plan = self._left.pop(number, None)
        if plan is None:
            return
        if not isinstance(error, Refused):
            self.halt = error
        elif plan.mode is not _MARK:
            self.refused[number] = error
            if (marking := self.mark(plan)) is not None:
                self._left[number] = marking


@dataclass(slots=True)
class InFlight:
    """A batch whose plans are sent. ``excess``: the first record that exceeds the limit of dead letters, or None."""

    batch: Batch
    delivery: Delivery
    excess: TooManyLetters | None

    @property
    def is_plain(self) -> bool:
        """Whether every plan was applied and nothing else is left to do."""
        delivery = self.delivery
        return delivery.is_over and not (delivery.refused or delivery.halt or self.batch.errors or self.excess)

    def drop_revoked(self, assignment: Mapping[Partition, int]) -> None:
        """As :meth:`Batch.drop_revoked`; plans that only dropped records need are not tried again."""
        if self.batch.drop_revoked(assignment):
            self.delivery.keep(self.batch.needed())


_T = TypeVar("_T")


def batched(things: Iterable[_T], size: int = SIZE) -> Iterator[list[_T]]:
    """Split ``things`` into lists of ``size``, in order; the last list may be shorter."""
    left = iter(things)
    while batch := list(islice(left, size)):
        yield batch
