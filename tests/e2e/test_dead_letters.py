"""Records that can't be applied, on a real broker: where they end up, and when the program stops instead."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from consumer.record import SourceRecord
from tests.e2e.conftest import Process
from tests.redis_view import Listener, eventually
from tests.scenario import Change, load_all
from tests.stack import Stack

pytestmark = pytest.mark.stack
SCENARIOS = {each.title: each for each in load_all()}
POISON = b"\x07hunter2 is no envelope"
DEPOSIT = next(each for title, each in SCENARIOS.items() if title.startswith("A deposit")).changes[0]
MANY = 10_000


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

    @contextmanager
    def running(self, **environment: str) -> Iterator[Process]:
        process = Process({**self.environment, **environment}, self.folder / "consumer.log")
        try:
            yield process
        except BaseException as error:
            error.add_note(f"the consumer said:\n{process.said()}")
            raise
        finally:
            process.close()

    def halted(self, **environment: str) -> str:
        """What a program said that ended by itself with exit code 1."""
        with self.running(**environment) as process:
            assert process.wait(60) == 1
            assert "Traceback" not in process.said()
            return process.said()

    def letters(self, topic: str = "") -> list[Any]:
        """Everything in the topic of dead letters."""
        part = TopicPartition(topic or self.dead_letters, 0)
        consumer = KafkaConsumer(bootstrap_servers=self.stack.kafka.bootstrap_servers, enable_auto_commit=False)
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
        admin = self.stack.kafka.admin()
        try:
            offsets = admin.list_consumer_group_offsets(self.environment["CDC_KAFKA__GROUP_ID"])
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


@pytest.fixture
def feed(stack: Stack, redis_client: redis.Redis, topic_prefix: str, group_id: str, tmp_path: Path) -> Iterator[Feed]:
    producer = KafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers, acks="all", linger_ms=5)
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


def deposit(user_id: int, offset: int, **columns: object) -> SourceRecord:
    """A change of one user's balance, and of ``columns``, as Debezium writes it."""
    record = _of(user_id, columns).record(offset)
    return replace(record, key=f'{{"id":{user_id}}}'.encode())


def _of(user_id: int, columns: Mapping[str, object]) -> Change:
    assert DEPOSIT.before is not None
    assert DEPOSIT.after is not None
    before, after = DEPOSIT.before | {"id": user_id}, DEPOSIT.after | {"id": user_id, **columns}
    return replace(DEPOSIT, before=before, after=after)


def poison(user_id: int, offset: int, value: bytes = POISON) -> SourceRecord:
    return replace(deposit(user_id, offset), value=value, headers=(("trace", b"abc"),))


def test_one_among_ten_thousand_is_a_dead_letter_and_its_user_is_healed_by_their_next_change(feed: Feed) -> None:
    at = MANY // 2
    records = [deposit(number, number) for number in range(MANY)]
    records[at] = poison(at, at)
    feed.redis.hset(f"user:{{live:{at}}}:config", mapping={"group": "old", "extra": "kept"})
    feed.send(*records)
    with feed.running() as process:
        eventually(lambda: feed.committed() == MANY, 60)
        (letter,) = feed.letters()
        assert (letter.key, letter.value) == (records[at].key, POISON)
        headers = dict(letter.headers)
        assert headers["trace"] == b"abc"
        assert headers["__connect.errors.topic"].decode() == feed.topic
        assert headers["__connect.errors.offset"] == str(at).encode()
        assert headers["cdc.user"] == f"live:{at}".encode()
        assert headers["cdc.reason"] == b"undecodable"
        assert not any(b"hunter2" in value for value in headers.values())
        assert "hunter2" not in process.said()
        applied = sum(1 for _ in feed.redis.scan_iter(match="user_balance:live:*", count=1000))
        assert applied == MANY - 1
        assert feed.field(at, "group") == "old"
        listener = Listener(feed.redis)
        feed.send(deposit(at, MANY, group="VIP"))
        eventually(lambda: feed.field(at, "group") == "VIP")
        assert feed.field(at, "wallet_balance") == "10000.50"
        assert feed.field(at, "extra") == "kept"
        assert "group_updates" in [channel for channel, _ in listener.heard(at)]
        listener.close()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert feed.committed() == MANY + 1


