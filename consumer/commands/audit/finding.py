"""What an audit found: each difference with its cause, as text and JSON, and how many users are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import log10

import msgspec

from consumer.commands.audit.cause import WHY, Cause
from consumer.commands.audit.differing_user import Shape, UserDifference
from consumer.events.value import timestamp
from consumer.mapping.keys import UserId
from consumer.sink.drift import SPELLING


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``since_ms`` is when it was seen first, ``detail`` the version or mark that tells why.

    ``is_mended``: it was written anew through the guard, and is right now.
    """

    user: UserId
    table: str
    difference: UserDifference
    cause: Cause
    since_ms: int
    detail: str = ""
    is_mended: bool = False


@dataclass(slots=True)
class AuditResult:
    """How an audit came out: users compared, and those wrong by their first cause.

    ``users`` are rows of the database and ``orphans``, which are users that Redis alone has. ``unusable`` are rows that
    can't be compared, or not in all columns, ``mended`` those of the wrong that a repair made right. ``spelled`` are
    users who are right, some of whose values are written another way. ``nobody`` are users who were named, and whom
    neither the database nor Redis has. ``seed`` is that of a sample.
    """

    users: int = 0
    orphans: int = 0
    unusable: int = 0
    mended: int = 0
    spelled: int = 0
    wrong: Counter[Cause] = field(default_factory=Counter)
    nobody: list[UserId] = field(default_factory=list)
    seed: int | None = None

    def add(self, findings: Iterable[Finding]) -> None:
        """The findings about one user."""
        found = [each for each in findings if each.difference.shape is not Shape.SPELLING]
        if not found:
            self.spelled += 1
            return
        first = min(found, key=lambda each: _ORDER[each.cause])
        self.wrong[first.cause] += 1
        self.mended += all(each.is_mended for each in found)
        is_orphan = any(each.difference.shape is Shape.LEFT for each in found)
        self.orphans += is_orphan
        self.users += is_orphan

    @property
    def is_clean(self) -> bool:
        """Whether everything is right, or was made so."""
        return self.wrong.total() == self.mended and not self.unusable and not self.nobody

    @property
    def share_right(self) -> float:
        """The share of users of whom everything was right; 1 if there are none."""
        return 1 - self._doubtful / self.users if self.users else 1.0

    @property
    def nines(self) -> float:
        """The same as a number of nines: 0.999 is 3. Without anything wrong, what so many users can show at most."""
        return log10(max(1, self.users) / max(1, self._doubtful))

    @property
    def _doubtful(self) -> int:
        """Users who are wrong or can't be compared: who is both counts once at most."""
        return min(self.wrong.total() + self.unusable, self.users)


_ORDER = {cause: at for at, cause in enumerate(Cause)}


def to_json(finding: Finding) -> str:
    """One JSON object in one line."""
    difference = finding.difference
    return _encoded(
        {
            "user": str(finding.user),
            "table": finding.table,
            "key": difference.key,
            "field": difference.field,
            "shape": difference.shape,
            "redis": difference.is_there,
            "database": difference.should_be,
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
        f"{finding.user!s:<16} {_what(finding.difference)}{mended}\n"
        f"{'':<16} {finding.cause}: {WHY[finding.cause]}{detail}; first seen {timestamp(finding.since_ms)}"
    )


def _what(difference: UserDifference) -> str:
    if difference.shape is Shape.LEFT:
        return f"{difference.key}: the database does not have this user"
    if difference.shape is Shape.TYPE:
        return f"{difference.key}: a key of another type"
    if not difference.field and difference.shape is Shape.ABSENT:
        return f"{difference.key}: not there"
    name = f" {difference.field}" if difference.field else ""
    said = f"{difference.key}{name}: Redis {_shown(difference.is_there)}, database {_shown(difference.should_be)}"
    return f"{said}: the {SPELLING}" if difference.shape is Shape.SPELLING else said


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def summary_json(result: AuditResult) -> str:
    """One JSON object in one line."""
    return _encoded(
        {
            "users": result.users,
            "wrong": result.wrong.total(),
            "mended": result.mended,
            "orphans": result.orphans,
            "spelled_another_way": result.spelled,
            "unknown_users": [str(each) for each in result.nobody],
            "seed": result.seed,
            "unusable": result.unusable,
            "share_right": result.share_right,
            "nines": round(result.nines, 2),
            "causes": dict(result.wrong),
        }
    )


def summary_text(result: AuditResult) -> str:
    """A few lines for a person."""
    wrong = result.wrong.total()
    lines = [f"{result.users:,} users compared, {wrong:,} wrong ({result.share_right:.6%} right)"]
    lines += [f"  {each}: neither the database nor Redis has such a user" for each in result.nobody]
    lines += [f"  {count:>8,}  {cause}" for cause, count in result.wrong.most_common()]
    if result.mended:
        lines.append(f"  {result.mended:>8,}  mended")
    if result.orphans:
        lines.append(f"  {result.orphans:>8,}  of them in Redis and not in the database")
    if result.spelled:
        lines.append(f"  {result.spelled:>8,}  with a value written another way, which is no difference")
    if result.seed is not None:
        lines.append(f"  the same sample again: --seed {result.seed}")
    if result.unusable:
        lines.append(f"  {result.unusable:>8,}  rows that can't be compared, or not in all columns")
    return "\n".join(lines)


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
