"""A batch: records that were polled together, what was decided about each, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from consumer.dead_letter import DeadLetter
from consumer.decision import Decision, Outcome
from consumer.effect import Plan
from consumer.errors import CdcError, RecordError, Refused
from consumer.protocols import Applied, Step
from consumer.record import SourceRecord
from consumer.tolerance import Judged


@dataclass(slots=True)
class Batch:
    """Everything goes by a record's place in the batch. Records from ``end`` on are left for later.

    Of those in ``told`` the messages went out before, or the dead letters are safe.
    ``errors`` are those that can't be applied, ``answers`` what Redis said to the others' plans.
    """

    records: Sequence[SourceRecord]
    decisions: Sequence[Decision]
    group: str
    told: Collection[int]
    end: int = field(init=False)
    errors: dict[int, CdcError] = field(init=False)
    answers: Mapping[int, Applied] = field(default_factory=dict)
    are_letters_safe: bool = False

    def __post_init__(self) -> None:
        self.end = len(self.records)
        self.errors = {at: each.error for at, each in enumerate(self.decisions) if each.error is not None}

    def plans(self) -> dict[int, Plan]:
        """What goes to Redis: plans, and the marks of users whose record can't be read, in their order.

        Where a record has several marks, all but the first go by numbers below 0, for they are no record's answer.
        """
        found: dict[int, Plan] = {}
        for at in range(self.end):
            decision = self.decisions[at]
            if decision.plan is not None:
                found[at] = self.silenced(at, decision.plan)
            for mark in decision.marks:
                found[-1 - len(found) if at in found else at] = self.silenced(at, mark)
        return found

    def silenced(self, at: int, plan: Plan) -> Plan:
        """``plan`` without its messages if they went out before."""
        return replace(plan, messages=(), is_repeated=True) if at in self.told else plan

    def refuse(self, refused: Mapping[int, Refused]) -> None:
        """Redis will never take these plans: none of the records that they stand for can be applied."""
        for at in range(self.end):
            if (error := refused.get(self._last(at))) is not None:
                self.errors[at] = error

    def judged(self) -> Judged:
        """Which records can't be applied.

        Those that say nothing of a row, such as heartbeats, say nothing here, and those that were judged before.
        """
        return {
            at: (self.records[at].topic, at in self.errors)
            for at in range(self.end)
            if self.decisions[at].outcome is not Outcome.IGNORED and at not in self.told
        }

    def letters(self) -> list[DeadLetter]:
        """The dead letters of the records that can't be applied."""
        return [self._letter(at) for at in sorted(self.errors) if at < self.end and at not in self.told]

    def plan(self, at: int) -> Plan | None:
        """The plan that does the work of the record at ``at``."""
        return self.decisions[self._last(at)].plan

    def answer(self, at: int) -> Applied | None:
        """What Redis said to that plan."""
        return self.answers.get(self._last(at))

    def cause(self, at: int) -> CdcError:
        """Why the record at ``at`` can't be applied, with its place."""
        error = self.errors[at]
        if not isinstance(error, Refused):
            return error
        return RecordError(
            f"Redis refused the change: {error.problem}", advice=error.advice, place=self.records[at].place
        )

    def steps(self) -> list[Step]:
        """The records that are done; dead letters are, once they are safe."""
        return [
            Step(
                self.records[at],
                self.decisions[at],
                self.answers.get(at),
                at in self.errors,
                self._letter(at) if at in self.errors and at not in self.told else None,
            )
            for at in range(self.end)
            if (self.are_letters_safe if at in self.errors else self._is_done(at))
        ]

    def _is_done(self, at: int) -> bool:
        last = self._last(at)
        return last < self.end and (last in self.answers or self.plan(at) is None)

    def _last(self, at: int) -> int:
        """The record whose plan does this one's work too; most often itself."""
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
