"""An audit put together: rows by key range, Redis beside them, and a closer look at whoever differs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from types import TracebackType
from typing import Self

import structlog

from consumer.audit.bar import AuditProgress
from consumer.audit.evidence import Witness
from consumer.audit.finding import Finding, Tally
from consumer.audit.passage import Patience, let_pass
from consumer.audit.suspect import Suspect, odds_of
from consumer.audit.topics import Topics
from consumer.avro import Schemas
from consumer.config import Settings
from consumer.database.reader import Database
from consumer.database.row import ReadRow
from consumer.effect import Plan
from consumer.errors import RecordError, ServerError
from consumer.event import RowImage
from consumer.keys import UserId
from consumer.position import SourcePosition
from consumer.rebuild import rebuild_read
from consumer.rules import Rules, UserTable
from consumer.sink import RedisSink
from consumer.standing import RedisView

_log = structlog.get_logger(__name__)
# How many users are looked at closely together: what is held of them bounds the memory.
_TOGETHER = 2000
# Another look, each after what was under way has passed. A field that goes to and fro may once be caught in between.
_LOOKS = 2
_SAMPLED_TOGETHER = 50

Say = Callable[[Sequence[Finding]], None]
"""Told of the findings about one user."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which users: all of ``tables`` (of every table, if empty), those named, or ``sample`` of them by chance."""

    users: tuple[UserId, ...] = ()
    tables: tuple[str, ...] = ()
    sample: int = 0
    repairs: bool = False

    @property
    def looks_for_orphans(self) -> bool:
        """Whether users in Redis are looked up in the database too."""
        return not self.users and not self.sample

    def of(self, rules: Rules) -> list[UserTable]:
        """The tables whose users are looked at."""
        return [each for each in rules.tables if not self.tables or each.table in self.tables]


@dataclass(slots=True)
class _Case:
    """One user as database and Redis are now; ``plan`` is what would make Redis right."""

    user: UserId
    table: UserTable
    plan: Plan


