"""The users to compare: rows of the database by key range, named users, a sample, and users who are only in Redis."""

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
from consumer.observability.progress import Progress
from consumer.pipeline.batch import batched
from consumer.planning.database_row import DatabaseRow
from consumer.sink.view import RedisView

_BEFORE_ALL = -(2**63)  # a negative key is no user's, and is reported


@dataclass(frozen=True, slots=True)
class UserSelection:
    """Which users to compare: all of ``tables`` (empty: of every table), named ones, or ``sample`` random users of each
    table. ``seed`` decides the sample.
    """

    users: tuple[UserId, ...] = ()
    tables: tuple[str, ...] = ()
    sample: int = 0
    repairs: bool = False
    seed: int | None = None

    @property
    def checks_redis(self) -> bool:
        """Whether to check that users in Redis are in the database too."""
        return not self.users and not self.sample

    def of(self, rules: Rules) -> list[UserTable]:
        """The tables whose users are compared."""
        return [each for each in rules.tables if not self.tables or each.table in self.tables]


class Users:
    """Reads present rows. ``_place``: the log's position at the start; rows may be newer than it."""

    def __init__(self, database: Database, view: RedisView, rules: Rules, page: int) -> None:
        """Read the log's position.

        Raises:
            ServerError: as :meth:`consumer.database.reader.Database.position`.
        """
        self._database = database
        self._view = view
        self._rules = rules
        self._page = page
        self._place: SourcePosition = database.position()

    def now(self, table: UserTable, number: int) -> DatabaseRow:
        """The present row of one user.

        Raises:
            ServerError: as :meth:`pages`.
        """
        found = self._database.rows(table, number - 1, 1)
        image = found[0] if found and _key(table, found[0]) == number else None
        return DatabaseRow(table.table, number, image, self._place)

    def pages(self, table: UserTable, user_selection: UserSelection, progress: Progress) -> Iterator[list[DatabaseRow]]:
        """The selected users of ``table``, page by page.

        Raises:
            ServerError: as :meth:`consumer.database.reader.Database.rows`.
        """
        if user_selection.users:
            named = [user.id for user in user_selection.users if user.user_type == table.user_type]
            if named:
                yield [self.now(table, each) for each in named]
            return
        last = self._last_key(table)
        progress.begin(table.table, user_selection.sample or last)
        count = 0
        for images in self._sampled(table, last, user_selection) if user_selection.sample else self._in_order(table):
            rows = [DatabaseRow(table.table, _key(table, image), image, self._place) for image in images]
            count += len(rows)
            progress.advance(len(rows), count if user_selection.sample else rows[-1].key)
            yield rows

    def only_in_redis(
        self, user_selection: UserSelection, progress: Progress
    ) -> Iterator[tuple[UserTable, list[DatabaseRow]]]:
        """Users with a key in Redis and without a row in the database, page by page.

        Raises:
            ServerError: from the database, or from Redis.
        """
        tables = {table.user_type: table for table in user_selection.of(self._rules)}
        progress.begin("users in Redis", None)
        reported: set[UserId] = set()  # a user has several keys
        in_redis = (user for user in self._view.users(self._rules) if user.user_type in tables)
        for some in batched(in_redis, self._page):
            for user_type, table in tables.items():
                ids = {user.id for user in some if user.user_type == user_type and user not in reported}
                gone = ids - self._database.existing(table, ids) if ids else ids
                reported |= {UserId(user_type, each) for each in gone}
                if gone:
                    yield table, [DatabaseRow(table.table, each, None, self._place) for each in sorted(gone)]

    def _in_order(self, table: UserTable) -> Iterator[list[RowImage]]:
        after = _BEFORE_ALL
        while images := self._database.rows(table, after, self._page):
            yield images
            after = _key(table, images[-1])

    def _sampled(self, table: UserTable, last: int | None, user_selection: UserSelection) -> Iterator[list[RowImage]]:
        if last is None:
            return
        chance = random.Random(f"{user_selection.seed} {table.table}")  # noqa: S311  # not for security
        sample = Sample(last, user_selection.sample, chance)
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
        """The largest key, found with a few reads of one row; None if the table is empty."""
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
