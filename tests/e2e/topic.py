"""A topic that a test writes itself, without a database and Debezium: for what only a group's member sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata

from consumer.events.record import Partition
from consumer.observability.metrics import Metrics
from consumer.pipeline.protocols import Observer
from consumer.settings.sections import Kafka
from consumer.source.clients.kafka import topics
from consumer.source.group_consumer import KafkaSource
from consumer.source.topic_selection import Known, select
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.kafka import PATIENT

EITHER_CLIENT = pytest.mark.parametrize("client", ["kafka-python", "confluent"])
"""A test of what both clients promise; other tests of a topic have the default one."""


class Topic:
    """A topic of a captured table, and the group that follows it with ``client``."""

    def __init__(self, stack: Stack, prefix: str, client: str = "kafka-python") -> None:
        self._client = client
        self.name = f"{prefix}.trading.live_users"
        self.prefix = prefix
        self._servers = stack.kafka.bootstrap_servers
        self._kafka = stack.kafka

    @property
    def part(self) -> Partition:
        return Partition(self.name, 0)

    @contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        admin = self._kafka.admin()  # a new one each time: the broker may have been restarted in between
        try:
            yield admin
        finally:
            admin.close()

    def _exists(self) -> bool:
        with self._admin() as admin:
            return self.name in admin.list_topics()

    def close(self) -> None:
        if self._exists():
            self.delete()

    def make(self, partitions: int = 1) -> None:
        with self._admin() as admin:
            admin.create_topics([NewTopic(name=self.name, num_partitions=partitions, replication_factor=1)])
        eventually(self._exists)

    def delete(self) -> None:
        with self._admin() as admin:
            admin.delete_topics([self.name])
        eventually(lambda: not self._exists())

    def delete_before(self, offset: int, partition: int = 0) -> None:
        """What retention does."""
        with self._admin() as admin:
            admin.delete_records({TopicPartition(self.name, partition): offset})

    def send(self, count: int, partition: int = 0, compression: str | None = None) -> None:
        with self.producer(compression) as producer:
            for number in range(count):
                producer.send(self.name, f"record {number} ".encode() * 20, partition=partition).get(10)

    @contextmanager
    def producer(self, compression: str | None = None) -> Iterator[KafkaProducer]:
        producer = KafkaProducer(**PATIENT, bootstrap_servers=self._servers, acks="all", compression_type=compression)
        try:
            yield producer
        finally:
            producer.close()

    def settings(self, **more: object) -> Kafka:
        base = {"bootstrap_servers": self._servers, "topic_prefix": self.prefix, "group_id": self.prefix}
        return Kafka.model_validate({**base, "client": self._client, **more})

    def environment(self) -> dict[str, str]:
        """The same for a process."""
        return {
            "CDC_KAFKA__BOOTSTRAP_SERVERS": self._servers,
            "CDC_KAFKA__CLIENT": self._client,
            "CDC_KAFKA__TOPIC_PREFIX": self.prefix,
            "CDC_KAFKA__GROUP_ID": self.prefix,
            "CDC_METRICS__PORT": "0",
        }

    def committed(self, partition: int = 0) -> int | None:
        """The group's offset."""
        with self._admin() as admin:
            found = admin.list_consumer_group_offsets(self.prefix)
        offset = found.get(TopicPartition(self.name, partition))
        return None if offset is None else int(offset.offset)

    def commit(self, offset: int, partition: int = 0) -> None:
        """Set the group's offset by hand."""
        consumer = KafkaConsumer(
            **PATIENT, bootstrap_servers=self._servers, group_id=self.prefix, enable_auto_commit=False
        )
        part = TopicPartition(self.name, partition)
        consumer.assign([part])
        consumer.commit({part: OffsetAndMetadata(offset, "", -1)})
        consumer.close(autocommit=False)

    @contextmanager
    def member(self, observer: Observer | None = None, **settings: object) -> Iterator[Member]:
        """A member of the group, in this process."""
        member = Member(self.settings(**settings), observer)
        try:
            yield member
        finally:
            member.source.close()


class Member:
    """A member of the group, in this process; it keeps what it reads and what is taken from it."""

    def __init__(self, settings: Kafka, observer: Observer | None) -> None:
        self.revoked: list[Partition] = []
        self.offsets: list[int] = []
        self.source = KafkaSource(settings, ["live_users"], self.revoked.extend, observer)
        self.source.subscribe(select(Known(topics(settings)), settings, ["live_users"]))

    def poll(self) -> None:
        self.offsets += [record.offset for record in self.source.poll(0.05)]

    def is_ready(self, metrics: Metrics) -> bool:
        """Poll once; whether the readiness probe succeeds then."""
        self.poll()
        metrics.tick(self.source)
        return metrics.is_ready()

    def read(self, offsets: list[int]) -> None:
        """Poll until these and no others were read."""

        def has_read() -> bool:
            self.poll()
            return self.offsets == offsets

        eventually(has_read, what=f"wanted {offsets}")

    @property
    def partitions(self) -> set[int]:
        return {part.number for part in self.source.assignment()}


def together(members: Sequence[Member], partitions: int) -> bool:
    """Each polls once; whether all partitions are given out now, evenly."""
    for member in members:
        member.poll()
    return all(len(member.partitions) == partitions // len(members) for member in members)
