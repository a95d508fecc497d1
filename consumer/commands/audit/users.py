"""The users to look at: rows of the database by key range, named ones, a sample, and strangers in Redis."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from consumer.database.reader import Database
from consumer.events.event import RowImage
from consumer.events.position import SourcePosition
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.observability.audit_progress import AuditProgress
from consumer.pipeline.batch import batched
from consumer.planning.read_row import ReadRow
from consumer.sink.standing import RedisView

_SAMPLED_TOGETHER = 50
_BEFORE_ALL = -(2**63)  # a negative key is no user's, and is told of


@dataclass(frozen=True, slots=True)
class Order:
    """Which users: all of ``tables`` (of every table, if empty), those named, or ``sample`` of each table by chance."""

    users: tuple[UserId, ...] = ()
    tables: tuple[str, ...] = ()
    sample: int = 0
    repairs: bool = False

    @property
    def looks_for_strangers(self) -> bool:
        """Whether users in Redis are looked up in the database too."""
        return not self.users and not self.sample

    def of(self, rules: Rules) -> list[UserTable]:
        """The tables whose users are looked at."""
        return [each for each in rules.tables if not self.tables or each.table in self.tables]


class Users:
    """Rows as they are now. ``place`` is where the log stood at the beginning; none of them is held by it."""

    def __init__(self, database: Database, view: RedisView, rules: Rules, page: int) -> None:
        """Raises:
        ServerError: as :meth:`consumer.database.reader.Database.position`.
        """
        self._database = database
        self._view = view
        self._rules = rules
        self._page = page
        self._place: SourcePosition = database.position()

    def now(self, table: UserTable, number: int) -> ReadRow:
        """One user.

        Raises:
            ServerError: as :meth:`pages`.
        """
        found = self._database.rows(table, number - 1, 1)
        image = found[0] if found and _key(table, found[0]) == number else None
        return ReadRow(table.table, number, image, self._place)

    def pages(self, table: UserTable, order: Order, progress: AuditProgress) -> Iterator[list[ReadRow]]:
        """Those of ``table`` that were ordered, a page at a time.

        Raises:
            ServerError: as :meth:`consumer.database.reader.Database.rows`.
        """
        if order.users:
            named = [user.id for user in order.users if user.user_type == table.user_type]
            if named:
                yield [self.now(table, each) for each in named]
            return
        last = self._last_key(table)
        progress.begin(table.table, last)
        for images in self._sampled(table, last, order.sample) if order.sample else self._in_order(table):
            rows = [ReadRow(table.table, _key(table, image), image, self._place) for image in images]
            progress.reach(rows[-1].key, len(rows))
            yield rows

    def strangers(self, order: Order, progress: AuditProgress) -> Iterator[tuple[UserTable, list[ReadRow]]]:
        """Users of whom Redis has a key and the database no row, a page at a time.

        Raises:
            ServerError: of the database, or of Redis.
        """
        tables = {table.user_type: table for table in order.of(self._rules)}
        progress.begin("users in Redis", None)
        told: set[UserId] = set()  # there is one key of each kind
        there = (user for user in self._view.users(self._rules) if user.user_type in tables)
        for some in batched(there, self._page):
            for user_type, table in tables.items():
                ids = {user.id for user in some if user.user_type == user_type and user not in told}
                gone = ids - self._database.existing(table, ids) if ids else ids
                told |= {UserId(user_type, each) for each in gone}
                if gone:
                    yield table, [ReadRow(table.table, each, None, self._place) for each in sorted(gone)]

    def _in_order(self, table: UserTable) -> Iterator[list[RowImage]]:
        after = _BEFORE_ALL
        while images := self._database.rows(table, after, self._page):
            yield images
            after = _key(table, images[-1])

    def _sampled(self, table: UserTable, last: int | None, wanted: int) -> Iterator[list[RowImage]]:
        """Rows behind keys that chance names, a few neighbours at a time; none twice."""
        if last is None:
            return
        seen: set[int] = set()
        # Keys behind which nothing is new: large gaps would else take nearly every draw.
        used: list[tuple[int, int]] = []
        while (limit := min(_SAMPLED_TOGETHER, wanted - len(seen))) > 0:
            start = _drawn(last, used)
            if start is None:
                return
            found = self._database.rows(table, start, limit)
            used.append((start, _key(table, found[-1]) if found else last))
            if fresh := [image for image in found if _key(table, image) not in seen]:
                seen.update(_key(table, image) for image in fresh)
                yield fresh

    def _last_key(self, table: UserTable) -> int | None:
        """The greatest key, found by a few reads of one row; None of an empty table."""
        if not self._database.rows(table, -1, 1):
            return None
        low, high = 0, 1
        while self._database.rows(table, high, 1):
            low, high = high, high * 2
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._database.rows(table, middle, 1) else (low, middle)
        return low


def _drawn(last: int, used: Sequence[tuple[int, int]]) -> int | None:
    """A key below ``last`` by chance that is in none of the ranges ``used``; None where none is left."""
    free = list(_between(last, used))
    if not free:
        return None
    at = random.randrange(sum(end - start for start, end in free))  # noqa: S311  # no secret
    for start, end in free:
        if at < end - start:
            break
        at -= end - start
    return start + at


def _between(last: int, used: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges from -1 to ``last`` that ``used`` leaves."""
    reached = -1
    for start, end in (*sorted(used), (last, last)):
        if start > reached:
            yield reached, start
        reached = max(reached, end)


def _key(table: UserTable, image: RowImage) -> int:
    return int(str(image[table.key]))
