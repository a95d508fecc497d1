"""Repeats audits: each difference is reported once, and counted in every round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import structlog

from consumer.commands.audit.differing_user import UserDifference
from consumer.commands.audit.exported import AuditMetrics
from consumer.commands.audit.finding import Finding
from consumer.commands.audit.left_report import LeftReport, report_of
from consumer.commands.audit.run import Audit, Say
from consumer.commands.audit.users import UserSelection
from consumer.errors import ServerError
from consumer.events.avro import Schemas
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.observability.progress import Progress
from consumer.settings.sources import Settings

_log = structlog.get_logger(__name__)
_REMEMBERED = 10_000
_STEP_S = 0.2


class Known:
    """The findings of the last round, so that only new ones are reported, with the time when they were first seen."""

    def __init__(self) -> None:
        self._before: dict[tuple[UserId, UserDifference], int] = {}
        self._now: dict[tuple[UserId, UserDifference], int] = {}

    def fresh(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings of one user that are new since the last round, or were corrected in this one."""
        reported = []
        for each in findings:
            what = each.user, each.difference
            since = self._before.get(what, self._now.get(what))  # _now: reported in a round that failed
            if not each.is_mended and len(self._now) < _REMEMBERED:
                self._now[what] = each.since_ms if since is None else since
            if since is None or each.is_mended:
                reported.append(each if since is None else replace(each, since_ms=since))
        return reported

    def next_round(self) -> None:
        """The round is finished: forget differences that were not found in it."""
        self._before, self._now = self._now, {}


def watch(
    settings: Settings,
    rules: Rules,
    schemas: Schemas,
    user_selection: UserSelection,
    metrics: AuditMetrics,
    say: Say,
    should_stop: Callable[[], bool],
) -> None:
    """Repeat audits until told to stop. If a server is away, the round fails, and the next one follows.

    Raises:
        ConfigError: a setting is wrong.
    """
    known, left = Known(), LeftReport(settings)
    for number in count():
        if should_stop():
            return
        if user_selection.seed is not None and number:  # each round takes another sample
            user_selection = replace(user_selection, seed=user_selection.seed + 1)
        began = time.monotonic()
        try:
            with Audit(settings, rules, schemas, user_selection, should_stop) as audit:
                result = audit.whole(
                    lambda found: say(known.fresh(found)),
                    Progress(action="audit.progress", unit="users", is_shown=False),
                )
        except ServerError as error:
            metrics.failed()
            _log.warning("a round failed", action="audit.failed", server=error.server, problem=error.problem)
        else:
            if should_stop():
                return
            known.next_round()
            now = time.time()
            metrics.done(result, time.monotonic() - began, now)
            left.leave(report_of(result, user_selection, round(now * 1000)))
            _log.info(
                "a round is done",
                action="audit.done",
                users=result.users,
                wrong=result.wrong.total(),
                mended=result.mended,
                causes=dict(result.wrong),
            )
        while time.monotonic() - began < settings.audit.interval_s and not should_stop():
            time.sleep(_STEP_S)
