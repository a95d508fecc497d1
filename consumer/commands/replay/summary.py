"""What a replay did, or would do: counts, the first differences, and what could not be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import msgspec

from consumer.sink.drift import Difference

_SHOWN_REJECTIONS = 20
# What one is of the counts, by the way of the replay.
_COUNTED = {"apply": "records", "rebuild": "users, once for each of their tables"}


@dataclass(slots=True)
class Summary:
    """Of one partition number, or of several together.

    ``counts`` say what became of users or changes, ``kinds`` count the differences, of which the first are in
    ``differences``. ``unusable`` counts records that could not be applied; ``places`` names the first.
    Where only some users were asked for, those of whom the log tells something are in ``found``, the others in
    ``not_found``, once all is read.
    """

    records: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    unusable: int = 0
    places: list[str] = field(default_factory=list)
    found: set[str] = field(default_factory=set)
    not_found: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """So many more."""
        if number:
            self.counts[what] = self.counts.get(what, 0) + number

    def differ(self, difference: Difference, shown: int) -> None:
        """One more difference; of the first ``shown`` keys the fields are kept."""
        self.kinds[difference.kind] = self.kinds.get(difference.kind, 0) + 1
        if len(self.differences) < shown:
            self.differences.append(difference)

    def reject(self, places: list[str], number: int = 1) -> None:
        """So many more records that could not be used, and the first by place."""
        self.unusable += number
        self.places = [*self.places, *places][:_SHOWN_REJECTIONS]

    def find(self, users: Iterable[str]) -> None:
        """The log tells something of these users, who were asked for."""
        self.found.update(users)

    def include(self, other: Summary, shown: int) -> None:
        """That of another partition number too."""
        self.records += other.records
        self.counts = dict(Counter(self.counts) + Counter(other.counts))
        self.kinds = dict(Counter(self.kinds) + Counter(other.kinds))
        self.differences = [*self.differences, *other.differences][:shown]
        self.reject(other.places, other.unusable)
        self.found |= other.found


def to_json(summary: Summary, way: str, *, is_dry: bool) -> str:
    """One JSON object."""
    return msgspec.json.encode({"way": way, "dry_run": is_dry, "counted": _COUNTED[way], **asdict(summary)}).decode()


def to_text(summary: Summary, way: str, *, is_dry: bool) -> str:
    """Lines for a person."""
    lines = [f"{way}{', dry run: nothing was changed' if is_dry else ''}: {summary.records} records read"]
    for unit, counts in ((_COUNTED[way], summary.counts), ("keys", summary.kinds)):
        if counts:
            lines.append(f"{unit}:")
            lines += [f"  {number:>10}  {what}" for what, number in sorted(counts.items())]
    for each in summary.differences:
        lines.append(f"{each.kind}: {each.key}")
        lines += [f"    {name}: {_shown(is_there)} -> {_shown(should)}" for name, is_there, should in each.fields]
    if summary.unusable:
        lines.append(f"{summary.unusable} records could not be used; the first:")
        lines += [f"    {place}" for place in summary.places]
    if summary.not_found:
        lines.append(f"nothing to apply was found for: {', '.join(summary.not_found)}")
    return "\n".join(lines)


def _shown(value: str | None) -> str:
    return "(absent)" if value is None else repr(value)
