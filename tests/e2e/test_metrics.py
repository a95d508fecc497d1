"""A counted run on the real servers: what Prometheus reads agrees with it, and no value of a row is in a log."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from consumer import __version__
from tests.docs.markdown import PROJECT, rows
from tests.e2e.conftest import WITNESS, System
from tests.e2e.process import Process
from tests.support.redis_view import eventually
from tests.support.stack.kafka import PATIENT
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack
SECRETS = {
    "wallet_balance": "7345612.123457",
    "margin": "8123456.75",
    "group": "GroupHunter2",
    "account_number": "ACC-hunter2",
    "name": "Hannah Hunter2",
    "email": "hannah@hunter2.example",
    "password": "hunter2",
}
PLANTED = ("hunter2", "7345612", "8123456", "6543217")


@dataclass(frozen=True)
class Page:
    """What ``/metrics`` said."""

    text: str

    def values(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The samples of ``name`` that are not 0, by the values of ``labels``."""
        families = text_string_to_metric_families(self.text)
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return {tuple(each.labels[label] for label in labels): each.value for each in samples if each.value}

    def value(self, name: str) -> float:
        return self.values(name).get((), 0)


def asked(port: int, path: str) -> str:
    """The answer's body, whatever the status; "" while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except urllib.error.URLError:
        return ""


def test_the_values_agree_with_a_counted_run_and_no_log_line_holds_a_row(system: System) -> None:
    port = Ports().take("metrics")
    settings = {
        "CDC_METRICS__PORT": str(port),
        "CDC_LOG__FORMAT": "json",
        "CDC_LOG__LEVEL": "debug",
        "CDC_REDIS__TIMEOUT_MS": "1000",
    }
    with system.running(**settings) as process:
        eventually(lambda: asked(port, "/readyz") == "ok\n", 60)
        wanted = _play(system)

        def outcomes() -> dict[tuple[str, ...], float]:
            return Page(asked(port, "/metrics")).values("cdc_changes_total", "table", "outcome")

        eventually(lambda: outcomes() == wanted, 60, f"{wanted} was expected")
        eventually(lambda: not Page(asked(port, "/metrics")).values("cdc_lag_records", "topic", "partition"), 30)
        before = Page(asked(port, "/metrics"))
        _see(before, wanted, system)
        _freeze(system, port, process)
        after = Page(asked(port, "/metrics"))
    assert sum(after.values("cdc_retries_total", "server", "cause").values()) >= 1
    assert {server for server, _ in after.values("cdc_retries_total", "server", "cause")} == {"redis"}
    assert after.values("cdc_paused_seconds_total", "server")[("redis",)] > 0
    said = process.said()
    for planted in PLANTED:
        assert planted not in said
        assert planted not in after.text
    described = {action for (action,) in rows(PROJECT / "docs" / "observe.md", 1)}
    actions = {json.loads(line)["action"] for line in said.splitlines()}
    assert actions <= described
    assert {"run.following", "record.dead_letter", "redis.waiting", "index.ready"} <= actions


def _play(system: System) -> Counter[tuple[str, ...]]:
    """Changes of every kind, and what should become of each."""
    live, demo = "live_users", "demo_users"
    wanted: Counter[tuple[str, ...]] = Counter({(live, "applied"): 1, (demo, "applied"): 1})  # the snapshot
    system.trading.insert(live, id=1, **SECRETS)
    for margin in range(10):
        system.trading.update(live, 1, margin=f"6543217.{margin}")
    system.trading.update(demo, WITNESS, group="GroupHunter2")
    wanted[live, "applied"] += 11
    wanted[demo, "applied"] += 1
    eventually(lambda: system.field(1, "margin") == "6543217.90" and system.field(WITNESS, "group", "demo"))
    topic = f"{system.environment['CDC_KAFKA__TOPIC_PREFIX']}.trading.{live}"
    history = _records(system, topic)
    mine = [(key, value) for key, value in history if key == b'{"id":1}']
    assert len(mine) == 11
    # Debezium sends its last record again, and one before it; somebody else writes to the topic.
    _produce(system, topic, mine[-1], mine[3], (b'{"id":1}', b"\x07 hunter2 is no envelope"))
    wanted += Counter({(live, "sent_again"): 2, (live, "dead_letter"): 1})
    # Another program holds the key of a user with another type.
    system.redis.rpush("user:{live:2}:config", "hunter2")
    system.trading.insert(live, id=2, **SECRETS | {"account_number": "OTHER-hunter2", "email": "h2@hunter2.example"})
    wanted[live, "dead_letter"] += 1
    system.trading.delete(live, 1)
    wanted += Counter({(live, "applied"): 1, (live, "ignored"): 1})  # the tombstone behind it
    return wanted


def _records(system: System, topic: str) -> list[tuple[bytes, bytes]]:
    consumer = KafkaConsumer(
        **PATIENT, bootstrap_servers=system.stack.kafka.bootstrap_servers, enable_auto_commit=False
    )
    try:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends, found = consumer.end_offsets(parts), []
        while any(consumer.position(part) < ends[part] for part in parts):
            found += [record for batch in consumer.poll(timeout_ms=500).values() for record in batch]
        return [(record.key, record.value) for record in found]
    finally:
        consumer.close()


def _produce(system: System, topic: str, *records: tuple[bytes, bytes]) -> None:
    producer = KafkaProducer(**PATIENT, bootstrap_servers=system.stack.kafka.bootstrap_servers, acks="all")
    for key, value in records:
        producer.send(topic, key=key, value=value)
    producer.flush()
    producer.close()


def _see(page: Page, wanted: Counter[tuple[str, ...]], system: System) -> None:
    applied = sum(count for (_, outcome), count in wanted.items() if outcome == "applied")
    for name in ("cdc_commit_to_redis_seconds", "cdc_append_to_redis_seconds"):
        assert page.value(f"{name}_count") == applied
        assert page.values(f"{name}_bucket", "le")[("+Inf",)] == applied
    effects = page.values("cdc_effects_total", "kind")
    assert effects[("publish",)] == len(system.listener.heard())
    assert effects[("config",)] == applied - 1, "a delete writes none"
    assert effects[("remove",)] == 1
    assert page.values("cdc_dead_letters_total", "reason") == {("undecodable",): 1, ("redis_wrongtype",): 1}
    assert page.value("cdc_assigned_partitions") >= 2
    assert page.value("cdc_rebalances_total") >= 1
    assert page.value("cdc_commits_total") >= 1
    assert page.values("cdc_index_state", "state") == {("warm",): 1}
    assert page.values("cdc_build_info", "version") == {(__version__,): 1}
    assert page.value("process_resident_memory_bytes") > 2**20
    assert re.search(r"^# TYPE cdc_changes_total counter$", page.text, re.MULTILINE)


def _freeze(system: System, port: int, process: Process) -> None:
    """Redis away while a change is on its way: the lag grows, the program is not ready and says why."""
    system.stack.redis.freeze()
    try:
        system.trading.update("live_users", WITNESS, group="GroupHunter2")
        eventually(lambda: "redis.waiting" in process.said(), 30)
        assert asked(port, "/readyz") == "waiting for redis\n"
        assert asked(port, "/healthz") == "ok\n"
        page = Page(asked(port, "/metrics"))
        behind = page.values("cdc_lag_seconds", "topic", "partition")
        assert len(behind) == page.value("cdc_assigned_partitions") > 0
    finally:
        system.stack.redis.thaw()
    eventually(lambda: system.field(WITNESS, "group") == "GroupHunter2", 30)
    eventually(lambda: asked(port, "/readyz") == "ok\n", 30)
