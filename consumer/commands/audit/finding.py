"""What an audit found: each difference with its cause, as text and JSON, and how many users are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log10

import msgspec

from consumer.commands.audit.cause import WHY, Cause
from consumer.commands.audit.suspect import Odd, Shape
from consumer.events.value import timestamp
from consumer.mapping.keys import UserId


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``since_ms`` is when it was seen first, ``detail`` the version or mark that tells why.

    ``is_mended``: it was written anew through the guard, and is right now.
    """

    user: UserId
    table: str
    odd: Odd
    cause: Cause
    since_ms: int
    detail: str = ""
    is_mended: bool = False


@dataclass(slots=True)
class Tally:
    """How an audit came out: users compared, and those wrong by their first cause.

    ``unusable`` are rows that can't be compared, or not in all columns, ``mended`` those of the wrong that a repair
    made right, ``orphans`` those that the database does not have.
    """

    users: int = 0
    orphans: int = 0
    unusable: int = 0
    mended: int = 0
    wrong: Counter[Cause] = field(default_factory=Counter)

    def add(self, findings: Iterable[Finding]) -> None:
        """The findings about one user."""
        found = list(findings)
        first = min(found, key=lambda each: _ORDER[each.cause])
        self.wrong[first.cause] += 1
        self.mended += all(each.is_mended for each in found)
        self.orphans += any(each.odd.shape is Shape.LEFT for each in found)

    @property
    def is_clean(self) -> bool:
        """Whether everything is right, or was made so."""
        return self.wrong.total() == self.mended and not self.unusable

    @property
    def share_right(self) -> float:
        """The share of users of whom everything was right, orphans counted as users; 1 if there are none."""
        everybody = self.users + self.orphans
        return 1 - self._doubtful / everybody if everybody else 1.0

    @property
    def nines(self) -> float:
        """The same as a number of nines: 0.999 is 3. Without anything wrong, what so many users can show at most."""
        everybody = max(1, self.users + self.orphans)
        return log10(everybody / max(1, self._doubtful))

    @property
    def _doubtful(self) -> int:
        """Users who are wrong or can't be compared: who is both counts once at most."""
        return min(self.wrong.total() + self.unusable, self.users + self.orphans)


_ORDER = {cause: at for at, cause in enumerate(Cause)}


def to_json(finding: Finding) -> str:
    """One JSON object in one line."""
    odd = finding.odd
    return _encoded(
        {
            "user": str(finding.user),
            "table": finding.table,
            "key": odd.key,
            "field": odd.field,
            "shape": odd.shape,
            "redis": odd.is_there,
            "database": odd.should_be,
            "cause": finding.cause,
            "why": WHY[finding.cause],
            "detail": finding.detail,
            "first_seen": timestamp(finding.since_ms),
            "mended": finding.is_mended,
        }
    )


def to_text(finding: Finding) -> str:
    """Two lines: what is wrong, and why."""
    detail = f" ({finding.detail})" if finding.detail else ""
    mended = "  mended" if finding.is_mended else ""
    return (
        f"{finding.user!s:<16} {_what(finding.odd)}{mended}\n"
        f"{'':<16} {finding.cause}: {WHY[finding.cause]}{detail}; first seen {timestamp(finding.since_ms)}"
    )


def _what(odd: Odd) -> str:
    if odd.shape is Shape.LEFT:
        return f"{odd.key}: the database does not have this user"
    if odd.shape is Shape.TYPE:
        return f"{odd.key}: a key of another type"
    if not odd.field and odd.shape is Shape.ABSENT:
        return f"{odd.key}: not there"
    name = f" {odd.field}" if odd.field else ""
    return f"{odd.key}{name}: Redis {_shown(odd.is_there)}, database {_shown(odd.should_be)}"


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def summary_json(tally: Tally) -> str:
    """One JSON object in one line."""
    return _encoded(
        {
            "users": tally.users,
            "wrong": tally.wrong.total(),
            "mended": tally.mended,
            "orphans": tally.orphans,
            "unusable": tally.unusable,
            "share_right": tally.share_right,
            "nines": round(tally.nines, 2),
            "causes": dict(tally.wrong),
        }
    )


def summary_text(tally: Tally) -> str:
    """A few lines for a person."""
    wrong = tally.wrong.total()
    lines = [f"{tally.users:,} users compared, {wrong:,} wrong ({tally.share_right:.6%} right)"]
    lines += [f"  {count:>8,}  {cause}" for cause, count in tally.wrong.most_common()]
    if tally.mended:
        lines.append(f"  {tally.mended:>8,}  mended")
    if tally.unusable:
        lines.append(f"  {tally.unusable:>8,}  rows that can't be compared, or not in all columns")
    return "\n".join(lines)


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
