"""What ``audit --watch`` found, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from consumer.commands.audit.cause import Cause
from consumer.commands.audit.finding import AuditResult
from consumer.errors import ConfigError
from consumer.settings.sections import Metrics


class AuditMetrics:
    """The last round that came to its end. The labels are causes: their number is bounded.

    Before the first end nothing is known: the shares are NaN, and the time of the last round is when this began, so
    that an alert on its age gives a first round as long as any other.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self._users = Gauge("cdc_audit_users", "Users compared in the last round", registry=own)
        self._wrong = Gauge("cdc_audit_users_wrong", "Users who differ, by first cause", ["cause"], registry=own)
        self._spelled = Gauge(
            "cdc_audit_users_other_spelling", "Users who are right, with a value written another way", registry=own
        )
        self._ratio = Gauge("cdc_audit_consistency_ratio", "Share of users of whom everything is right", registry=own)
        self._nines = Gauge("cdc_audit_consistency_nines", "The same as a number of nines", registry=own)
        self._mended = Counter("cdc_audit_users_mended", "Users made right by --repair", registry=own)
        self._rounds = Counter("cdc_audit_rounds", "Rounds, by how they ended", ["outcome"], registry=own)
        self._seconds = Gauge("cdc_audit_round_seconds", "How long the last round took", registry=own)
        self._last = Gauge(
            "cdc_audit_last_round_timestamp_seconds", "When the last round ended, or the audit began", registry=own
        )
        for outcome in ("done", "failed"):
            self._rounds.labels(outcome)
        self._ratio.set(nan)
        self._nines.set(nan)
        self._last.set_to_current_time()

    def done(self, result: AuditResult, seconds: float, now: float) -> None:
        """A round came to its end after ``seconds``; ``now`` is the time, in seconds."""
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

    def failed(self) -> None:
        """A round did not come to its end; what the last one found stands."""
        self._rounds.labels("failed").inc()


def serve(settings: Metrics, metrics: AuditMetrics) -> Callable[[], None]:
    """Serve ``/metrics`` until the answered function is called; a port of 0 serves nothing.

    Raises:
        ConfigError: the address can't be listened on.
    """
    if settings.port == 0:
        return lambda: None
    try:
        server, thread = start_http_server(settings.port, settings.host, metrics.registry)
    except OSError as error:
        raise ConfigError(
            "CDC_METRICS__PORT",
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}",
            allowed="a free port, or 0",
        ) from None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
