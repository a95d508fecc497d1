"""The source on a real broker: what only a group's member sees."""

from __future__ import annotations

import threading
import time

import pytest
from kafka import KafkaProducer
from kafka.admin import NewTopic

from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import topics as present_topics
from consumer.source.group_consumer import KafkaSource
from consumer.source.topic_selection import Known, select
from tests.e2e.topic import EITHER_CLIENT
from tests.support.stack import Stack
from tests.support.stack.kafka import PATIENT

pytestmark = pytest.mark.stack
TABLES = ("live_users", "demo_users", "user_transactions", "money_requests")


@EITHER_CLIENT
def test_topics_that_come_later_are_read_however_short_the_polls(stack: Stack, topic_prefix: str, client: str) -> None:
    """kafka-python's own mistake: with polls that end in the middle of a join, the new assignment was never applied."""
    topics = [f"{topic_prefix}.trading.{table}" for table in TABLES]
    admin = stack.kafka.admin()
    producer = KafkaProducer(**PATIENT, bootstrap_servers=stack.kafka.bootstrap_servers, acks="all")
    busy = threading.Event()
    burner = threading.Thread(target=lambda: [None for _ in iter(busy.is_set, True)])
    servers = stack.kafka.bootstrap_servers
    settings = Kafka.model_validate(
        {"client": client, "bootstrap_servers": servers, "topic_prefix": topic_prefix, "group_id": topic_prefix}
    )
    seen: set[str] = set()

    def read_until(wanted: set[str]) -> None:
        deadline = time.monotonic() + 30
        while not wanted <= seen:
            assert time.monotonic() < deadline, f"only {seen} were read"
            seen.update(record.topic for record in source.poll(0.02))

    def make(names: list[str]) -> None:
        admin.create_topics([NewTopic(name=name, num_partitions=2, replication_factor=1) for name in names])
        for name in names:
            producer.send(name, b"a record").get(10)

    make(topics[:1])
    source = KafkaSource(settings, TABLES, lambda _: None)
    burner.start()
    try:
        source.subscribe(select(Known(present_topics(settings)), settings, TABLES))
        read_until({topics[0]})
        for topic in topics[1:]:
            make([topic])
            read_until({topic})
    finally:
        busy.set()
        burner.join()
        source.close()
        producer.close()
        admin.delete_topics([topic for topic in topics if topic in admin.list_topics()])
        admin.close()
