"""An audit put together: rows by key range, Redis beside them, and a closer look at whoever differs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from consumer.commands.audit.evidence import Witness
from consumer.commands.audit.finding import Finding, Tally
from consumer.commands.audit.suspect import Odd, Suspect, odds_of
from consumer.commands.audit.users import Order, Users
from consumer.commands.shared.passage import Patience, let_pass
from consumer.commands.shared.refresh import Refresher, SeenRow, write
from consumer.database.reader import Database
from consumer.errors import RecordError, ServerError
from consumer.events.avro import Schemas
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.observability.audit_progress import AuditProgress
from consumer.planning.read_row import ReadRow
from consumer.planning.rebuild import rebuild_read
from consumer.settings.sources import Settings
from consumer.sink.group_memory import recall
from consumer.sink.redis_sink import RedisSink
from consumer.sink.standing import RedisView
from consumer.source.selection import selected
from consumer.source.topic_ends import Topics

_log = structlog.get_logger(__name__)
# How many users are looked at closely together: what is held of them bounds the memory.
_TOGETHER = 2000
# Another look, each after what was under way has passed. A field that goes to and fro may once be caught in between.
_LOOKS = 2

Say = Callable[[Sequence[Finding]], None]
"""Told of the findings about one user."""


class Audit:
    """Compares, and mends where that is asked for. A context: the connections go with it."""

    def __init__(
        self, settings: Settings, rules: Rules, schemas: Schemas, order: Order, should_stop: Callable[[], bool]
    ) -> None:
        """Raises:
        ConfigError, ServerUnavailable: a server can't be reached, or refuses.
        """
        self._order = order
        self._should_stop = should_stop
        audit = settings.audit
        self._patience = Patience(audit.settle_s, audit.patience_s)
        self._sink: RedisSink | None = None
        with ExitStack() as opened:
            self._database = Database(settings.database)
            opened.callback(self._database.close)
            self._database.reach()
            self._view = RedisView(settings.redis)
            opened.callback(self._view.close)
            selection = selected(settings, rules, schemas, recall)
            self._rules = rules = replace(rules, databases=selection.databases)
            self._users = Users(self._database, self._view, rules, audit.page)
            self._topics = opened.enter_context(Topics(settings.kafka, selection, schemas))
            self._witness = Witness(settings, rules, self._view, self._topics)
            self._refresher = Refresher(self._database, self._view, self._topics, rules, self._patience)
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
        """Everything that was ordered, once; less if told to stop.

        Raises:
            ServerUnavailable, ServerError: of a server; what was told till then holds.
        """
        tally = Tally(seed=self._order.seed)
        self._witness.begin()
        suspects: dict[UserId, Suspect] = {}
        for table, rows in self._everybody(tally, progress):
            suspects |= {each.user: each for each in self._odd(table, rows, tally)}
            if self._should_stop():
                return tally
            if len(suspects) >= _TOGETHER:
                self._settle(list(suspects.values()), tally, say)
                suspects = {}
        self._settle(list(suspects.values()), tally, say)
        return tally

    def _everybody(self, tally: Tally, progress: AuditProgress) -> Iterator[tuple[UserTable, list[ReadRow]]]:
        for table in self._order.of(self._rules):
            for rows in self._users.pages(table, self._order, progress):
                tally.users += sum(row.image is not None for row in rows)
                yield table, rows
        if self._order.looks_for_strangers:
            yield from self._users.strangers(self._order, progress)

    def _odd(self, table: UserTable, rows: Iterable[ReadRow], tally: Tally) -> list[Suspect]:
        """Those of whom something is odd now."""
        plans = []
        for row in rows:
            problem = ""
            try:
                plan = rebuild_read(row, table, self._rules)
                plans.append(plan)
                if plan.unreadable:
                    problem = f"{', '.join(plan.unreadable)}: can't be read; the other columns are compared"
            except RecordError as error:
                problem = str(error)
            if problem:
                tally.unusable += 1
                user = str(UserId(table.user_type, row.key))
                _log.warning("a row can't be compared", action="audit.unusable", user=user, problem=problem)
        now = time.time_ns() // 1_000_000
        looked = zip(plans, self._view.standings(plans), strict=True)
        found = [(plan.user, odds_of(plan, there, table, self._rules), plan.removed) for plan, there in looked]
        if self._order.users:
            tally.nobody += [user for user, odds, removed in found if removed is not None and not odds]
        return [Suspect(user, table, odds, now) for user, odds, _ in found if odds]

    def _settle(self, suspects: list[Suspect], tally: Tally, say: Say) -> None:
        """Tell of those who are still odd after what was under way has passed."""
        for _ in range(_LOOKS):
            if not suspects or self._should_stop():
                return
            passage = let_pass(self._database, self._topics, self._patience, self._should_stop)
            looked = [each.seen_again(self._odds_now(each)) for each in suspects]
            suspects = [each for each in looked if each.odds]
        if self._should_stop():  # the last look was cut short
            return
        rows = self._rows(suspects) if self._sink is not None else {}
        for suspect, findings in self._witness.findings(suspects, passage):
            if self._should_stop():
                return
            row = rows.get(suspect.user)
            told = findings if row is None or self._sink is None else self._mended(self._sink, suspect, row, findings)
            tally.add(told)
            say(told)

    def _odds_now(self, suspect: Suspect) -> frozenset[Odd]:
        found = self._odd(suspect.table, [self._users.now(suspect.table, suspect.user.id)], Tally())
        return found[0].odds if found else frozenset()

    def _rows(self, suspects: Sequence[Suspect]) -> dict[UserId, SeenRow]:
        """The rows to be written, once the consumer has passed what they hold; none if it is behind."""
        found = {}
        for each in suspects:
            try:
                found[each.user] = self._refresher.read(each.table, each.user.id)
            except (ServerError, RecordError) as error:
                _say_not_mended(each.user, error.problem)
        behind = self._refresher.wait(self._should_stop).behind if found else frozenset()
        if behind:
            for user in found:
                _say_not_mended(user, "the consumer has not come to where the database is")
        return {} if behind else found

    def _mended(self, sink: RedisSink, suspect: Suspect, seen: SeenRow, findings: Sequence[Finding]) -> list[Finding]:
        """Redis written anew from the database's row, through the guard; what came since is newer and stays."""
        try:
            write(sink, seen.plan)
        except ServerError as error:
            _say_not_mended(suspect.user, error.problem)
            return list(findings)
        still = {(odd.key, odd.field) for odd in self._odds_now(suspect)}
        return [replace(each, is_mended=(each.odd.key, each.odd.field) not in still) for each in findings]


def _say_not_mended(user: UserId, problem: str) -> None:
    _log.warning("a user could not be mended", action="audit.not_mended", user=str(user), problem=problem)
