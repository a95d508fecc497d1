"""Prometheus metrics and probes of ``run``: ``/metrics``, ``/healthz``, ``/readyz``."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, make_wsgi_app

from consumer import __version__
from consumer.columns import Drift
from consumer.decision import Outcome
from consumer.effect import Plan
from consumer.errors import ConfigError, ServerError
from consumer.position import Verdict
from consumer.protocols import Observer, Source, Step
from consumer.sections import Metrics as MetricsSettings
from consumer.watermark import Partition

_LONGEST_TURN_S = 60.0
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics(Observer):
    """Counts what the pipeline does. Labels are tables, outcomes and partitions: their number is bounded."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.registry = CollectorRegistry()
        self._is_following = False
        self._is_waiting = False
        self._is_interrupted = False
        self._clock = clock
        self._beat = clock()
        own = self.registry
        self._changes = Counter("cdc_changes", "Records by what became of them", ["topic", "outcome"], registry=own)
        self._effects = Counter("cdc_effects", "Redis effects applied", ["kind"], registry=own)
        self._from_commit = Histogram(
            "cdc_commit_to_redis_seconds",
            "From the source's commit time to Redis' answer",
            buckets=_BUCKETS,
            registry=own,
        )
        self._from_append = Histogram(
            "cdc_append_to_redis_seconds", "From Kafka's timestamp to Redis' answer", buckets=_BUCKETS, registry=own
        )
        self._lag = Gauge(
            "cdc_lag_records", "Records behind the end of a partition", ["topic", "partition"], registry=own
        )
        self._unknown = Counter(
            "cdc_unknown_columns",
            "Changes with a column that the mapping does not name",
            ["table", "column"],
            registry=own,
        )
        self._missing = Counter(
            "cdc_missing_columns", "Changes without an optional column", ["table", "column"], registry=own
        )
        self._dead = Counter("cdc_dead_letters", "Records that could not be applied", ["topic", "reason"], registry=own)
        self._new_lineages = Counter(
            "cdc_new_lineages", "Changes at which the database's log began again", ["topic"], registry=own
        )
        self._registry_waits = Counter(
            "cdc_registry_waits", "Attempts put off because the schema registry could not serve", registry=own
        )
        self._waits = Counter("cdc_redis_waits", "Attempts put off because Redis could not serve", registry=own)
        self._waited = Counter("cdc_redis_wait_seconds", "Seconds spent waiting for Redis", registry=own)
        self._kafka_waits = Counter("cdc_kafka_waits", "Moments at which Kafka could not be read", registry=own)
        self._jumps = Counter(
            "cdc_offset_jumps",
            "Times that reading went on elsewhere because the next record was gone",
            ["topic", "partition"],
            registry=own,
        )
        Info("cdc_build", "This program", registry=own).info({"version": __version__})

    def stepped(self, steps: Sequence[Step]) -> None:
        now = self._beat = self._clock()
        for step in steps:
            outcome = str(step.applied.verdict) if step.applied else str(step.decision.outcome)
            if step.applied is not None and step.applied.verdict is Verdict.NEW_LINEAGE:
                self._new_lineages.labels(step.record.topic).inc()
            if step.applied is not None and step.applied.is_accepted:
                outcome = "applied"
            if step.is_dead:
                outcome = "dead_letter"
            if step.letter is not None:
                self._dead.labels(step.record.topic, step.letter.reason).inc()
            self._changes.labels(step.record.topic, outcome).inc()
            plan = step.decision.plan
            if outcome != "applied" or plan is None or step.decision.outcome is not Outcome.PLANNED:
                continue
            self._from_append.observe(max(0.0, now - step.record.timestamp_ms / 1000))
            self._from_commit.observe(max(0.0, now - plan.version.ts_ms / 1000))
            for kind, count in _effects(plan).items():
                self._effects.labels(kind).inc(count)

    def waiting(self, error: ServerError, seconds: float) -> None:
        self._is_waiting = True
        self._beat = self._clock()
        if error.server == "Kafka":
            self._kafka_waits.inc()
            return
        if error.server != "Redis":
            self._registry_waits.inc()
            return
        self._waits.inc()
        self._waited.inc(seconds)

    def resumed(self) -> None:
        self._is_waiting = False

    def interrupted(self, error: ServerError, seconds: float) -> None:
        self._is_interrupted = True
        self._beat = self._clock()
        self._kafka_waits.inc()

    def continued(self) -> None:
        self._is_interrupted = False

    def jumped(self, partition: Partition, wanted: int, to: int) -> None:
        self._jumps.labels(partition.topic, str(partition.number)).inc()

    def drifted(self, drift: Drift, count: int) -> None:
        counter = self._unknown if drift.is_unknown else self._missing
        counter.labels(drift.table, drift.column).inc(count)

    def looked(self, source: Source) -> None:
        self._beat = self._clock()
        lags = source.lag()
        self._is_following = bool(lags)
        self._lag.clear()
        for partition, lag in lags.items():
            self._lag.labels(partition.topic, str(partition.number)).set(lag)

    def is_alive(self) -> bool:
        """Whether the loop has turned within the last minute, or has not begun yet."""
        return not self._is_following or self._clock() - self._beat < _LONGEST_TURN_S

    def is_ready(self) -> bool:
        """Whether partitions are assigned and can be read, and Redis was not away when last asked for something."""
        return self._is_following and not self._is_waiting and not self._is_interrupted


def _effects(plan: Plan) -> dict[str, int]:
    return {
        "config": int(plan.config is not None),
        "balance": int(plan.balance is not None),
        "update": int(plan.update is not None),
        "remove": int(plan.removed is not None),
        "clear": len(plan.cleared.keys) + len(plan.cleared.prefixes),
        "publish": len(plan.messages),
    }


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: one that hangs must not keep the others from their answer."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """A scrape every few seconds is no news."""


def serve(settings: MetricsSettings, metrics: Metrics, is_reachable: Callable[[], bool]) -> Callable[[], None]:
    """Serve until the answered function is called; a port of 0 serves nothing.

    ``is_reachable`` asks Redis, so that an idle program knows too.

    Raises:
        ConfigError: the address can't be listened on.

    """
    if settings.port == 0:
        return lambda: None
    exposition = make_wsgi_app(metrics.registry)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            answer: Iterable[bytes] = exposition(environ, start_response)
            return answer
        known: dict[str, Callable[[], bool]] = {
            "/healthz": metrics.is_alive,
            "/readyz": lambda: metrics.is_ready() and is_reachable(),
        }
        status = "404 Not Found"
        if path in known:
            status = "200 OK" if known[path]() else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain")])
        return [f"{status}\n".encode()]

    try:
        server = make_server(settings.host, settings.port, app, _Server, _Quiet)
    except socket.gaierror:
        raise ConfigError(
            "CDC_METRICS__HOST", f"no such address: {settings.host}", "an address of this machine"
        ) from None
    except OSError as error:
        raise ConfigError(
            "CDC_METRICS__PORT",
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}",
            "a free port, or 0",
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
