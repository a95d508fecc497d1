"""The result of a replay or of a dry run: counts, the first differences, and records that could not be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import msgspec

from consumer.sink.comparison import Difference

_SHOWN_REJECTIONS = 20
# The unit of the counts, by the way of the replay.
_COUNTED = {"apply": "records", "rebuild": "users"}
# If a user has several plans with different outcomes, the first one in this order counts.
_FIRST = ("created", "corrected", "would be written", "right already", "newer in Redis, left alone")


@dataclass(slots=True)
class Summary:
    """The result for one partition number, or for several together.

    ``counts``: users or changes by outcome. ``kinds``: the number of differences by kind; the first ones are in
    ``differences``. ``unusable``: the number of records that could not be applied; ``places``: the first ones.
    ``given_up``: the number of such records whose dead letters were discarded, which do not count. If only some users
    were ordered: ``found`` are those with records in the log, ``not_found`` the others, once everything is read.
    """

    records: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    unusable: int = 0
    given_up: int = 0
    places: list[str] = field(default_factory=list)
    found: set[str] = field(default_factory=set)
    not_found: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Add ``number`` to a count."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    def differ(self, difference: Difference, shown: int) -> None:
        """Add a difference; the fields of the first ``shown`` keys are kept."""
        self.kinds[difference.kind] = self.kinds.get(difference.kind, 0) + 1
        if len(self.differences) < shown:
            self.differences.append(difference)

    def reject(self, places: list[str], number: int = 1) -> None:
        """Add records that could not be used; ``places``: the first ones."""
        self.unusable += number
        self.places = [*self.places, *places][:_SHOWN_REJECTIONS]

    def give_up(self, number: int) -> None:
        """Add records whose dead letters were discarded."""
        self.given_up += number

    def find(self, users: Iterable[str]) -> None:
        """Note that the log has records of these users, who were ordered."""
        self.found.update(users)

    def include(self, other: Summary, shown: int) -> None:
        """Add the summary of another partition number."""
        self.records += other.records
        self.counts = dict(Counter(self.counts) + Counter(other.counts))
        self.kinds = dict(Counter(self.kinds) + Counter(other.kinds))
        self.differences = [*self.differences, *other.differences][:shown]
        self.reject(other.places, other.unusable)
        self.give_up(other.given_up)
        self.found |= other.found


class UserCounts:
    """Counts users in ``summary`` by the outcome of their plans. All plans of a user must be added together."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._user = ""
        self._outcomes: list[str] = []

    def add(self, user: str, outcome: str) -> None:
        """Add the outcome of a plan of ``user``."""
        if user != self._user:
            self.end()
            self._user = user
        self._outcomes.append(outcome)

    def end(self) -> None:
        """There are no more plans: count the last user."""
        if self._outcomes:
            self._summary.count(min(self._outcomes, key=_FIRST.index))
            self._outcomes = []


def to_json(summary: Summary, way: str, *, is_dry: bool) -> str:
    """One JSON object."""
    return msgspec.json.encode({"way": way, "dry_run": is_dry, "counted": _COUNTED[way], **asdict(summary)}).decode()


def to_text(summary: Summary, way: str, *, is_dry: bool) -> str:
    """Lines of text."""
    lines = [f"{way}{', dry run: nothing was changed' if is_dry else ''}: {summary.records} records read"]
    for unit, counts in ((_COUNTED[way], summary.counts), ("keys", summary.kinds)):
        if counts:
            lines.append(f"{unit}:")
            lines += [f"  {number:>10}  {what}" for what, number in sorted(counts.items())]
    for each in summary.differences:
        lines.append(f"{each.kind}: {each.key}")
        lines += [f"    {name}: {_shown(is_there)} -> {_shown(should)}" for name, is_there, should in each.fields]
    if summary.unusable:
        lines.append(f"{summary.unusable} records could not be used; the first ones:")
        lines += [f"    {place}" for place in summary.places]
    if summary.given_up:
        lines.append(f"{summary.given_up} records left out: their dead letters were discarded")
    if summary.not_found:
        lines.append(f"nothing to apply was found for: {', '.join(summary.not_found)}")
    return "\n".join(lines)


def _shown(value: str | None) -> str:
    return "(absent)" if value is None else repr(value)
