"""Topics that a test writes by itself, and `cdc-consumer replay` on them as a user starts it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis
from kafka import KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from msgspec import structs

from consumer.events.record import SourceRecord
from tests.e2e.process import Process, command
from tests.support.redis_view import eventually
from tests.support.scenario import Change, load_all
from tests.support.stack import Stack

SCENARIOS = {each.title: each for each in load_all()}
DEPOSIT, GROUP, DELETED, NEW_DEMO = (
    next(each for title, each in SCENARIOS.items() if title.startswith(beginning)).changes[0]
    for beginning in ("A deposit", "The group", "A deleted user", "A new demo user")
)
TRANSACTION = SCENARIOS["The transaction's row alone"].changes[0]
PARTITIONS = 3


def of_user(change: Change, user_id: int, at: int, **columns: object) -> SourceRecord:
    """A change of another user at a place in the log."""
    before = None if change.before is None else change.before | {"id": user_id}
    after = None if change.after is None else change.after | {"id": user_id} | columns
    return structs.replace(
        replace(change, user_id=user_id, before=before, after=after).record(at), partition=user_id % PARTITIONS
    )


def of_transaction(user_id: int, at: int) -> SourceRecord:
    """A transaction of a user, by the name of its place."""
    assert TRANSACTION.after is not None
    after = TRANSACTION.after | {"id": at, "user_id": user_id, "transaction_id": f"TXN{at}"}
    record = replace(TRANSACTION, after=after).record(at)
    return structs.replace(record, key=json.dumps({"id": user_id}).encode(), partition=user_id % PARTITIONS)


@dataclass(frozen=True)
class Ground:
    """The topics, the settings to read them, and a Redis."""

    stack: Stack
    redis: redis.Redis
    environment: Mapping[str, str]
    folder: Path

    @property
    def prefix(self) -> str:
        return self.environment["CDC_KAFKA__TOPIC_PREFIX"]

    def topic(self, table: str = "live_users") -> str:
        return f"{self.prefix}.trading.{table}"

    def make(self, *tables: str, **configs: str) -> None:
        admin = self.stack.kafka.admin()
        options = {name.replace("_", "."): value for name, value in configs.items()}
        admin.create_topics([NewTopic(self.topic(table), PARTITIONS, 1, topic_configs=options) for table in tables])
        eventually(lambda: {self.topic(table) for table in tables} <= set(admin.list_topics()), 60)
        admin.close()

    def send(self, records: Sequence[SourceRecord], transactional_id: str | None = None) -> None:
        """Acknowledged; with an id all in one Kafka transaction."""
        options: dict[str, Any] = {"transactional_id": transactional_id} if transactional_id else {}
        producer = KafkaProducer(
            bootstrap_servers=self.stack.kafka.bootstrap_servers, acks="all", linger_ms=5, **options
        )
        if transactional_id:
            producer.init_transactions()
            producer.begin_transaction()
        for each in records:
            topic = each.topic.replace("trading", self.prefix, 1)
            producer.send(
                topic, key=each.key, value=each.value, partition=each.partition, timestamp_ms=each.timestamp_ms
            )
        producer.flush()
        if transactional_id:
            producer.commit_transaction()
        producer.close()

    def delete_before(self, offset: int, partition: int) -> None:
        """What retention does to the topic of live users."""
        admin = self.stack.kafka.admin()
        admin.delete_records({TopicPartition(self.topic(), partition): offset})
        admin.close()

    def replayed(self, *arguments: str, code: int | tuple[int, ...] = 0) -> dict[str, Any]:
        """The summary of a replay that ended with ``code``, or one of them; what it said if it gave none."""
        done = command(self.environment, "replay", *arguments, "--json", seconds=240)
        assert done.returncode in (code if isinstance(code, tuple) else (code,)), done.stderr
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"said": done.stderr}
        return found

    def interrupted(self, seconds: float, number: signal.Signals, *arguments: str) -> int:
        """The exit code of a replay that got a signal after so long, or ended before."""
        child = self.started(*arguments)
        deadline = time.monotonic() + seconds
        while child.running and time.monotonic() < deadline:
            time.sleep(0.01)
        if child.running:
            child.send(number)
        return child.wait(60)

    def interrupted_at(self, key: str, *arguments: str, act: Callable[[], object] | None = None) -> int:
        """The exit code of a replay to which something happens once such a key is there: SIGINT, or ``act``."""
        child = self.started(*arguments)
        eventually(lambda: not child.running or next(self.redis.scan_iter(match=key, count=1000), None), 60)
        if act is None:
            child.send(signal.SIGINT)
        else:
            act()
        return child.wait(120)

    def started(self, *arguments: str) -> Process:
        """A replay that goes on beside the test."""
        return Process(self.environment, self.folder / "replay.err", *arguments, command="replay")

    def config(self, user_id: int) -> dict[str, str]:
        found = self.redis.hgetall(f"user:{{live:{user_id}}}:config")
        return {str(name): str(value) for name, value in found.items()}

    def users(self) -> set[int]:
        """Those who have a config hash."""
        return {int(key.split(":")[2].rstrip("}")) for key in self.redis.scan_iter(match="user:*:config", count=1000)}
