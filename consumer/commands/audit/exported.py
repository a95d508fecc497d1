"""Prometheus metrics of ``audit --watch``."""

from __future__ import annotations

from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge

from consumer.commands.audit.cause import Cause
from consumer.commands.audit.finding import AuditResult


class AuditMetrics:
    """The results of the last finished round. The label values are causes, so they are few.

    Before the first round is finished, the shares are NaN. The time of the last round is then the start of the program,
    so that an alert on its age allows as much time for the first round as for others.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._users = Gauge("cdc_audit_users", "Users compared in the last round", registry=own)
        self._wrong = Gauge("cdc_audit_users_wrong", "Users with differences, by first cause", ["cause"], registry=own)
        self._spelled = Gauge(
            "cdc_audit_users_other_spelling", "Users who are right, with a value in another form", registry=own
        )
        self._ratio = Gauge("cdc_audit_consistency_ratio", "Share of users without differences", registry=own)
        self._nines = Gauge("cdc_audit_consistency_nines", "The same as a number of nines", registry=own)
        self._mended = Counter("cdc_audit_users_mended", "Users corrected by --repair", registry=own)
        self._rounds = Counter("cdc_audit_rounds", "Rounds by outcome", ["outcome"], registry=own)
        self._seconds = Gauge("cdc_audit_round_seconds", "Duration of the last round", registry=own)
        self._last = Gauge(
            "cdc_audit_last_round_timestamp_seconds", "End of the last round, or start of the audit", registry=own
        )
        for outcome in ("done", "failed"):
            self._rounds.labels(outcome)
        self._ratio.set(nan)
        self._nines.set(nan)
        self._last.set_to_current_time()

    def done(self, result: AuditResult, seconds: float, now: float) -> None:
        """A round is finished. ``seconds``: its duration. ``now``: the present time, UTC seconds."""
        self._users.set(result.users)
        for cause in Cause:
            self._wrong.labels(cause).set(result.wrong[cause])
        self._spelled.set(result.spelled)
        self._ratio.set(result.share_right)
        self._nines.set(result.nines)
        self._mended.inc(result.mended)
        self._rounds.labels("done").inc()
        self._seconds.set(seconds)
        self._last.set(now)

    def is_alive(self) -> bool:
        """True: a round that takes long is no reason to restart."""
        return True

    def unready(self) -> str:
        """Never a reason: a failed round is a metric, and the next one follows."""
        return ""

    def failed(self) -> None:
        """A round failed; the results of the last finished round remain."""
        self._rounds.labels("failed").inc()
