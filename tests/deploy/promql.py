"""What a PromQL expression asks for: metrics, and the labels that it takes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import promql_parser as promql

from consumer.commands.audit.exported import AuditMetrics
from consumer.commands.audit.finding import AuditResult
from consumer.errors import ServerUnavailable
from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.observability.connector_metrics import ConnectorMetrics, WatchMetrics
from consumer.observability.heartbeat import HeartbeatWatch
from consumer.observability.metrics import Metrics
from consumer.source.connect.failure import Kind
from consumer.source.connect.status import ConnectorStatus, Present
from tests.unit.observability.test_batch_counts import applied, dead, result
from tests.unit.observability.test_metrics import look

OF_THE_SCRAPE = frozenset(("job", "instance"))
"""Labels that Prometheus gives every sample."""
_VARIABLE = re.compile(r"\$(\w+)")
_GRAFANA = {"__rate_interval": "5m", "__interval": "1m"}


@dataclass(frozen=True)
class Asked:
    """One selector, with the labels that it matches, and those that are aggregated by around it; None: it is not."""

    name: str
    matched: frozenset[str]
    by: frozenset[str] | None


def eventful() -> Metrics:
    """The metrics of a program to which everything has happened."""
    metrics = Metrics(index=lambda: "warm", tables=TopicTables(["live_users"]))
    metrics.records_done([result(0, applied()), dead(1)])
    metrics.waiting(ServerUnavailable("Redis", "no"), 1.0)
    metrics.assigned([])
    metrics.jumped(Partition("t", 0), 1, 2)
    metrics.refused(["t.restore.live_users"])
    look(metrics, users=1)
    for kind in DriftKind:
        metrics.drifted(Drift("live_users", "x", kind), 1)
    return metrics


def audited() -> AuditMetrics:
    """The metrics of an audit after a round."""
    metrics = AuditMetrics()
    metrics.done(AuditResult(), 1.0, 2.0)
    return metrics


def watched() -> tuple[Metrics, WatchMetrics]:
    """The metrics of `run` and of `connect watch` about a source that is silent and a connector that failed."""
    status = ConnectorStatus("RUNNING", ("FAILED",), ("Access denied",))
    found = [Present("trading-mysql", {}, status)]
    topic = "__debezium-heartbeat.trading"
    heartbeats = HeartbeatWatch(lambda: {topic: 1.0}, [topic], 30, lambda: 2.0)
    heartbeats.look()
    states = ConnectorMetrics()
    states.looked(found)
    metrics, watch = Metrics(), WatchMetrics()
    metrics.include(heartbeats, heartbeats.unready)
    metrics.include(states, str)
    watch.looked(found, {"trading-mysql": Kind.LOGIN})
    return metrics, watch


def exported() -> Mapping[str, frozenset[str]]:
    """Every sample that ``run``, ``audit --watch`` and ``connect watch`` can have, with its labels."""
    registries = (eventful().registry, audited().registry, *(each.registry for each in watched()))
    samples = [sample for each in registries for family in each.collect() for sample in family.samples]
    return {each.name: frozenset(each.labels) | OF_THE_SCRAPE for each in samples}


def filled(expression: str) -> str:
    """The expression with Grafana's variables replaced."""
    return _VARIABLE.sub(lambda found: _GRAFANA.get(found[1], "x"), expression)


def asked(expression: str) -> Iterator[Asked]:
    """The selectors of an expression.

    Raises:
        ValueError: it is no PromQL.

    """
    tree = promql.parse(filled(expression))
    yield from _walk(tree, None)


def _walk(node: object, by: frozenset[str] | None) -> Iterator[Asked]:
    if isinstance(node, promql.VectorSelector):
        yield Asked(node.name or "", frozenset(each.name for each in node.matchers.matchers), by)
    elif isinstance(node, promql.AggregateExpr):
        labels = node.modifier.labels if node.modifier is not None else ()
        yield from _walk(node.expr, frozenset(labels))
    elif isinstance(node, promql.BinaryExpr):
        yield from _walk(node.lhs, by)
        yield from _walk(node.rhs, by)
    elif isinstance(node, promql.Call):
        for each in node.args:
            yield from _walk(each, by)
    elif isinstance(node, promql.MatrixSelector):
        yield from _walk(node.vector_selector, by)
    elif isinstance(node, (promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        yield from _walk(node.expr, by)
    elif not isinstance(node, (promql.NumberLiteral, promql.StringLiteral)):
        raise TypeError(f"what is {type(node).__name__}?")
