"""Compares two decisions of this program about one record, made with two mappings. Pure.

Most records of a kind differ in the same facts, because these follow from the two shapes (decision 28). So the facts
are found once for each pair of shapes, and then only counted.
"""

from __future__ import annotations

from typing import TypeAlias

from consumer.commands.shared.plan.comparison import Comparison, RecordDifference
from consumer.events.record import SourceRecord
from consumer.mapping.rules import Rules
from consumer.planning.decision import Decision
from consumer.planning.effect import Plan
from consumer.planning.saved_decision import saved
from consumer.planning.shape import PlanShape

_MOST_PAIRS = 4096
_Pair: TypeAlias = tuple[PlanShape, PlanShape]


class Pairs:
    """Adds pairs of decisions to ``comparison``. ``wants_each``: answer every difference, also those like others."""

    def __init__(self, old: Rules, new: Rules, comparison: Comparison, *, wants_each: bool = False) -> None:
        self._comparison = comparison
        self._wants_each = wants_each
        # Two mappings give one row the same values if they describe its table alike.
        self._same_tables = {
            name
            for name in new.captured()
            if old.table(name) == new.table(name) and old.linked_table(name) == new.linked_table(name)
        }
        self._known: dict[_Pair, RecordDifference] = {}

    def add(self, record: SourceRecord, old: Decision, new: Decision) -> RecordDifference | None:
        """Compare the two decisions; None if they are alike, or if the difference is counted as one like others."""
        if self._are_alike(old, new):
            self._comparison.same()
            return None
        pair = None
        if old.plan is not None and new.plan is not None and (pair := self._pair(old.plan, new.plan)) is not None:
            known = self._known.get(pair)
            if known is not None and not self._wants_each and self._comparison.has_examples:
                self._comparison.again(known, str(new.plan.user))
                return None
        found = self._comparison.add(saved(record, old), saved(record, new))
        if found is not None and pair is not None and len(self._known) < _MOST_PAIRS:
            self._known[pair] = found
        return found

    def _are_alike(self, old: Decision, new: Decision) -> bool:
        """Whether two decisions are alike for sure. Equal shapes are usually one object."""
        if old.outcome is not new.outcome or old.reason != new.reason:
            return False
        before, after = old.plan, new.plan
        if before is None or after is None:
            return before is after
        return before.shape is after.shape and before.bodies == after.bodies and self._have_same_values(before, after)

    def _have_same_values(self, old: Plan, new: Plan) -> bool:
        if old.user != new.user or old.time != new.time:
            return False
        return new.table in self._same_tables or old.values == new.values

    def _pair(self, old: Plan, new: Plan) -> _Pair | None:
        """The two shapes, if nothing but them makes the difference."""
        before, after = old.shape, new.shape
        if not self._have_same_values(old, new) or not _have_same_sources(before, after):
            return None
        bodies = {each.name: new.bodies[each.at] for each in after.channels}
        if any(bodies.get(each.name, old.bodies[each.at]) != old.bodies[each.at] for each in before.channels):
            return None
        return before, after


def _have_same_sources(old: PlanShape, new: PlanShape) -> bool:
    """Whether a field that both write has the same origin in both, a column or the time of the change."""
    one, other = dict((*old.whole, *old.changed, *old.updated)), dict((*new.whole, *new.changed, *new.updated))
    return old.balance_value == new.balance_value and all(other.get(name, one[name]) == one[name] for name in one)
