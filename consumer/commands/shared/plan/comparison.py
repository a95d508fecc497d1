"""Two sequences of decisions about the same records: where they differ, counted. Pure, and of limited memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consumer.commands.shared.plan.aspects import Aspect, Entry, Kind, entries
from consumer.planning.saved_decision import SavedDecision

MOST_USERS = 1_000_000
"""More users are not told apart, so that a comparison of any length has room in memory."""


class RecordDifference(NamedTuple):
    """A record that is decided otherwise, both decisions about it, and the facts that differ."""

    old: SavedDecision
    new: SavedDecision
    entries: Sequence[Entry]

    @property
    def user(self) -> str:
        """The user whose change it is, or "" if nobody's is known."""
        return self.new.user or self.old.user or ""

    @property
    def has_other_effects(self) -> bool:
        """Whether more differs than the reasons given."""
        return any(each.aspect.kind not in (Kind.RULE, Kind.REASON) for each in self.entries)


class Times(NamedTuple):
    """In how many records a fact is new, is gone, or has another value."""

    added: int
    gone: int
    other: int


@dataclass(slots=True)
class Comparison:
    """What was compared so far. ``examples``: the number of records to keep as examples.

    A record that differs in another way than all before it is the better example, so these are kept first.
    """

    examples: int = 3
    records: int = 0
    different: int = 0
    only_reasons: int = 0
    _added: Counter[Aspect] = field(default_factory=Counter)
    _gone: Counter[Aspect] = field(default_factory=Counter)
    _other: Counter[Aspect] = field(default_factory=Counter)
    _users: set[str] = field(default_factory=set)
    _ways: set[frozenset[tuple[Aspect, bool, bool]]] = field(default_factory=set)
    _first: list[RecordDifference] = field(default_factory=list)
    _more: list[RecordDifference] = field(default_factory=list)

    def same(self, records: int = 1) -> None:
        """So many records are decided alike."""
        self.records += records

    def add(self, old: SavedDecision, new: SavedDecision) -> RecordDifference | None:
        """Compare the decisions about one record; None if they are alike."""
        self.records += 1
        found = entries(old, new)
        if not found:
            return None
        difference = RecordDifference(old, new, found)
        self._count(difference, old.user, new.user)
        self._keep(difference)
        return difference

    def again(self, known: RecordDifference, user: str) -> None:
        """Another record, of ``user``, differs in the same facts as ``known``."""
        self.records += 1
        self._count(known, user)

    @property
    def has_examples(self) -> bool:
        """Whether no more examples are needed of a difference that is known."""
        return len(self._first) + len(self._more) >= self.examples

    def _count(self, difference: RecordDifference, *users: str | None) -> None:
        self.different += 1
        self.only_reasons += not difference.has_other_effects
        for aspect, before, after in difference.entries:
            counter = self._added if before is None else self._gone if after is None else self._other
            counter[_counted(aspect, before, after)] += 1
        if len(self._users) < MOST_USERS:
            self._users.update(each for each in users if each)

    def _keep(self, difference: RecordDifference) -> None:
        if len(self._first) < self.examples:
            way = frozenset((each.aspect, each.old is None, each.new is None) for each in difference.entries)
            if way not in self._ways:
                self._ways.add(way)
                self._first.append(difference)
            elif len(self._more) < self.examples:
                self._more.append(difference)

    @property
    def users(self) -> int:
        """The number of users whose changes are decided otherwise, at most :data:`MOST_USERS`."""
        return len(self._users)

    def kept(self) -> list[RecordDifference]:
        """The examples, in the order of the records."""
        return [*self._first, *self._more][: self.examples]

    def times(self) -> Iterator[tuple[Aspect, Times]]:
        """Each fact that differs anywhere, by kind and name."""
        order = {kind: place for place, kind in enumerate(Kind)}
        every = self._added.keys() | self._gone.keys() | self._other.keys()
        for each in sorted(every, key=lambda aspect: (order[aspect.kind], aspect[1:])):
            yield each, Times(self._added[each], self._gone[each], self._other[each])

    def total(self, *kinds: Kind) -> Times:
        """The times of all facts of these kinds."""
        found = [times for aspect, times in self.times() if aspect.kind in kinds]
        return Times(*(sum(part) for part in zip(*found, strict=True))) if found else Times(0, 0, 0)


def _counted(aspect: Aspect, old: str | None, new: str | None) -> Aspect:
    """The fact under which a difference is counted: an outcome with what it was and is."""
    return aspect._replace(name=f"{old} → {new}") if aspect.kind is Kind.OUTCOME else aspect
