"""What an audit leaves for `status`."""

from __future__ import annotations

from collections import Counter

from structlog.testing import capture_logs

from consumer.commands.audit.cause import Cause
from consumer.commands.audit.finding import AuditResult
from consumer.commands.audit.left_report import LeftReport, report_of
from consumer.commands.audit.users import UserSelection
from consumer.errors import ServerError, ServerUnavailable
from consumer.mapping.keys import UserId
from consumer.pipeline.reports import AuditReport
from consumer.settings.sources import Settings

RESULT = AuditResult(users=10, mended=1, unusable=1, wrong=Counter({Cause.EVICTED: 1, Cause.OVERWRITTEN: 2}))


def test_counts_and_causes_are_left_and_no_users() -> None:
    report = report_of(RESULT, UserSelection((), (), 0, repairs=True, seed=None), 5)
    assert report == AuditReport(
        ended_ms=5,
        users=10,
        wrong=3,
        share_right=RESULT.share_right,
        causes={"overwritten": 2, "evicted": 1},
        mended=1,
        unusable=1,
    )


def test_a_part_of_the_users_is_said_to_be_one() -> None:
    report = report_of(RESULT, UserSelection((), ("live_users",), 50, repairs=False, seed=1), 5)
    assert report is not None
    assert report.scope == "live_users, a sample of 50 of each table"
    assert report_of(RESULT, UserSelection((UserId("live", 7),), (), 0, repairs=False, seed=None), 5) is None


class _Store:
    def __init__(self, *errors: ServerError) -> None:
        self.errors = list(errors)
        self.written: list[AuditReport] = []

    def write_audit(self, report: AuditReport) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.written.append(report)


def test_a_refusal_is_logged_once_and_an_outage_by_others() -> None:
    report = report_of(RESULT, UserSelection((), (), 0, repairs=False, seed=None), 5)
    refused = ServerError("Redis", "NOPERM")
    store = _Store(refused, refused, ServerUnavailable("Redis", "away"))
    left = LeftReport(Settings())
    left._store = store  # type: ignore[assignment]
    with capture_logs() as lines:
        for _ in range(4):
            left.leave(report)
        left.leave(None)
    assert [line["action"] for line in lines] == ["report.refused"]
    assert store.written == [report]