class Audit:
    """Compares, and mends where that is asked for. A context: the connections go with it."""

    def __init__(
        self, settings: Settings, rules: Rules, schemas: Schemas, order: Order, should_stop: Callable[[], bool]
    ) -> None:
        """Raises:
        ConfigError, ServerUnavailable: a server can't be reached, or refuses.
        """
        self._rules = rules
        self._order = order
        self._should_stop = should_stop
        audit = settings.audit
        self._page = audit.page
        self._patience = Patience(audit.settle_s, audit.patience_s, settings.guard.lineage_gap_ms)
        with ExitStack() as opened:
            self._database = Database(settings.database)
            opened.callback(self._database.close)
            self._database.reach()
            self._view = RedisView(settings.redis)
            opened.callback(self._view.close)
            self._view.run()
            self._topics = opened.enter_context(Topics(settings.kafka, rules, schemas))
            self._witness = Witness(settings, rules, self._view, self._topics)
            self._sink: RedisSink | None = None
            if order.repairs:
                self._sink = RedisSink(settings.redis, settings.guard, rules)
                opened.callback(self._sink.close)
                self._sink.reach()
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def whole(self, say: Say, progress: AuditProgress) -> Tally:
        """Everything that was ordered, once.

        Raises:
            ServerUnavailable, ServerError: of a server; what was told till then holds.
        """
        tally = Tally()
        suspects: list[Suspect] = []
        self._witness.begin()
        for table in self._order.of(self._rules):
            for cases in self._pages(table, tally, progress):
                suspects += self._odd(cases)
                if len(suspects) >= _TOGETHER:
                    self._settle(suspects, tally, say)
                    suspects = []
                if self._should_stop():
                    break
        if self._order.looks_for_orphans and not self._should_stop():
            for strangers in self._strangers(progress):
                suspects += self._odd(strangers)
                if len(suspects) >= _TOGETHER:
                    self._settle(suspects, tally, say)
                    suspects = []
        self._settle(suspects, tally, say)
        return tally

    def _pages(self, table: UserTable, tally: Tally, progress: AuditProgress) -> Iterator[list[_Case]]:
        """The users of ``table``, a page at a time."""
        place = self._database.position()
        if self._order.users:
            for user in self._order.users:
                if user.user_type == table.user_type:
                    tally.users += 1
                    yield self._cases([self._database.row(table, user.id)], table, tally)
            return
        last = self._last_key(table)
        progress.begin(table.table, last)
        if last is None:
            return
        pages = self._sampled(table, last) if self._order.sample else self._in_order(table)
        for images in pages:
            rows = [_row(table, image, place) for image in images]
            tally.users += len(rows)
            progress.reach(rows[-1].key, len(rows))
            yield self._cases(rows, table, tally)

    def _in_order(self, table: UserTable) -> Iterator[list[RowImage]]:
        after = -1
        while images := self._database.rows(table, after, self._page):
            yield images
            after = _key(table, images[-1])

    def _sampled(self, table: UserTable, last: int) -> Iterator[list[RowImage]]:
        """Rows behind keys that chance names, a few neighbours at a time; none twice."""
        seen: set[int] = set()
        wanted = self._order.sample
        for _ in range(2 * wanted // min(wanted, _SAMPLED_TOGETHER) + 2):
            limit = min(_SAMPLED_TOGETHER, wanted - len(seen))
            if limit <= 0:
                return
            found = self._database.rows(table, random.randint(-1, last - 1), limit)  # noqa: S311  # no secret
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

    def _strangers(self, progress: AuditProgress) -> Iterator[list[_Case]]:
        """Users of whom Redis has a key and the database no row."""
        tables = {table.user_type: table for table in self._order.of(self._rules)}
        progress.begin("users in Redis", None)
        place = self._database.position()
        there = (user for user in self._view.users(self._rules) if user.user_type in tables)
        while some := list(islice(there, self._page)):
            fresh = dict.fromkeys(some)
            progress.reach(0, 0)
            for user_type, table in tables.items():
                ids = [user.id for user in fresh if user.user_type == user_type]
                if ids and (gone := set(ids) - self._database.existing(table, ids)):
                    yield self._cases([ReadRow(table.table, each, None, place) for each in gone], table, Tally())

    def _cases(self, rows: Iterable[ReadRow], table: UserTable, tally: Tally) -> list[_Case]:
        cases = []
        for row in rows:
            user = UserId(table.user_type, row.key)
            try:
                cases.append(_Case(user, table, rebuild_read(row, table, self._rules)))
            except RecordError as error:
                tally.unusable += 1
                _log.warning("a row can't be compared", action="audit.unusable", user=str(user), problem=str(error))
        return cases

    def _odd(self, cases: Sequence[_Case]) -> list[Suspect]:
        """Those of whom something is odd now."""
        standings = self._view.standings([case.plan for case in cases])
        now = time.time_ns() // 1_000_000
        seen = ((case, odds_of(case.plan, there)) for case, there in zip(cases, standings, strict=True))
        return [Suspect(case.user, case.table, odds, now) for case, odds in seen if odds]

    def _settle(self, suspects: Sequence[Suspect], tally: Tally, say: Say) -> None:
        """Tell of those who are still odd after what was under way has passed."""
        # An orphan that Redis' scan named twice, or a user who is in both passes, is one.
        left = list({(each.user, each.table.table): each for each in suspects}.values())
        for _ in range(_LOOKS):
            if not left or self._should_stop():
                return
            passage = let_pass(self._database, self._topics, self._patience, self._should_stop)
            left = self._looked_again(left)
        for suspect, findings in self._witness.findings(left, passage):
            told = self._mended(self._sink, suspect, findings) if self._sink is not None else findings
            tally.add(told)
            say(told)

    def _looked_again(self, suspects: Sequence[Suspect]) -> list[Suspect]:
        still = []
        for suspect in suspects:
            now = {odd for each in self._odd(self._again(suspect)) for odd in each.odds}
            again = suspect.seen_again(frozenset(now))
            if again.odds:
                still.append(again)
        return still

    def _again(self, suspect: Suspect) -> list[_Case]:
        return self._cases([self._database.row(suspect.table, suspect.user.id)], suspect.table, Tally())

    def _mended(self, sink: RedisSink, suspect: Suspect, findings: Sequence[Finding]) -> list[Finding]:
        """Redis written anew from the database's row, through the guard; what came since is newer and stays."""
        cases = self._again(suspect)
        for _, answer in sink.apply([case.plan for case in cases]):
            if isinstance(answer, ServerError):
                _log.warning(
                    "Redis refuses what would mend a user",
                    action="audit.not_mended",
                    user=str(suspect.user),
                    problem=answer.problem,
                )
        still = {(odd.key, odd.field) for each in self._odd(self._again(suspect)) for odd in each.odds}
        return [replace(each, is_mended=(each.odd.key, each.odd.field) not in still) for each in findings]


def _row(table: UserTable, image: RowImage, place: SourcePosition) -> ReadRow:
    return ReadRow(table.table, _key(table, image), image, place)


def _key(table: UserTable, image: RowImage) -> int:
    return int(str(image[table.key]))
