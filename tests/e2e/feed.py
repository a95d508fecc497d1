"""A topic of the live users that a test writes by itself, records that are wrong in some way among the others."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError
from msgspec import structs

from consumer.events.record import SourceRecord
from tests.e2e.process import Process, running
from tests.support.scenario import Change, load_all
from tests.support.stack import Stack
from tests.support.stack.kafka import PATIENT

POISON = b"\x07hunter2 is no envelope"
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0]


@dataclass(frozen=True)
class Feed:
    """A topic of the live users that a test writes by itself, and the program's settings to follow it."""

    stack: Stack
    topic: str
    producer: KafkaProducer
    redis: redis.Redis
    environment: Mapping[str, str]
    folder: Path

    def send(self, *records: SourceRecord) -> list[int]:
        """The records' offsets, acknowledged."""
        sent = [
            self.producer.send(self.topic, key=each.key, value=each.value, headers=list(each.headers), partition=0)
            for each in records
        ]
        self.producer.flush()
        return [each.get(10).offset for each in sent]

    def running(self, **environment: str) -> AbstractContextManager[Process]:
        return running({**self.environment, **environment}, self.folder / "consumer.log")

    def halted(self, **environment: str) -> str:
        """What a program said that ended by itself with exit code 1."""
        with self.running(**environment) as process:
            assert process.wait(60) == 1
            assert "Traceback" not in process.said()
            return process.said()

    def letters(self, topic: str = "") -> list[Any]:
        """Everything in the topic of dead letters."""
        part = TopicPartition(topic or self.dead_letters, 0)
        consumer = KafkaConsumer(
            **PATIENT, bootstrap_servers=self.stack.kafka.bootstrap_servers, enable_auto_commit=False
        )
        try:
            consumer.assign([part])
            consumer.seek_to_beginning(part)
            end, found = consumer.end_offsets([part])[part], []
            while consumer.position(part) < end:
                found += consumer.poll(timeout_ms=500).get(part, [])
            return found
        finally:
            consumer.close()

    @property
    def dead_letters(self) -> str:
        return f"{self.environment['CDC_KAFKA__TOPIC_PREFIX']}.dlq"

    def committed(self) -> int | None:
        """None also while the broker can't say, as after it was frozen."""
        admin = self.stack.kafka.admin()
        try:
            offsets = admin.list_consumer_group_offsets(self.environment["CDC_KAFKA__GROUP_ID"])
        except KafkaError:
            return None
        finally:
            admin.close()
        found = offsets.get(TopicPartition(self.topic, 0))
        return None if found is None or found.offset < 0 else int(found.offset)

    def make(self, topic: str, **configs: str) -> None:
        admin = self.stack.kafka.admin()
        admin.create_topics(
            [NewTopic(topic, 1, 1, topic_configs={name.replace("_", "."): value for name, value in configs.items()})]
        )
        admin.close()

    def field(self, user_id: int, name: str) -> object:
        return self.redis.hget(f"user:{{live:{user_id}}}:config", name)


def deposit(user_id: int, offset: int, **columns: object) -> SourceRecord:
    """A change of one user's balance, and of ``columns``, as Debezium writes it."""
    record = _of(user_id, columns).record(offset)
    return structs.replace(record, key=f'{{"id":{user_id}}}'.encode())


def _of(user_id: int, columns: Mapping[str, object]) -> Change:
    assert DEPOSIT.before is not None
    assert DEPOSIT.after is not None
    before, after = DEPOSIT.before | {"id": user_id}, DEPOSIT.after | {"id": user_id, **columns}
    return replace(DEPOSIT, before=before, after=after)


def poison(user_id: int, offset: int, value: bytes = POISON) -> SourceRecord:
    return structs.replace(deposit(user_id, offset), value=value, headers=(("trace", b"abc"),))
