"""Metrics of connector states, for ``run`` and for ``connect watch``, and of the restarts by ``connect watch``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer.source.connect.failure import Kind
from consumer.source.connect.status import FAILED, RUNNING, Present

_ALIVE_WITHIN_S = 120.0
STATES = (RUNNING, FAILED, "PAUSED", "STOPPED", "UNASSIGNED", "RESTARTING", "DESTROYED")


class ConnectorMetrics(Collector):
    """The states at the last check, and the number of failures of each connector. Other threads may collect."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._failures = Counter(
            "cdc_connector_failures",
            "Times that a connector or its task failed",
            ["connector"],
            registry=self._registry,
        )
        self._states: Mapping[str, str] = {}

    def looked(self, found: Sequence[Present]) -> None:
        """Store the states of all connectors at this check."""
        before = self._states
        for each in found:
            failures = self._failures.labels(each.name)
            if each.status.failed and before.get(each.name) != FAILED:
                failures.inc()
        self._states = {each.name: each.status.state for each in found}

    def collect(self) -> Iterator[Metric]:
        """The states at the last check."""
        states = GaugeMetricFamily(
            "cdc_connector_state", "A connector with its tasks: 1 at its state", labels=["connector", "state"]
        )
        for name, now in self._states.items():
            for state in dict.fromkeys((*STATES, now)):
                states.add_metric([name, state], state == now)
        yield states
        yield from self._registry.collect()


class WatchMetrics:
    """Metrics and probes of ``connect watch``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self._checked_at = clock()
        self._problem = "Kafka Connect was not asked yet"
        self.states = ConnectorMetrics()
        self.registry.register(self.states)
        self.restarts = Counter(
            "cdc_connector_restarts",
            "Times that a failed connector or task was started again",
            ["connector"],
            registry=self.registry,
        )
        self._refused: Mapping[str, Kind] = {}
        self.registry.register(_Refused(self))

    def looked(self, found: Sequence[Present], refused: Mapping[str, Kind]) -> None:
        """Store the states of all connectors, and the failed connectors that are not restarted automatically."""
        self._problem, self._checked_at = "", self._clock()
        self.states.looked(found)
        for each in found:
            self.restarts.labels(each.name)
        self._refused = dict(refused)

    def unanswered(self, problem: str) -> None:
        """Connect could not be asked, because of ``problem``."""
        self._problem, self._checked_at = problem, self._clock()

    @property
    def refused(self) -> Mapping[str, Kind]:
        """The connectors that are not restarted, each with the kind of its cause."""
        return self._refused

    def is_alive(self) -> bool:
        """Whether Connect was asked within the last two minutes; each request has a much shorter timeout."""
        return self._clock() - self._checked_at < _ALIVE_WITHIN_S

    def unready(self) -> str:
        """Why Connect can't be asked, or ""."""
        return self._problem


class _Refused(Collector):
    def __init__(self, metrics: WatchMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        refused = GaugeMetricFamily(
            "cdc_connector_refused",
            "1 for a failed connector that is not started again, by the kind of its cause",
            labels=["connector", "cause"],
        )
        for name, kind in self._metrics.refused.items():
            refused.add_metric([name, kind], 1)
        yield refused
