"""The running health API beside a running consumer, on a real database and a real Redis that can be taken from it."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from kafka import KafkaConsumer, TopicPartition

from tests.e2e.process import Process, running
from tests.support.redis_view import Client, eventually
from tests.support.stack import Stack
from tests.support.stack.gate import Gate
from tests.support.stack.kafka import PATIENT
from tests.support.stack.port import Ports
from tests.support.stack.registration import Registration, registered
from tests.support.stack.trading import Trading

TOKEN = "tok-1f0c-4b2a-9d7e"
BASE = "/api/redis-health"
WITNESS = 900


@dataclass(frozen=True)
class Followed:
    """A connector of the stack's MySQL, and the consumer that follows it; ``kafka`` are the settings of both."""

    registration: Registration
    consumer: Process
    kafka: Mapping[str, str]

    def pass_all(self, trading: Trading, client: Client) -> None:
        """Return when the consumer has applied all that was committed so far: each table has one partition."""
        mark = secrets.randbelow(2**30)
        for table in ("live_users", "demo_users"):
            trading.insert(table, id=WITNESS, country_id=mark)
        keys = [f"user:{{{kind}:{WITNESS}}}:config" for kind in ("live", "demo")]
        eventually(lambda: all(client.hget(key, "country_id") == str(mark) for key in keys), 60)

    def end(self) -> int:
        """The next offset of the live users' topic."""
        part = TopicPartition(self.registration.topic("live_users"), 0)
        reader = KafkaConsumer(**PATIENT, bootstrap_servers=self.kafka["CDC_KAFKA__BOOTSTRAP_SERVERS"])
        try:
            return int(reader.end_offsets([part])[part])
        finally:
            reader.close()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The consumer does nothing until the end of the block."""
        self.consumer.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.consumer.send(signal.SIGCONT)


@contextmanager
def following(stack: Stack, folder: Path, redis_url: str, **environment: str) -> Iterator[Followed]:
    """A connector and a consumer of their own. ``environment``: more settings of the consumer."""
    prefix = f"t{secrets.token_hex(4)}"
    kafka = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": prefix,
        "CDC_KAFKA__GROUP_ID": f"group-{prefix}",
    }
    with stack.mysql.connect(stack.mysql.logins.app) as connection:
        tables = Trading(connection)
        tables.clear()
        for table in ("live_users", "demo_users"):  # a topic is made with its first record
            tables.insert(table, id=WITNESS)
    own = {"CDC_REDIS__URL": redis_url, "CDC_METRICS__PORT": "0", "CDC_KAFKA__COMMIT_INTERVAL_MS": "50", **environment}
    with (
        registered(stack, stack.mysql, prefix, CDC_PARTITIONS="1") as registration,
        running({**kafka, **own}, folder / "consumer.log") as consumer,
    ):
        yield Followed(registration, consumer, kafka)


def keys_of(client: Client) -> list[str]:
    """All keys but those with which the consumer notes how far it is."""
    return sorted(
        str(key) for key in client.scan_iter(match="*") if not str(key).startswith(("cdc:offsets:", "cdc:member:"))
    )


def clear(client: Client) -> None:
    """Remove all keys but those: without them the consumer takes Redis for emptied, and waits."""
    if keys := keys_of(client):
        client.delete(*keys)


@dataclass(frozen=True)
class Served:
    """The API, and the only ways that it has to its servers."""

    client: httpx.Client
    process: Process
    database: Gate
    redis: Gate
    followed: Followed
    environment: Mapping[str, str]

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.get(f"{BASE}/{path}", params=parameters)

    def post(self, path: str, **parameters: str) -> httpx.Response:
        return self.client.post(f"{BASE}/{path}", params=parameters)

    def consistency(self, user_id: int, **parameters: str) -> dict[str, Any]:
        return data(self.get(f"user/{user_id}/consistency", **parameters))

    def refresh(self, user_id: int, **parameters: str) -> dict[str, Any]:
        return data(self.post(f"user/{user_id}/force-refresh", **parameters))


def data(answer: httpx.Response) -> dict[str, Any]:
    """The data of a call that went well, its envelope checked."""
    assert answer.status_code == 200, answer.text
    envelope = answer.json()
    assert envelope.keys() == {"success", "message", "data"}
    assert envelope["success"] is True
    assert isinstance(envelope["message"], str)
    found: dict[str, Any] = envelope["data"]
    return found


def failed(answer: httpx.Response, code: int) -> str:
    """The message of a call that failed, its envelope checked."""
    assert answer.status_code == code, answer.text
    envelope = answer.json()
    assert envelope.keys() == {"success", "message", "data"}
    assert envelope["success"] is False
    message: str = envelope["message"]
    return message


@contextmanager
def serving(log: Path, environment: Mapping[str, str]) -> Iterator[tuple[httpx.Client, Process]]:
    """The API as a process of its own, once it listens."""
    port = Ports().take("api")
    own = {
        "CDC_API__TOKEN": TOKEN,
        "CDC_API__PORT": str(port),
        "CDC_API__REFRESHES_PER_MINUTE": "100000",
        "CDC_API__CLUSTER_INFO_S": "0",
        "CDC_API__REFRESH_WAIT_S": "20",
        "CDC_AUDIT__SETTLE_S": "0.3",
    }
    process = Process({**own, **environment}, log, command="api")
    try:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=90) as client:
            eventually(lambda: "api.serving" in process.said() or not process.running, 60)
            assert process.running, process.said()
            yield client, process
    finally:
        process.close()


@pytest.fixture(scope="module")
def served(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    database, redis = Gate(stack.mysql.host, stack.mysql.port), Gate(stack.redis.host, stack.redis.port)
    with following(stack, folder, stack.redis.url) as followed:
        environment = {
            **followed.kafka,
            "CDC_DATABASE__URL": stack.mysql.url.replace(stack.mysql.address, database.address),
            "CDC_REDIS__URL": stack.redis.url.replace(stack.redis.address, redis.address),
        }
        with serving(folder / "log", environment) as (client, process):
            yield Served(client, process, database, redis, followed, environment)
    database.close()
    redis.close()


@pytest.fixture
def quiet(served: Served, trading: Trading, redis_client: redis.Redis) -> redis.Redis:
    """An empty Redis, and a consumer that has nothing left to do but with what the test does from here on."""
    served.followed.pass_all(trading, redis_client)
    clear(redis_client)
    return redis_client


@pytest.fixture
def redis_client(stack: Stack) -> Iterator[Client]:
    """A client of a Redis in which there is nothing but how far the consumer is. It answers with text."""
    with stack.redis.connect() as client:
        clear(client)
        yield client
