"""A member leaves its figures in Redis; whatever Redis answers, it goes on."""

from __future__ import annotations

from typing import cast

from structlog.testing import capture_logs

from consumer.commands.run.member_reporter import MemberReporter
from consumer.commands.run.minute_reporter import MinuteReporter
from consumer.errors import ServerError, ServerUnavailable
from consumer.events.record import Partition
from consumer.pipeline.minutes import Minute
from consumer.pipeline.reports import Figures, MemberReport
from consumer.sink.minute_store import MinuteStore
from consumer.sink.report_store import ReportStore

REFUSED = ServerError("Redis", "NOPERM this user has no permissions")


class _Store:
    """As much of a store as a member uses."""

    def __init__(self) -> None:
        self.error: ServerError | None = None
        self.written: list[MemberReport] = []
        self.removed: list[MemberReport] = []

    def write_member(self, report: MemberReport) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(report)

    def remove_member(self, report: MemberReport) -> None:
        if self.error is not None:
            raise self.error
        self.removed.append(report)


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def figures(done: int = 0) -> Figures:
    return Figures(
        partitions=(Partition("t", 1), Partition("t", 0)),
        lag_records=4,
        lag_s=1.26,
        waits_for=(),
        unready="",
        index="warm",
        done=done,
    )


def reporter(store: _Store, clock: _Clock) -> MemberReporter:
    return MemberReporter(cast(ReportStore, store), lambda: figures(int(clock.now)), 2, clock)


def test_a_report_has_the_figures_and_who_it_is() -> None:
    store, clock = _Store(), _Clock()
    member = reporter(store, clock)
    member.look()
    clock.now += 30
    member.heartbeat_age_s = lambda: 2.34
    member.look()
    first, second = store.written
    assert (first.worker, first.partitions, first.lag_s, first.per_minute) == (2, {"t": (0, 1)}, 1.3, 0.0)
    assert (second.per_minute, second.heartbeat_age_s, first.heartbeat_age_s) == (60.0, 2.3, None)
    assert (second.started_ms, second.written_ms) == (1_000_000, 1_030_000)
    member.close()
    assert store.removed == [second]


def test_a_refusal_is_logged_once_and_again_after_it_was_over() -> None:
    store = _Store()
    member = reporter(store, _Clock())
    with capture_logs() as lines:
        store.error = REFUSED
        member.look()
        member.look()
        store.error = None
        member.look()
        store.error = REFUSED
        member.look()
        member.close()
    assert [(line["action"], line["log_level"]) for line in lines] == [("report.refused", "warning")] * 2


def test_a_redis_that_is_away_is_said_by_others() -> None:
    store = _Store()
    store.error = ServerUnavailable("Redis", "no answer")
    member = reporter(store, _Clock())
    with capture_logs() as lines:
        member.look()
        member.close()
    assert lines == []
    assert store.removed == []


class _Minutes:
    """As much of the store of minutes as a member uses."""

    def __init__(self) -> None:
        self.error: ServerError | None = None
        self.added: list[Minute] = []

    def add(self, minute: Minute) -> None:
        if self.error is not None:
            raise self.error
        self.added.append(minute)


def test_a_member_adds_to_the_minutes_whatever_redis_answers() -> None:
    store, clock = _Minutes(), _Clock()
    member = MinuteReporter(cast(MinuteStore, store), lambda: figures(int(clock.now)), clock)
    with capture_logs() as lines:
        for error in (None, ServerUnavailable("Redis", "away"), REFUSED, REFUSED, None):
            store.error = error
            member.look()
            clock.now += 5
    assert store.added == [Minute(16, 0, 4), Minute(17, 5, 4)]
    assert [line["action"] for line in lines] == ["minutes.refused"]
