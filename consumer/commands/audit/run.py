"""An audit: rows by key range, the values in Redis, and repeated checks of users who differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from consumer.commands.audit.differing_user import DifferingUser, UserDifference, user_differences
from consumer.commands.audit.evidence import CauseFinder
from consumer.commands.audit.finding import AuditResult, Finding
from consumer.commands.audit.users import Users, UserSelection
from consumer.commands.shared.catch_up import CatchUpLimits, wait_for_catch_up
from consumer.commands.shared.refresh import Refresher, SeenRow, write
from consumer.database.reader import Database
from consumer.errors import RecordError, ServerError
from consumer.events.avro import Schemas
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.observability.progress import Progress
from consumer.planning.database_row import DatabaseRow
from consumer.planning.rebuild import rebuild_read
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.consumed_topics import selected
from consumer.source.topic_ends import Topics

_log = structlog.get_logger(__name__)
# Users with differences that are checked together; this limits the memory.
_CHECKED_TOGETHER = 2000
# Repeated checks, each after a wait for changes in progress. A field that changes back and forth may differ once.
_CHECKS = 2

Say = Callable[[Sequence[Finding]], None]
"""Is called with the findings about one user."""


class Audit:
    """Compares users, and corrects them if told to. A context manager: it closes its connections at the end."""

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        schemas: Schemas,
        user_selection: UserSelection,
        should_stop: Callable[[], bool],
    ) -> None:
        """Connect.

        Raises:
            ConfigError, ServerUnavailable: a server can't be reached, or refuses.
        """
        self._user_selection = user_selection
        self._should_stop = should_stop
        audit = settings.audit
        self._limits = CatchUpLimits(audit.settle_s, audit.patience_s)
        self._sink: RedisSink | None = None
        with ExitStack() as opened:
            self._database = Database(settings.database)
            opened.callback(self._database.close)
            self._database.reach()
            self._view = RedisView(settings.redis)
            opened.callback(self._view.close)
            self._view.run()
            selection = selected(settings, rules, schemas, group_databases.load)
            self._rules = rules = replace(rules, databases=selection.databases)
            self._users = Users(self._database, self._view, rules, audit.page)
            self._topics = opened.enter_context(Topics(settings.kafka, selection, schemas))
            self._cause_finder = CauseFinder(settings, rules, self._view, self._topics)
            self._refresher = Refresher(self._database, self._view, self._topics, rules, self._limits)
            if user_selection.repairs:
                self._sink = RedisSink(settings.redis, settings.guard, rules)
                opened.callback(self._sink.close)
                self._sink.reach()
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._opened.close()

    def whole(self, say: Say, progress: Progress) -> AuditResult:
        """Audit all selected users, once; less if told to stop.

        Raises:
            ServerUnavailable, ServerError: from a server; earlier findings remain valid.
        """
        result = AuditResult(seed=self._user_selection.seed)
        self._cause_finder.begin()
        differing_users: dict[UserId, DifferingUser] = {}
        for table, rows in self._all_users(result, progress):
            differing_users |= {each.user: each for each in self._differing(table, rows, result)}
            if self._should_stop():
                return result
            if len(differing_users) >= _CHECKED_TOGETHER:
                self._check_again(list(differing_users.values()), result, say)
                differing_users = {}
        self._check_again(list(differing_users.values()), result, say)
        return result

    def _all_users(self, result: AuditResult, progress: Progress) -> Iterator[tuple[UserTable, list[DatabaseRow]]]:
        for table in self._user_selection.of(self._rules):
            for rows in self._users.pages(table, self._user_selection, progress):
                result.users += sum(row.image is not None for row in rows)
                yield table, rows
        if self._user_selection.checks_redis:
            yield from self._users.only_in_redis(self._user_selection, progress)

    def _differing(self, table: UserTable, rows: Iterable[DatabaseRow], result: AuditResult) -> list[DifferingUser]:
        """The users with differences now."""
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
                result.unusable += 1
                user = str(UserId(table.user_type, row.key))
                _log.warning("a row can't be compared", action="audit.unusable", user=user, problem=problem)
        now = time.time_ns() // 1_000_000
        pairs = zip(plans, self._view.stored_keys(plans), strict=True)
        found = [(plan.user, user_differences(plan, keys, table, self._rules), plan.removed) for plan, keys in pairs]
        if self._user_selection.users:
            result.nobody += [user for user, differences, removed in found if removed is not None and not differences]
        return [DifferingUser(user, table, differences, now) for user, differences, _ in found if differences]

    def _check_again(self, differing_users: list[DifferingUser], result: AuditResult, say: Say) -> None:
        """Report the users who still differ after waits for changes in progress."""
        for _ in range(_CHECKS):
            if not differing_users or self._should_stop():
                return
            catch_up = wait_for_catch_up(self._database, self._topics, self._limits, self._should_stop)
            checked = [each.seen_again(self._current_differences(each)) for each in differing_users]
            differing_users = [each for each in checked if each.differences]
        if self._should_stop():  # the last wait was cut short
            return
        rows = self._rows(differing_users) if self._sink is not None else {}
        for differing, findings in self._cause_finder.findings(differing_users, catch_up):
            if self._should_stop():
                return
            row = rows.get(differing.user)
            reported = (
                findings if row is None or self._sink is None else self._corrected(self._sink, differing, row, findings)
            )
            result.add(reported)
            say(reported)

    def _current_differences(self, differing: DifferingUser) -> frozenset[UserDifference]:
        found = self._differing(differing.table, [self._users.now(differing.table, differing.user.id)], AuditResult())
        return found[0].differences if found else frozenset()

    def _rows(self, differing_users: Sequence[DifferingUser]) -> dict[UserId, SeenRow]:
        """The rows to write, after the consumer has caught up with them; none if it is behind."""
        found = {}
        for each in differing_users:
            try:
                found[each.user] = self._refresher.read(each.table, each.user.id)
            except (ServerError, RecordError) as error:
                _log_not_corrected(each.user, error.problem)
        behind = self._refresher.wait(self._should_stop).behind if found else frozenset()
        if behind:
            for user in found:
                _log_not_corrected(user, "the consumer has not caught up with the database")
        return {} if behind else found

    def _corrected(
        self, sink: RedisSink, differing: DifferingUser, seen: SeenRow, findings: Sequence[Finding]
    ) -> list[Finding]:
        """Write the database's row to Redis through the guard; a newer change in Redis stays."""
        try:
            write(sink, seen.plan)
        except ServerError as error:
            _log_not_corrected(differing.user, error.problem)
            return list(findings)
        still = {(difference.key, difference.field) for difference in self._current_differences(differing)}
        return [replace(each, is_mended=(each.difference.key, each.difference.field) not in still) for each in findings]


def _log_not_corrected(user: UserId, problem: str) -> None:
    _log.warning("a user could not be corrected", action="audit.not_mended", user=str(user), problem=problem)
