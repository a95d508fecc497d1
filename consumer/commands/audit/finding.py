"""The results of an audit: each difference with its cause, as text and JSON, and the counts of users."""

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
from consumer.sink.comparison import SPELLING


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference with its cause.

    ``since_ms``: when it was first seen, UTC milliseconds. ``detail``: the version or mark that shows the cause.
    ``is_mended``: it was written again through the guard, and is right now.
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
    """The result of an audit: the number of users, and the wrong users by their first cause.

    ``users``: rows of the database and ``orphans``. ``orphans``: users who are only in Redis. ``unusable``: rows that
    can't be compared, or not in all columns. ``mended``: wrong users who were corrected. ``spelled``: users who are
    right, but with values in another form. ``nobody``: named users who are neither in the database nor in Redis.
    ``seed``: the seed of the sample.
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
        """Count one user with these findings."""
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
        """Whether all users are right, or were corrected."""
        return self.wrong.total() == self.mended and not self.unusable and not self.nobody

    @property
    def share_right(self) -> float:
        """The share of users without differences; 1 if there are no users."""
        return 1 - self._doubtful / self.users if self.users else 1.0

    @property
    def nines(self) -> float:
        """The share as a number of nines: 0.999 is 3. Without wrong users, the most that so many users can show."""
        return log10(max(1, self.users) / max(1, self._doubtful))

    @property
    def _doubtful(self) -> int:
        """The number of users who are wrong or can't be compared; a user counts at most once."""
        return min(self.wrong.total() + self.unusable, self.users)


_ORDER = {cause: at for at, cause in enumerate(Cause)}


def to_json(finding: Finding) -> str:
    """One JSON object on one line."""
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
    """Two lines: the difference, and its cause."""
    detail = f" ({finding.detail})" if finding.detail else ""
    mended = "  mended" if finding.is_mended else ""
    return (
        f"{finding.user!s:<16} {what(finding.difference)}{mended}\n"
        f"{'':<16} {finding.cause}: {WHY[finding.cause]}{detail}; first seen {timestamp(finding.since_ms)}"
    )


def what(difference: UserDifference) -> str:
    """What differs, in one line."""
    if difference.shape is Shape.LEFT:
        return f"{difference.key}: this user is not in the database"
    if difference.shape is Shape.TYPE:
        return f"{difference.key}: a key of another type"
    if not difference.field and difference.shape is Shape.ABSENT:
        return f"{difference.key}: does not exist"
    name = f" {difference.field}" if difference.field else ""
    text = f"{difference.key}{name}: Redis {_shown(difference.is_there)}, database {_shown(difference.should_be)}"
    return f"{text}: the {SPELLING}" if difference.shape is Shape.SPELLING else text


def _shown(value: str | None) -> str:
    return "nothing" if value is None else repr(value)


def summary_json(result: AuditResult) -> str:
    """One JSON object on one line."""
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
    """Some lines of text."""
    wrong = result.wrong.total()
    lines = [f"{result.users:,} users compared, {wrong:,} wrong ({result.share_right:.6%} right)"]
    lines += [f"  {each}: the user is neither in the database nor in Redis" for each in result.nobody]
    lines += [f"  {count:>8,}  {cause}" for cause, count in result.wrong.most_common()]
    if result.mended:
        lines.append(f"  {result.mended:>8,}  mended")
    if result.orphans:
        lines.append(f"  {result.orphans:>8,}  of them only in Redis")
    if result.spelled:
        lines.append(f"  {result.spelled:>8,}  with a value in another form, which is no difference")
    if result.seed is not None:
        lines.append(f"  the same sample again: --seed {result.seed}")
    if result.unusable:
        lines.append(f"  {result.unusable:>8,}  rows that can't be compared, or not in all columns")
    return "\n".join(lines)


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()
