"""Prometheus metrics of ``run``, and the state for its probes: alive and ready."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer import __version__
from consumer.errors import ServerError
from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.observability.batch_counts import KINDS, OUTCOMES, count_batch
from consumer.observability.lag import Lag
from consumer.observability.latency import Latency
from consumer.observability.server_waits import ServerWaits
from consumer.pipeline.protocols import Observer, RecordResult, Source
from consumer.pipeline.reports import Figures

_ALIVE_WITHIN_S = 60.0
_MOST_COLUMNS = 200
"""Label values are never removed, and a record may name any column: after this number, columns share one label."""
_INDEX_STATES = ("off", "cold", "full", "warm")
_SERVERS = ("redis", "kafka", "registry")


class Metrics(Observer, Collector):
    """Counts what the pipeline does, batch by batch. Label values come from the configuration, so they are few.

    ``index``: answers the state of the index of wildcard keys: ``off``, ``cold``, ``full`` or ``warm``. The program is
    not ready with a lag above ``ready_lag_s`` seconds. ``tables``: the known tables of each topic.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        index: Callable[[], str] = lambda: "off",
        ready_lag_s: float = float("inf"),
        tables: TopicTables | None = None,
    ) -> None:
        self.registry = own = CollectorRegistry()
        self._clock = clock
        self._index = index
        self._ready_lag_s = ready_lag_s
        self._tables = TopicTables(()) if tables is None else tables
        self._refused: Sequence[str] = ()
        self._unready_checks: list[Callable[[], str]] = []
        self._emptied = ""
        self._active_at = clock()
        self._lag = Lag()
        self._waits = ServerWaits()
        self._columns: set[Drift] = set()
        self._started: set[Partition] = set()
        self._changes = Counter("cdc_changes", "Records by outcome", ["table", "outcome"], registry=own)
        self._effects = Counter("cdc_effects", "Effects in Redis", ["kind"], registry=own)
        for kind in KINDS:
            self._effects.labels(kind)
        self._entries = Counter("cdc_stream_entries", "Entries added to streams", ["channel"], registry=own)
        self._from_commit = Latency("cdc_commit_to_redis_seconds", "From the source's commit time to Redis' answer")
        self._from_append = Latency("cdc_append_to_redis_seconds", "From Kafka's timestamp to Redis' answer")
        self._dead = Counter("cdc_dead_letters", "Dead letters written", ["table", "reason"], registry=own)
        self._retries = Counter("cdc_retries", "Failed attempts that are retried", ["server", "cause"], registry=own)
        self._rebalances = Counter("cdc_rebalances", "Rebalances of the group", registry=own)
        self._commits = Counter("cdc_commits", "Commits of offsets", registry=own)
        self._jumps = Counter(
            "cdc_offset_jumps",
            "Times that reading continued at another offset because the next record did not exist",
            ["topic", "partition"],
            registry=own,
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
        self._unreadable = Counter(
            "cdc_unreadable_columns",
            "Changes with an unreadable value in an optional column, whose field was not changed",
            ["table", "column"],
            registry=own,
        )
        self._values = Counter(
            "cdc_unknown_values",
            "Rows of linked tables with a status or a user type that the mapping does not list",
            ["table", "column"],
            registry=own,
        )
        self._drifts = {
            DriftKind.UNKNOWN: self._unknown,
            DriftKind.MISSING: self._missing,
            DriftKind.UNREADABLE: self._unreadable,
            DriftKind.VALUE: self._values,
        }
        Info("cdc_build", "This program", registry=own).info(
            {"version": __version__, "python": platform.python_version()}
        )
        for collector in (self._from_commit, self._from_append, self):
            own.register(collector)
        ProcessCollector(registry=own)

    def collect(self) -> Iterator[Metric]:
        """The values at the time of the scrape."""
        records = GaugeMetricFamily("cdc_lag_records", "Records of a partition to apply", labels=["topic", "partition"])
        seconds = GaugeMetricFamily(
            "cdc_lag_seconds",
            "Age of a partition's last finished record by the source's time, 0 if no record is left",
            labels=["topic", "partition"],
        )
        for family, values in ((records, self._lag.records), (seconds, self._lag_seconds())):
            for partition, value in dict(values).items():
                family.add_metric([partition.topic, str(partition.number)], value)
        assigned = GaugeMetricFamily("cdc_assigned_partitions", "Partitions of this member", len(self._lag.records))
        paused = CounterMetricFamily("cdc_paused_seconds", "Seconds of waiting for a server", labels=["server"])
        spent = self._waits.seconds(self._clock())
        for server in _SERVERS:
            paused.add_metric([server], spent.get(server, 0.0))
        states = GaugeMetricFamily("cdc_index_state", "The index of wildcard keys: 1 at its state", labels=["state"])
        now = self._index()
        for state in _INDEX_STATES:
            states.add_metric([state], state == now)
        refused = GaugeMetricFamily(
            "cdc_refused_topics", "1 for a topic under the prefix that is of another database", labels=["topic"]
        )
        for topic in self._refused:
            refused.add_metric([topic], 1)
        help_text = "1 while Redis has less than it acknowledged, and nothing is applied"
        emptied = GaugeMetricFamily("cdc_redis_emptied", help_text, bool(self._emptied))
        yield from (records, seconds, assigned, paused, states, refused, emptied)

    def records_done(self, results: Sequence[RecordResult]) -> None:
        now = self._active_at = self._clock()
        found = count_batch(results)
        for counter, counts in ((self._changes, found.changes), (self._dead, found.dead_letters)):
            for labels, count in counts.items():
                counter.labels(*labels).inc(count)
        for kind, count in found.effects.items():
            if count:  # most are 0, and with small batches the counters are a good part of the time
                self._effects.labels(kind).inc(count)
        for channel, count in found.entries.items():
            self._entries.labels(channel).inc(count)
        self._from_commit.observe(found.committed_ms, now)
        self._from_append.observe(found.appended_ms, now)
        self._lag.done(found.reached_ms)

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self._rebalances.inc()

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        self._commits.inc()

    def uncommitted(self, error: ServerError) -> None:
        self._count_retry(error)

    def waiting(self, error: ServerError, seconds: float) -> None:
        self._active_at = self._clock()
        self._count_retry(error)
        self._waits.began("pipeline", _label(error.server), self._active_at)

    def servers_available(self) -> None:
        self._waits.ended("pipeline", self._clock())

    def emptied(self, reason: str) -> None:
        self._active_at = self._clock()
        self._emptied = reason

    def interrupted(self, error: ServerError, seconds: float) -> None:
        self._active_at = self._clock()
        self._count_retry(error)
        self._waits.began("source", _label(error.server), self._active_at)

    def source_available(self) -> None:
        self._waits.ended("source", self._clock())

    def jumped(self, partition: Partition, wanted: int, to: int) -> None:
        self._jumps.labels(partition.topic, str(partition.number)).inc()

    def refused(self, topics: Sequence[str]) -> None:
        self._refused = tuple(topics)

    def drifted(self, drift: Drift, count: int) -> None:
        if (counter := self._drifts.get(drift.kind)) is None:
            return
        if len(self._columns) < _MOST_COLUMNS:
            self._columns.add(drift)
        counter.labels(drift.table, drift.column if drift in self._columns else "…").inc(count)

    def tick(self, source: Source) -> None:
        self._active_at = self._clock()
        lags = source.lag()
        self._lag.looked(lags, self._active_at)
        for partition in lags.keys() - self._started:
            self._start_counters(partition)

    def is_alive(self) -> bool:
        """Whether the loop was active within the last minute, or has not started yet."""
        return not self._lag.records or self._clock() - self._active_at < _ALIVE_WITHIN_S

    def is_ready(self) -> bool:
        """Whether no reason for not ready is known."""
        return not self.unready()

    def unready(self) -> str:
        """Why the program is not ready, or "": a reason of its own, or one from :meth:`include`."""
        return self._own_reason() or next((reason for unready in self._unready_checks if (reason := unready())), "")

    def _own_reason(self) -> str:
        """An emptied Redis, no partitions, a server that is away, too much lag; or ""."""
        if self._emptied:
            return self._emptied
        if not self._lag.records:
            return "no partitions are assigned"
        if servers := self._waits.servers():
            return f"waiting for {', '.join(servers)}"
        behind = max(self._lag_seconds().values())
        if behind > self._ready_lag_s:
            return f"{behind:.0f} s behind, more than {self._ready_lag_s:g}"
        return ""

    def figures(self) -> Figures:
        """What this member reports for ``status``. Other threads may call it."""
        seconds = self._lag_seconds()
        totals = (
            each.value for family in self._changes.collect() for each in family.samples if each.name.endswith("_total")
        )
        return Figures(
            partitions=tuple(seconds),
            lag_records=sum(self._lag.records.values()),
            lag_s=max(seconds.values(), default=0.0),
            waits_for=tuple(self._waits.servers()),
            unready=self._own_reason() if self.is_alive() else "the loop hangs",
            index=self._index(),
            done=round(sum(totals)),
        )

    def include(self, other: Collector, unready: Callable[[], str]) -> None:
        """Export the metrics of ``other`` too; ``unready`` answers a reason for not ready, or ""."""
        self.registry.register(other)
        self._unready_checks.append(unready)

    def _start_counters(self, partition: Partition) -> None:
        """Create a partition's counters with 0, so that Prometheus sees their first increase."""
        self._started.add(partition)
        for table in self._tables.of(partition.topic):
            for outcome in OUTCOMES:
                self._changes.labels(table, outcome)
        self._jumps.labels(partition.topic, str(partition.number))

    def _lag_seconds(self) -> Mapping[Partition, float]:
        return self._lag.seconds(self._clock(), is_blocked=bool(self._waits.servers()))

    def _count_retry(self, error: ServerError) -> None:
        self._retries.labels(_label(error.server), error.cause or "other").inc()


def _label(server: str) -> str:
    """The label of a server; the registry's name contains its address, so it gets a fixed label."""
    return server.lower() if server in ("Redis", "Kafka") else "registry"