def test_where_every_record_is_poisoned_it_halts_and_the_offset_stays(feed: Feed) -> None:
    feed.send(*(poison(number, number) for number in range(MANY)))
    for _ in range(2):
        said = feed.halted()
        assert f"51 records of {feed.topic} in a row can't be applied" in said
        assert f"{feed.topic}[0]@0" in said
    assert feed.committed() is None
    assert feed.letters() == []


def test_the_first_halts_where_none_are_tolerated(feed: Feed) -> None:
    feed.send(deposit(1, 0), poison(2, 1))
    assert f"{feed.topic}[0]@1" in feed.halted(CDC_DEAD_LETTERS__IN_A_ROW="0")
    assert feed.committed() == 1


def test_a_key_of_the_wrong_type_is_a_dead_letter_of_that_user_alone(feed: Feed) -> None:
    feed.redis.set("user:{live:2}:config", "no hash")
    feed.send(deposit(1, 0), deposit(2, 1, group="VIP"), deposit(2, 2), deposit(3, 3))
    with feed.running():
        eventually(lambda: feed.committed() == 4)
        assert [dict(letter.headers)["cdc.reason"] for letter in feed.letters()] == [b"redis_wrongtype"] * 2
        assert feed.field(3, "wallet_balance") == "10000.50"
        feed.redis.delete("user:{live:2}:config")
        feed.send(deposit(2, 4, group="VIP"))
        eventually(lambda: feed.redis.hget("user:{live:2}:config", "group") == "VIP")


def test_a_record_too_large_for_the_topic_of_dead_letters_ends_it_and_is_not_passed(feed: Feed) -> None:
    feed.make(feed.dead_letters, max_message_bytes="2000")
    feed.send(deposit(1, 0), poison(2, 1, b"x" * 5000), deposit(3, 2))
    said = feed.halted()
    assert f"the dead letter of {feed.topic}[0]@1 is refused by {feed.dead_letters}" in said
    assert f"raise max.message.bytes of {feed.dead_letters}" in said
    assert feed.committed() == 1
    admin = feed.stack.kafka.admin()
    admin.delete_topics([feed.dead_letters])
    admin.close()
    with feed.running():
        eventually(lambda: feed.committed() == 3)
        (letter,) = feed.letters()
        assert letter.value == b"x" * 5000


def test_a_topic_of_dead_letters_that_refuses_a_letter_ends_it_and_nothing_is_passed(feed: Feed) -> None:
    """A compacted topic takes no record without a key."""
    feed.make(feed.dead_letters, cleanup_policy="compact")
    feed.send(deposit(1, 0), replace(poison(2, 1), key=None))
    said = feed.halted()
    assert f"refused by {feed.dead_letters}" in said
    assert "InvalidRecord" in said
    assert feed.committed() == 1


def test_a_broker_away_is_waited_for_before_a_letter_counts(feed: Feed) -> None:
    with feed.running() as process:
        feed.send(deposit(1, 0))
        eventually(lambda: feed.field(1, "group"))
        feed.send(poison(2, 1), deposit(3, 2))
        feed.stack.kafka.freeze()
        try:
            eventually(lambda: "kafka.waiting" in process.said() or "poll.retry" in process.said(), 40)
        except AssertionError:
            pass  # the letter went out before the broker froze: then there was nothing to wait for
        finally:
            feed.stack.kafka.thaw()
        eventually(lambda: feed.committed() == 3, 60)
        assert {letter.value for letter in feed.letters()} == {POISON}


def test_a_topic_of_dead_letters_that_can_not_be_made_is_a_wrong_setting(feed: Feed) -> None:
    with feed.running(CDC_DEAD_LETTERS__TOPIC="..") as process:
        assert process.wait() == 2
    assert "CDC_DEAD_LETTERS__TOPIC" in process.said()
    assert "Traceback" not in process.said()
