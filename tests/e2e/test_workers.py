"""``run --workers``: the partitions shared, a worker killed under load, a halt, and an end in good order."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from kafka import KafkaProducer

from tests.e2e.feed import POISON, deposit
from tests.e2e.process import Process, command
from tests.e2e.topic import Topic
from tests.support.redis_view import Listener, eventually
from tests.support.stack import Stack
from tests.support.stack.kafka import PATIENT
from tests.support.stack.port import Ports

pytestmark = pytest.mark.stack
USERS, CHANGES = 40, 50
PARTITIONS = 6


@pytest.fixture
def wide(topic: Topic) -> Topic:
    topic.make(PARTITIONS)
    return topic


@pytest.fixture
def environment(wide: Topic, stack: Stack) -> dict[str, str]:
    return wide.environment() | {"CDC_REDIS__URL": stack.redis.url, "CDC_KAFKA__SESSION_TIMEOUT_MS": "3000"}


@pytest.fixture
def listener(redis_client: redis.Redis) -> Iterator[Listener]:
    listener = Listener(redis_client)
    yield listener
    listener.close()


@contextmanager
def running(environment: dict[str, str], folder: Path, *arguments: str) -> Iterator[Process]:
    process = Process(environment, folder / "log", *arguments)
    try:
        yield process
    except BaseException as error:
        error.add_note(f"it said:\n{process.said()}")
        raise
    finally:
        process.close()


def workers(process: Process) -> list[psutil.Process]:
    return [each for each in psutil.Process(process.pid).children() if is_worker(each)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return any("spawn_main" in part for part in process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def assigned(process: Process) -> set[int]:
    """The workers that were given partitions."""
    lines = process.said().splitlines()
    return {
        number for number in range(9) for line in lines if "group.assigned" in line and f'"worker": {number}' in line
    }


def is_over(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def expected() -> Counter[tuple[int, str]]:
    return Counter({(user, f"{number}.50"): 1 for user in range(1, USERS + 1) for number in range(1, CHANGES + 1)})


def told(listener: Listener, channel: str) -> Counter[tuple[int, str]]:
    """Which balance was told to whom, how often."""
    heard = [message for name, message in listener.heard() if name == channel]
    return Counter((message["user_id"], message["updated_fields"]["wallet_balance"]) for message in heard)


def balances(client: redis.Redis) -> set[object]:
    return {client.hget(f"user:{{live:{user}}}:config", "wallet_balance") for user in range(1, USERS + 1)}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_worker_killed_under_load(
    stack: Stack,
    wide: Topic,
    redis_client: redis.Redis,
    listener: Listener,
    environment: dict[str, str],
    tmp_path: Path,
    count: int,
) -> None:
    """Redis has the last change of each user, and each change was told once. Alone, it is started again by the test."""
    producer = KafkaProducer(**PATIENT, bootstrap_servers=stack.kafka.bootstrap_servers, acks="all", linger_ms=5)

    def write(numbers: range) -> None:
        for number in numbers:
            for user in range(1, USERS + 1):
                record = deposit(user, number * USERS + user, wallet_balance=f"{number}.50")
                producer.send(wide.name, key=record.key, value=record.value, headers=list(record.headers))
        producer.flush()

    half = CHANGES // 2
    with running(environment, tmp_path, "--workers", str(count)) as first:
        eventually(lambda: len(assigned(first)) == count or (count == 1 and "group.assigned" in first.said()), 60)
        write(range(1, half))
        victim = workers(first)[-1] if count > 1 else psutil.Process(first.pid)
        eventually(lambda: redis_client.hget("user:{live:1}:config", "wallet_balance"), 60)
        victim.kill()
        write(range(half, CHANGES + 1))
        if count == 1:
            first.wait()
            with running(environment, tmp_path) as second:
                settled(redis_client, listener, second)
        else:
            eventually(lambda: "workers.killed" in first.said() and len(workers(first)) == count, 60)
            settled(redis_client, listener, first)
    producer.close()


def settled(client: redis.Redis, listener: Listener, process: Process) -> None:
    """All was applied and told; then it ends in good order."""
    eventually(lambda: balances(client) == {f"{CHANGES}.50"}, 90, "not all was applied")
    for channel in ("user_updates", "balance_updates"):
        eventually(lambda channel=channel: told(listener, channel) == expected(), 30, f"not told once on {channel}")  # type: ignore[misc]
    process.send(signal.SIGTERM)
    assert process.wait(60) == 0


def test_each_has_its_port_and_its_name(environment: dict[str, str], tmp_path: Path) -> None:
    port = Ports().take("metrics", second=1)
    named = environment | {"CDC_KAFKA__INSTANCE_ID": "here", "CDC_METRICS__PORT": str(port)}
    with running(named, tmp_path, "--workers", "2") as process:
        eventually(lambda: assigned(process) == {0, 1}, 60)
        for number in (0, 1):
            text = httpx.get(f"http://127.0.0.1:{port + number}/metrics").text
            assert "cdc_build" in text
        first, second = workers(process)
        process.send(signal.SIGKILL)
        assert process.wait() == 128 + signal.SIGKILL
        eventually(lambda: is_over(first) and is_over(second), 60, "workers outlive their parent")


def test_what_halts_one_halts_all(stack: Stack, wide: Topic, environment: dict[str, str], tmp_path: Path) -> None:
    with running(environment | {"CDC_DEAD_LETTERS__IN_A_ROW": "0"}, tmp_path, "--workers", "2") as process:
        eventually(lambda: assigned(process) == {0, 1}, 60)
        with wide.producer() as producer:
            producer.send(wide.name, POISON, partition=0).get(10)
        assert process.wait(60) == 1
    lines = process.said().splitlines()
    assert (
        len([line for line in lines if line.startswith("cdc-consumer: stopped, nothing past this was committed")]) == 1
    )


def test_topics_that_are_apart_are_refused(stack: Stack, wide: Topic, environment: dict[str, str]) -> None:
    other = Topic(stack, wide.prefix, "kafka-python")
    other.name = f"{wide.prefix}.trading.user_transactions"
    other.make(2)
    try:
        ran = command(environment, "run", "--workers", "2")
    finally:
        other.close()
    assert ran.returncode == 2
    assert "CDC_KAFKA__TOPICS: a user's tables would be assigned to different members" in ran.stderr
    assert f"{other.name} has 2 partitions" in ran.stderr
