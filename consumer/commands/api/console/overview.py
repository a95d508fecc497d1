"""What the overview shows. The servers are asked at most every few seconds, however many look at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consumer.commands.api.console import prometheus
from consumer.commands.api.console.chart import Chart, chart
from consumer.commands.api.console.flow import Box, boxes, database_finding
from consumer.commands.shared.finding import Finding, Level
from consumer.commands.shared.status.facts import Facts, Limits, Redis, Unknown
from consumer.commands.shared.status.group_judgement import MEMBER
from consumer.commands.shared.status.judgement import Line, judged
from consumer.commands.shared.status.rounds import WITHIN_S, Survey, Surveys
from consumer.pipeline.minutes import Minute
from consumer.pipeline.reports import AuditReport, MemberReport
from consumer.settings.sources import Settings
from consumer.sink import minute_store
from consumer.sink.keyspace import within

LOOK_S = 3.0
_OF_FLOW = ("connector", "heartbeat", "kafka", "group", "redis", MEMBER)
CHARTED = 60
_LONGEST_ANSWER_MS = 3000


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything on the overview, at ``now_ms``. ``others``: findings that no box and no member shows.

    ``troubles``: of members, those that are not well. ``audit``: the last one, None if none is known. ``charts_lack``:
    why the charts are empty, or "".
    """

    now_ms: int
    boxes: Sequence[Box]
    others: Sequence[Finding]
    members: Sequence[MemberReport]
    troubles: Sequence[Finding]
    audit: AuditReport | None
    charts: Sequence[Chart]
    charts_lack: str = ""

    @property
    def level(self) -> Level:
        """How all is."""
        levels = {*(each.level for each in self.boxes), *(each.level for each in self.others)}
        return next((each for each in (Level.FAILURE, Level.WARNING) if each in levels), Level.OK)


class Overview:
    """Asks, judges, and keeps the answer for a moment."""

    def __init__(self, settings: Settings, limits: Limits, database: Callable[[], bool] | None) -> None:
        """``database``: raises if it does not answer; None if its address is not set."""
        self._limits = limits
        self._surveys = Surveys(settings)
        self._database = None if database is None else Survey("the database", database)
        keeper = "Redis" if settings.prometheus.url is None else "Prometheus"
        self._minutes = Survey(keeper, lambda: _minutes(settings), keep_s=20.0)
        self._lock = threading.Lock()
        self._seen: Seen | None = None
        self._at = 0.0

    def look(self) -> Seen:
        """What is known now. While one caller asks, the others get what was known before, if anything was."""
        before = self._seen
        if before is not None and time.monotonic() - self._at < LOOK_S:
            return before
        if not self._lock.acquire(blocking=before is None):
            assert before is not None  # noqa: S101  # else it would have waited
            return before
        try:
            if self._seen is None or time.monotonic() - self._at >= LOOK_S:
                self._seen, self._at = self._ask(), time.monotonic()
            return self._seen
        finally:
            self._lock.release()

    def _ask(self) -> Seen:
        deadline = time.monotonic() + WITHIN_S
        self._minutes.begin()
        if self._database is not None:
            self._database.begin()
        facts = self._surveys.facts()
        answer = None if self._database is None else self._database.answer(deadline)
        minutes = self._minutes.answer(deadline)
        return seen(facts, judged(facts, self._limits), database_finding(answer), () if minutes is None else minutes)


def _minutes(settings: Settings) -> Sequence[Minute]:
    now = int(time.time() // 60)
    if (address := settings.prometheus.url) is not None:
        return prometheus.load(settings.prometheus, address, now - CHARTED, now - 1)
    server = within(settings.redis, _LONGEST_ANSWER_MS)
    return minute_store.load(server, settings.kafka.group_id, now - CHARTED, now)


def seen(facts: Facts, lines: Sequence[Line], database: Finding, minutes: Sequence[Minute] | Unknown) -> Seen:
    """What the overview shows of ``facts`` and their judgement, and of the group's last minutes."""
    known, charts_lack = ((), minutes.why) if isinstance(minutes, Unknown) else (minutes, "")
    reports = facts.redis.reports if isinstance(facts.redis, Redis) else None
    findings = [line.finding for line in lines]
    return Seen(
        facts.now_ms,
        boxes(facts, lines, database),
        [each for each in findings if each.subject not in _OF_FLOW],
        () if reports is None else reports.members,
        [each for each in findings if each.subject == MEMBER and each.level is not Level.OK],
        None if reports is None else reports.audit,
        charts(known, facts.now_ms // 60_000),
        charts_lack,
    )


def charts(minutes: Sequence[Minute], now: int) -> list[Chart]:
    """Rate and lag of the last hour. ``now``: the present minute, which is not whole yet and not shown."""
    by_number = {each.number: each for each in minutes}
    shown = [by_number.get(number) for number in range(now - CHARTED, now)]
    return [
        chart("Rate", "records a minute", [None if each is None else each.done for each in shown]),
        chart("Lag", "records", [None if each is None else each.lag_records for each in shown]),
    ]
