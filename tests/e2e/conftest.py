"""The whole way: SQL in, Redis keys and messages out, with the program as a user starts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaProducer

from tests.e2e.feed import Feed
from tests.e2e.process import Process, running
from tests.e2e.replaying import Ground
from tests.e2e.topic import Topic
from tests.support.redis_cluster import TestCluster
from tests.support.redis_server import program
from tests.support.redis_view import Listener, eventually
from tests.support.stack import Stack
from tests.support.stack.kafka import PATIENT
from tests.support.stack.registration import Database, Registration, registered
from tests.support.stack.trading import Trading

# Users that are there before the snapshot, so that every topic exists from the beginning.
WITNESS = 900


@dataclass(frozen=True)
class System:
    """A database, Debezium, Kafka, Redis, and this program's settings to join them."""

    stack: Stack
    database: Database
    trading: Trading
    redis: redis.Redis
    listener: Listener
    registration: Registration
    environment: Mapping[str, str]
    folder: Path

    def running(self, *arguments: str, **environment: str) -> AbstractContextManager[Process]:
        """The consumer, until the end of the block."""
        return running({**self.environment, **environment}, self.folder / "consumer.log", *arguments)

    def config(self, user_id: int, user_type: str = "live") -> dict[str, str]:
        found = self.redis.hgetall(f"user:{{{user_type}:{user_id}}}:config")
        return {str(name): str(value) for name, value in found.items()}

    def field(self, user_id: int, name: str, user_type: str = "live") -> str | None:
        return self.config(user_id, user_type).get(name)

    def balance(self, user_id: int, user_type: str = "live") -> str:
        return str(self.redis.get(f"user_balance:{user_type}:{user_id}"))

    def heard(self, user_id: int, user_type: str = "live") -> list[tuple[str, dict[str, Any]]]:
        return self.listener.heard(user_id, user_type)

    def channels(self, user_id: int, user_type: str = "live") -> list[str]:
        return [channel for channel, _ in self.heard(user_id, user_type)]

    def passed(self, user_id: int, table: str = "live_users") -> None:
        """Wait until everything that was committed for this user so far has been through, by a change behind it."""
        user_type = table.partition("_")[0]
        (count,) = self.trading.row(table, user_id, "country_id")
        self.trading.update(table, user_id, country_id=(count or 0) + 1)
        eventually(lambda: self.field(user_id, "country_id", user_type) == str((count or 0) + 1))


@pytest.fixture
def client() -> str:
    """What reads a test's topic."""
    return "kafka-python"


@pytest.fixture
def ground(
    stack: Stack, redis_client: redis.Redis, topic_prefix: str, group_id: str, tmp_path: Path, client: str
) -> Ground:
    """Topics that the test writes itself, to be replayed into an empty Redis."""
    environment = {
        "CDC_KAFKA__CLIENT": client,
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_KAFKA__GROUP_ID": group_id,
        "CDC_REDIS__URL": stack.redis.url,
    }
    made = Ground(stack, redis_client, environment, tmp_path)
    made.make("live_users", "user_transactions", retention_ms="-1")
    return made


@pytest.fixture
def topic(stack: Stack, redis_client: redis.Redis, topic_prefix: str, client: str) -> Iterator[Topic]:
    """A topic that the test makes and writes itself, and an empty Redis: no key of another test may refuse a change."""
    topic = Topic(stack, topic_prefix, client)
    try:
        yield topic
    finally:
        topic.close()


@pytest.fixture
def overrides() -> Mapping[str, str]:
    """Lines of the connector's configuration that a test sets otherwise, by parametrising this."""
    return {}


@pytest.fixture
def system(
    stack: Stack,
    database: Database,
    overrides: Mapping[str, str],
    trading: Trading,
    redis_client: redis.Redis,
    topic_prefix: str,
    group_id: str,
    tmp_path: Path,
) -> Iterator[System]:
    """Clean tables with one witness each, fresh topics, a fresh group, an empty Redis; the consumer is not started."""
    trading.insert("live_users", id=WITNESS)
    trading.insert("demo_users", id=WITNESS)
    listener = Listener(redis_client)
    with registered(stack, database, topic_prefix, overrides) as registration:
        yield System(
            stack,
            database,
            trading,
            redis_client,
            listener,
            registration,
            {
                "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
                "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
                "CDC_KAFKA__GROUP_ID": group_id,
                "CDC_REDIS__URL": stack.redis.url,
                "CDC_METRICS__PORT": "0",
            },
            tmp_path,
        )
    listener.close()


@pytest.fixture
def live(system: System) -> Iterator[System]:
    """The system with the consumer running, the snapshot in Redis."""
    with system.running():
        eventually(lambda: system.config(WITNESS) and system.config(WITNESS, "demo"), what=system.folder.name)
        yield system


@pytest.fixture
def feed(stack: Stack, redis_client: redis.Redis, topic_prefix: str, group_id: str, tmp_path: Path) -> Iterator[Feed]:
    producer = KafkaProducer(**PATIENT, bootstrap_servers=stack.kafka.bootstrap_servers, acks="all", linger_ms=5)
    environment = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_KAFKA__GROUP_ID": group_id,
        "CDC_REDIS__URL": stack.redis.url,
        "CDC_METRICS__PORT": "0",
    }
    made = Feed(stack, f"{topic_prefix}.trading.live_users", producer, redis_client, environment, tmp_path)
    made.make(made.topic)
    yield made
    producer.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """One that soon gives up a node that is silent."""
    cluster = TestCluster(program("machine"), tmp_path_factory.mktemp("cluster"), node_timeout_ms=1000)
    cluster.start()
    yield cluster
    cluster.end()
