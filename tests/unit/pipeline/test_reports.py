"""The reports of members and audits: their form, and the rate."""

from __future__ import annotations

import json

from consumer.events.record import Partition
from consumer.pipeline.reports import AuditReport, MemberReport, Rate, by_topic, decoded, encoded

REPORT = MemberReport(
    host="h",
    pid=5,
    version="1",
    started_ms=1,
    written_ms=2,
    partitions={"b": (0,), "a": (1, 2)},
    waits_for=("redis",),
)


def test_a_report_is_read_back() -> None:
    assert decoded(encoded(REPORT), MemberReport) == REPORT
    assert REPORT.held == {Partition("b", 0), Partition("a", 1), Partition("a", 2)}
    assert by_topic(REPORT.held) == {"a": (1, 2), "b": (0,)}


def test_a_report_of_another_version_is_read_as_far_as_possible() -> None:
    newer = {**json.loads(encoded(REPORT)), "mood": "good"}
    assert decoded(json.dumps(newer), MemberReport) == REPORT
    older = {name: newer[name] for name in ("host", "pid", "version", "started_ms", "written_ms")}
    assert decoded(json.dumps(older), MemberReport) == MemberReport(
        host="h", pid=5, version="1", started_ms=1, written_ms=2
    )
    assert decoded('{"host": 1}', MemberReport) is None
    assert decoded("\udcff", MemberReport) is None


def test_who_is_still_wrong_after_an_audit() -> None:
    result = AuditReport(ended_ms=1, users=10, wrong=3, share_right=0.7, mended=2, unusable=1)
    assert result.left == 2


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    assert rate.per_minute(100, 0.0) == 0.0
    assert rate.per_minute(110, 5.0) == 120.0
    assert rate.per_minute(110, 60.0) == 10.0
    assert rate.per_minute(110, 66.0) == 0.0
    assert rate.per_minute(120, 66.0) > 0.0
