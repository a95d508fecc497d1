"""The users to look at: rows of the database by key range, named ones, a sample, and strangers in Redis."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from consumer.commands.audit.sample import Sample
from consumer.database.reader import Database
from consumer.events.event import RowImage
from consumer.events.position import SourcePosition
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.observability.audit_progress import AuditProgress
from consumer.pipeline.batch import batched
from consumer.planning.read_row import ReadRow
from consumer.sink.view import RedisView

_BEFORE_ALL = -(2**63)  # a negative key is no user's, and is told of


@dataclass(frozen=True, slots=True)
class Order:
    """Which users: all of ``tables`` (of every table, if empty), those named, or ``sample`` of each table by chance,
    which ``seed`` decides.
    """

    users: tuple[UserId, ...] = ()
    tables: tuple[str, ...] = ()
    sample: int = 0
    repairs: bool = False
    seed: int | None = None

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
        progress.begin(table.table, order.sample or last)
        count = 0
        for images in self._sampled(table, last, order) if order.sample else self._in_order(table):
            rows = [ReadRow(table.table, _key(table, image), image, self._place) for image in images]
            count += len(rows)
            progress.reach(count if order.sample else rows[-1].key, len(rows))
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

    def _sampled(self, table: UserTable, last: int | None, order: Order) -> Iterator[list[RowImage]]:
        if last is None:
            return
        chance = random.Random(f"{order.seed} {table.table}")  # noqa: S311  # no secret
        sample = Sample(last, order.sample, chance)
        while keys := sample.draw():
            taken = sample.take(keys, self._database.existing(table, keys))
            found = [image for key in taken for image in self._database.rows(table, key - 1, 1)]
            if found:
                yield found
        while places := sample.draw_places():
            behind = {place: self._database.rows(table, place, 1) for place in places}
            chosen = [rows for place, rows in behind.items() if sample.take_behind(place, self._first(table, rows))]
            if chosen:
                yield [image for rows in chosen for image in rows]

    @staticmethod
    def _first(table: UserTable, rows: list[RowImage]) -> int | None:
        return _key(table, rows[0]) if rows else None

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


def _key(table: UserTable, image: RowImage) -> int:
    return int(str(image[table.key]))
