"""What members and the audit leave in Redis, so that ``status`` can show it without asking each process.

These are counts, names and times: no row value, no address with a password. Times are UTC milliseconds. A report of
another version of the program may lack fields or have more of them, so each field that may be new has a default.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from consumer.events.record import Partition

MEMBER_TTL_S = 20
"""A member's report is gone so long after it was written last."""
AUDIT_TTL_S = 30 * 86_400
"""An audit's report is gone so long after the audit."""

_WINDOW_S = 60.0
_T = TypeVar("_T")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a member knows of its own work.

    ``lag_s``: of the partition that is furthest behind. ``waits_for``: the servers that it waits for now. ``unready``:
    why it is not ready, or ""; the connectors are not a reason here, because ``status`` asks them itself. ``index``:
    the state of its index of wildcard keys. ``done``: the records that it has finished since its start.
    """

    partitions: tuple[Partition, ...]
    lag_records: int
    lag_s: float
    waits_for: tuple[str, ...]
    unready: str
    index: str
    done: int


def by_topic(partitions: Iterable[Partition]) -> dict[str, tuple[int, ...]]:
    """The numbers of partitions by topic, as a report has them."""
    found: dict[str, tuple[int, ...]] = {}
    for each in sorted(partitions):
        found[each.topic] = (*found.get(each.topic, ()), each.number)
    return found


class MemberReport(msgspec.Struct, frozen=True, kw_only=True):
    """A member at one time.

    ``partitions``: the numbers of its partitions, by topic. ``worker``: its number with ``--workers``, from 0.
    ``per_minute``: records finished in the last minute. ``heartbeat_age_s``: the age of the connector's newest
    heartbeat; None if the member knows none. Others: as in :class:`Figures`.
    """

    host: str
    pid: int
    version: str
    started_ms: int
    written_ms: int
    worker: int | None = None
    partitions: dict[str, tuple[int, ...]] = {}
    per_minute: float = 0.0
    lag_records: int = 0
    lag_s: float = 0.0
    waits_for: tuple[str, ...] = ()
    unready: str = ""
    index: str = ""
    heartbeat_age_s: float | None = None

    @property
    def name(self) -> str:
        """The member's name on a screen; not unique for ever, because process ids are used again."""
        return f"{self.host}:{self.pid}"

    @property
    def held(self) -> frozenset[Partition]:
        """Its partitions."""
        return frozenset(Partition(topic, number) for topic, numbers in self.partitions.items() for number in numbers)


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the last audit.

    ``causes``: the wrong users by their first cause. ``mended``: the wrong users that the audit corrected. ``scope``:
    which users were compared; "" for all.
    """

    ended_ms: int
    users: int
    wrong: int
    share_right: float
    causes: dict[str, int] = {}
    mended: int = 0
    unusable: int = 0
    scope: str = ""

    @property
    def left(self) -> int:
        """The users who are still wrong, or could not be compared."""
        return max(0, self.wrong - self.mended) + self.unusable


def encoded(report: MemberReport | AuditReport) -> str:
    """As JSON, so that a person can read it with ``redis-cli GET``."""
    return msgspec.json.encode(report).decode()


def decoded(text: str, kind: type[_T]) -> _T | None:
    """A report; None if the text is none, because another version of the program, or another program, wrote it."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class Rate:
    """Records a minute over the last minute, from a total that only grows. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def per_minute(self, total: int, now: float) -> float:
        """Store the total at ``now``; answers the rate since the oldest look of the last minute, 0 at the first."""
        while self._looks and now - self._looks[0][0] > _WINDOW_S:
            self._looks.popleft()
        self._looks.append((now, total))
        began, before = self._looks[0]
        return (total - before) / (now - began) * 60 if now > began else 0.0
