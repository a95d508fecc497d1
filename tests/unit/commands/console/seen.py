"""What an overview may show, with names and texts that are markup."""

from __future__ import annotations

from consumer.commands.api.console.overview import Seen, seen
from consumer.commands.shared.finding import ok
from consumer.commands.shared.status.facts import Connector, Facts, Kafka, Limits, Redis, RedisServer
from consumer.commands.shared.status.judgement import judged
from consumer.events.record import Partition
from consumer.pipeline.minutes import Minute
from consumer.pipeline.reports import AuditReport, MemberReport
from consumer.sink.report_store import Reports

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
NOW = 1_760_000_000_000
LIMITS = Limits("0.2.0", "g", "trading", 30.0, ("hb",), has_connect=True)


def facts(connector: str = "RUNNING", cause: str = "", host: str = "host") -> Facts:
    """All is well, but for what is given."""
    member = MemberReport(
        host=host,
        pid=1,
        version="0.2.0",
        started_ms=NOW - 60_000,
        written_ms=NOW,
        partitions={"t": (0,)},
        per_minute=12.0,
        index="warm",
    )
    audit = AuditReport(ended_ms=NOW - 60_000, users=100_000, wrong=1, share_right=0.99999, causes={EVIL: 1}, mended=1)
    return Facts(
        NOW,
        [Connector(EVIL if cause else "trading", connector, ["RUNNING"], cause, "3.1")],
        Redis("one server", [RedisServer("r:1", "7.2", used=1024)], Reports((member,), audit=audit)),
        Kafka("3.9 or later", {"t": 1}, {Partition("t", 0): 0}, 1, {"hb": NOW / 1000}),
        {},
    )


def look(found: Facts, minutes: tuple[Minute, ...] = ()) -> Seen:
    """The overview of these facts."""
    return seen(found, judged(found, LIMITS), ok("database", "answers"), minutes)


SEEN = look(facts())
