"""A partition's leader does not answer, while the group's coordinator does."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest
from kafka.admin import NewTopic
from structlog.testing import capture_logs

from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.mapping.reference import reference
from consumer.observability.metrics import Metrics
from consumer.source import partition_watch
from tests.e2e.topic import EITHER_CLIENT, Topic
from tests.integration.kafka.second_broker import ID, second_broker
from tests.support.redis_view import eventually
from tests.support.stack import MissingTool, Stack
from tests.support.stack.kafka import Kafka

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def brokers() -> Iterator[tuple[Stack, Kafka]]:
    try:
        stack = Stack.start((), ("standalone",), kind="native")
    except MissingTool as missing:
        pytest.skip(str(missing))
    with stack:
        # The topic of the group's offsets is made before there is another broker.
        first = Topic(stack, "first")
        first.make()
        first.commit(0)
        second = second_broker(stack)
        second.start()
        yield stack, second


class Led(Topic):
    """A topic whose partition 1 is led by the second broker."""

    def make(self, partitions: int = 2) -> None:
        with self._admin() as admin:
            admin.create_topics([NewTopic(name=self.name, replica_assignments={0: [1], 1: [ID]})])
        eventually(self._exists)


@pytest.fixture(autouse=True)
def checks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_watch, "_EVERY_S", 1.0)


@EITHER_CLIENT
def test_the_leader_of_one_partition_does_not_answer(brokers: tuple[Stack, Kafka], client: str) -> None:
    stack, leader = brokers
    topic = Led(stack, f"led-{secrets.token_hex(4)}", client)
    topic.make()
    metrics = Metrics(time.time, index=lambda: "warm", ready_lag_s=60, tables=TopicTables(reference().captured()))
    away = Partition(topic.name, 1)

    def seconds_of(part: Partition) -> float:
        return metrics._lag_seconds()[part]

    with topic.member(metrics) as member:
        topic.send(2, partition=0)
        topic.send(3, partition=1)
        eventually(lambda: member.is_ready(metrics) and len(member.offsets) == 5, 30)
        leader.freeze()
        with capture_logs() as lines:
            eventually(lambda: not member.is_ready(metrics), 90)
        assert metrics.unready() == "waiting for kafka"
        assert f"{topic.name}[1]" in next(line["error"] for line in lines if line.get("action") == "kafka.waiting")
        topic.send(1, partition=0)
        eventually(lambda: member.is_ready(metrics) or len(member.offsets) == 6, 3, "partition 0 is still read")
        before = seconds_of(away)
        eventually(lambda: not member.is_ready(metrics) and seconds_of(away) > before + 2, 10)
        leader.thaw()
        topic.send(1, partition=1)
        eventually(lambda: member.is_ready(metrics) and len(member.offsets) == 7, 60)
