"""The metrics as Prometheus reads them, and the probes."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from msgspec import structs
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from consumer.errors import ConfigError, ServerUnavailable
from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.guard.version import Verdict
from consumer.mapping.reference import reference
from consumer.mapping.schema_drift import Drift, DriftKind
from consumer.observability.batch_counts import OUTCOMES
from consumer.observability.metrics import Metrics
from consumer.observability.probes import serve
from consumer.pipeline.protocols import RecordResult, Source
from consumer.pipeline.reports import Figures
from consumer.settings.sections import Metrics as Settings
from tests.support.stack.port import Ports
from tests.unit.observability.test_batch_counts import applied, dead, result

USERS, DEMO = Partition("trading.trading.live_users", 0), Partition("trading.trading.demo_users", 3)
AWAY = ServerUnavailable("Redis", "no answer", cause="ConnectionError")


class _Clock:
    now = 1_705_315_000.0

    def __call__(self) -> float:
        return self.now


class _Source:
    """As much of a source as is looked at."""

    def __init__(self, lag: Mapping[Partition, int]) -> None:
        self._lag = lag

    def lag(self) -> Mapping[Partition, int]:
        return self._lag


def look(metrics: Metrics, **lag: int) -> None:
    parts = {"users": USERS, "demo": DEMO}
    metrics.tick(cast(Source, _Source({parts[name]: left for name, left in lag.items()})))


def scraped(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and the values of their labels, in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def metrics(clock: _Clock) -> Metrics:
    tables = TopicTables(reference().captured())
    return Metrics(clock, index=lambda: "warm", ready_lag_s=60, tables=tables)


def test_batches_add_up(metrics: Metrics) -> None:
    metrics.records_done([result(0, applied()), result(1, applied(Verdict.STALE)), dead(2)])
    again = result(3, None)
    metrics.records_done([RecordResult(again.record, structs.replace(again.decision, first_sent=0), None)])
    found = scraped(metrics)
    assert found["cdc_changes_total"] == {
        ("applied", "live_users"): 1,
        ("sent_again", "live_users"): 1,
        ("stale", "live_users"): 1,
        ("dead_letter", "live_users"): 1,
    }
    assert found["cdc_dead_letters_total"] == {("undecodable", "live_users"): 1}
    assert found["cdc_effects_total"][("clear",)] == 3


def test_a_latency_falls_into_every_bucket_from_its_own_on(metrics: Metrics, clock: _Clock) -> None:
    plan = result(0, applied()).decision.plan
    assert plan is not None
    clock.now = plan.version.ts_ms / 1000 + 0.03
    metrics.records_done([result(0, applied())])
    clock.now += 7
    metrics.records_done([result(1, applied())])
    found = scraped(metrics)
    buckets = found["cdc_commit_to_redis_seconds_bucket"]
    assert [buckets[(bound,)] for bound in ("0.025", "0.05", "5.0", "10.0", "+Inf")] == [0, 1, 1, 2, 2]
    assert found["cdc_commit_to_redis_seconds_count"] == {(): 2}
    assert found["cdc_commit_to_redis_seconds_sum"][()] == pytest.approx(7.06)
    assert found["cdc_append_to_redis_seconds_sum"][()] == pytest.approx(7.046), "Kafka's time is 7 ms later"


def test_a_source_whose_clock_is_ahead_took_no_time(metrics: Metrics, clock: _Clock) -> None:
    clock.now = 0.0
    metrics.records_done([result(0, applied())])
    assert scraped(metrics)["cdc_commit_to_redis_seconds_bucket"][("0.001",)] == 1


def test_lag_goes_on_between_two_looks(metrics: Metrics, clock: _Clock) -> None:
    look(metrics, users=4, demo=0)
    clock.now += 20
    found = scraped(metrics)
    users, demo = ("0", USERS.topic), ("3", DEMO.topic)
    assert found["cdc_lag_records"] == {users: 4, demo: 0}
    assert found["cdc_lag_seconds"] == {users: 20, demo: 0}
    assert found["cdc_assigned_partitions"] == {(): 2}
    metrics.waiting(AWAY, 1.0)
    assert scraped(metrics)["cdc_lag_seconds"] == {users: 20, demo: 20}, "nobody knows what is left"


def test_counters_of_a_partition_begin_at_0(metrics: Metrics) -> None:
    """Else Prometheus does not see the first dead letter as an increase."""
    look(metrics, users=1)
    found = scraped(metrics)
    assert found["cdc_changes_total"] == dict.fromkeys(((outcome, "live_users") for outcome in OUTCOMES), 0)
    assert found["cdc_offset_jumps_total"] == {("0", USERS.topic): 0}
    assert set(found["cdc_effects_total"].values()) == {0}


def test_partitions_that_went_to_another_member_are_no_more_seen(metrics: Metrics) -> None:
    look(metrics, users=1, demo=1)
    look(metrics, demo=2)
    assert scraped(metrics)["cdc_lag_records"] == {("3", DEMO.topic): 2}


def test_retries_are_counted_by_server_and_cause_and_pauses_in_seconds(metrics: Metrics, clock: _Clock) -> None:
    metrics.waiting(AWAY, 1.0)
    clock.now += 3
    metrics.waiting(ServerUnavailable("Redis", "OOM …", cause="OOM"), 1.0)
    clock.now += 2
    metrics.servers_available()
    metrics.waiting(ServerUnavailable("registry at http://r", "answers 503"), 1.0)
    metrics.servers_available()
    metrics.uncommitted(ServerUnavailable("Kafka", "timed out", cause="KafkaTimeoutError"))
    metrics.interrupted(ServerUnavailable("Kafka", "gone", cause="NoBrokersAvailable"), 1.0)
    clock.now += 4
    found = scraped(metrics)
    assert found["cdc_retries_total"] == {
        ("ConnectionError", "redis"): 1,
        ("OOM", "redis"): 1,
        ("other", "registry"): 1,
        ("KafkaTimeoutError", "kafka"): 1,
        ("NoBrokersAvailable", "kafka"): 1,
    }
    assert found["cdc_paused_seconds_total"] == {("redis",): 5, ("kafka",): 4, ("registry",): 0}


def test_the_rest(metrics: Metrics) -> None:
    metrics.assigned([USERS])
    metrics.committed({USERS: 5})
    metrics.jumped(USERS, 7, 9)
    metrics.drifted(Drift("live_users", "nickname", DriftKind.UNKNOWN), 3)
    metrics.drifted(Drift("live_users", "mam_id", DriftKind.MISSING), 2)
    metrics.drifted(Drift("live_users", "copytrading_alloted_time", DriftKind.UNREADABLE), 4)
    metrics.drifted(Drift("user_transactions", "status", DriftKind.VALUE), 5)
    metrics.drifted(Drift("live_users", "", DriftKind.SCALE), 6)
    found = scraped(metrics)
    assert found["cdc_rebalances_total"] == {(): 1}
    assert found["cdc_commits_total"] == {(): 1}
    assert found["cdc_offset_jumps_total"] == {("0", USERS.topic): 1}
    assert found["cdc_unknown_columns_total"] == {("nickname", "live_users"): 3}
    assert found["cdc_missing_columns_total"] == {("mam_id", "live_users"): 2}
    assert found["cdc_unreadable_columns_total"] == {("copytrading_alloted_time", "live_users"): 4}
    assert found["cdc_unknown_values_total"] == {("status", "user_transactions"): 5}
    assert found["cdc_index_state"] == {("off",): 0, ("cold",): 0, ("full",): 0, ("warm",): 1}
    assert len(found["cdc_build_info"]) == 1
    assert found["process_resident_memory_bytes"][()] > 0


def test_columns_that_nobody_would_configure_do_not_fill_the_memory(metrics: Metrics) -> None:
    for number in range(1000):
        metrics.drifted(Drift("live_users", f"c{number}", DriftKind.UNKNOWN), 1)
    found = scraped(metrics)["cdc_unknown_columns_total"]
    assert len(found) == 201
    assert sum(found.values()) == 1000


def test_ready_with_partitions_with_servers_and_not_too_far_behind(metrics: Metrics, clock: _Clock) -> None:
    assert "partitions" in metrics.unready()
    look(metrics, users=0)
    assert metrics.is_ready()
    metrics.waiting(AWAY, 1.0)
    assert metrics.unready() == "waiting for redis"
    metrics.servers_available()
    metrics.interrupted(ServerUnavailable("Kafka", "gone"), 1.0)
    assert metrics.unready() == "waiting for kafka"
    metrics.servers_available()
    assert not metrics.is_ready(), "reading is another matter"
    metrics.source_available()
    assert metrics.is_ready()
    look(metrics, users=3)
    clock.now += 61
    assert metrics.unready() == "61 s behind, more than 60"
    look(metrics, users=0)
    assert metrics.is_ready()


def test_alive_while_the_loop_turns(metrics: Metrics, clock: _Clock) -> None:
    clock.now += 1000
    assert metrics.is_alive(), "it has not begun"
    look(metrics, users=0)
    clock.now += 61
    assert not metrics.is_alive()
    metrics.waiting(AWAY, 1.0)
    assert metrics.is_alive()


@pytest.fixture
def port(metrics: Metrics) -> Iterator[int]:
    port = Ports().take("metrics")
    stop = serve(Settings(host="127.0.0.1", port=port), metrics, lambda: not hasattr(metrics, "redis_is_away"))
    yield port
    stop()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_probes_say_why_not(metrics: Metrics, clock: _Clock, port: int) -> None:
    assert asked(port, "/readyz") == (503, "no partitions are assigned\n")
    look(metrics, users=0)
    assert asked(port, "/readyz") == (200, "ok\n")
    metrics.redis_is_away = True  # type: ignore[attr-defined]
    assert asked(port, "/readyz") == (503, "Redis does not answer\n")
    assert asked(port, "/healthz") == (200, "ok\n")
    clock.now += 61
    assert asked(port, "/healthz") == (503, "the loop hangs\n")
    assert asked(port, "/elsewhere")[0] == 404
    status, page = asked(port, "/metrics")
    assert status == 200
    assert "cdc_lag_seconds{" in page


def test_a_port_that_is_taken_is_a_wrong_setting(metrics: Metrics, port: int) -> None:
    with pytest.raises(ConfigError, match="CDC_METRICS__PORT"):
        serve(Settings(host="127.0.0.1", port=port), metrics, lambda: True)


def test_topics_of_another_database_are_shown_as_long_as_they_are_there(metrics: Metrics) -> None:
    metrics.refused(["t.restore.live_users"])
    assert scraped(metrics)["cdc_refused_topics"] == {("t.restore.live_users",): 1}
    metrics.refused([])
    assert "cdc_refused_topics" not in scraped(metrics)


def test_an_emptied_redis_is_a_metric_and_the_first_reason_not_to_be_ready(metrics: Metrics) -> None:
    look(metrics, users=0)
    assert scraped(metrics)["cdc_redis_emptied"] == {(): 0}
    metrics.waiting(AWAY, 1.0)
    metrics.emptied("Redis was emptied, waiting for a command")
    assert metrics.unready() == "Redis was emptied, waiting for a command"
    assert scraped(metrics)["cdc_redis_emptied"] == {(): 1}
    metrics.emptied("")
    metrics.servers_available()
    assert metrics.is_ready()
    assert scraped(metrics)["cdc_redis_emptied"] == {(): 0}


def test_who_waits_for_a_rebuild_is_alive(metrics: Metrics, clock: _Clock) -> None:
    look(metrics, users=0)
    for _ in range(10):
        clock.now += 50
        metrics.emptied("Redis was emptied")
    assert metrics.is_alive()


def test_the_figures_of_a_member(metrics: Metrics, clock: _Clock) -> None:
    """As the metrics have them; a reason of the connectors is none of the member."""
    assert metrics.figures() == Figures(
        partitions=(),
        lag_records=0,
        lag_s=0.0,
        waits_for=(),
        unready="no partitions are assigned",
        index="warm",
        done=0,
    )
    look(metrics, users=3, demo=4)
    metrics.include(_Nothing(), lambda: "the connector trading-mysql is FAILED")
    assert metrics.unready() == "the connector trading-mysql is FAILED"
    metrics.records_done([result(1, applied()), result(2, applied()), dead(3)])
    clock.now += 20
    metrics.waiting(AWAY, 1.0)
    found = metrics.figures()
    assert (set(found.partitions), found.lag_records, found.done) == ({USERS, DEMO}, 7, 3)
    assert (found.waits_for, found.unready, round(found.lag_s) >= 20) == (("redis",), "waiting for redis", True)
    metrics.servers_available()
    assert metrics.figures().unready != "the connector trading-mysql is FAILED"
    clock.now += 1000
    assert metrics.figures().unready == "the loop hangs"


class _Nothing(Collector):
    """A collector without metrics."""

    def collect(self) -> Iterator[Metric]:
        yield from ()
