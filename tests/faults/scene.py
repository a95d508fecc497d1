"""The live system that faults happen to: SQL, Debezium, Kafka, consumers in one group, Redis, and who listens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumer.reference import reference
from consumer.sections import Kafka
from consumer.topic_reader import read_to_end
from demo import dump, expectation
from tests.faults import judge
from tests.faults.ear import Ear
from tests.faults.fleet import Fleet
from tests.faults.script import Script, Told
from tests.faults.workload import Workload
from tests.redis_view import eventually
from tests.stack import Stack
from tests.stack.gate import Gate
from tests.stack.registration import Database, Registration, is_snapshot_complete, registered
from tests.stack.trading import Trading
from tests.stack.wire import Record, read

# With AOF, a restarted Redis has what it had acknowledged; with a long flush, a killed Connect sends minutes again.
REDIS_SETTINGS = {"appendonly": "yes", "appendfsync": "always"}
FLUSH_INTERVAL_MS = 60_000
MEMBERS = 2
PER_SECOND = 100.0
_TABLES = ("live_users", "demo_users", "user_transactions")
_DRAIN_S = 90.0
_ENVIRONMENT = {
    "CDC_KAFKA__SESSION_TIMEOUT_MS": "3000",
    "CDC_REDIS__TIMEOUT_MS": "1000",
    "CDC_GUARD__CLOCK_MS": "1000",
    "CDC_METRICS__PORT": "0",
}


@dataclass
class Scene:
    """``excused`` are messages that a fault may have cost; ``spoiled`` are users whose next change must heal them."""

    stack: Stack
    database: Database
    registration: Registration
    script: Script
    workload: Workload
    gate: Gate
    ear: Ear
    fleet: Fleet
    group_id: str
    trading: Trading
    messages: int = 0
    excused: set[Told] = field(default_factory=set)
    spoiled: set[str] = field(default_factory=set)

    @property
    def topics(self) -> list[str]:
        return [self.registration.topic(table) for table in _TABLES]

    def redis(self) -> redis.Redis:
        """A client that does not go through the gate."""
        return self.stack.redis.connect()

    def drained(self) -> bool:
        """Wait until all that was written is heard, and all that lies in Kafka is committed; False if it is not."""
        deadline = time.monotonic() + _DRAIN_S
        while not self.is_heard() or not self._is_committed():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        self.ear.caught_up()
        return True

    def verdict(self) -> list[str]:
        """Everything that is wrong; then the count of messages begins anew."""
        is_drained = self.drained()
        self.fleet.check()
        heard = self.ear.heard()
        problems = [*self.fleet.problems, *judge.of_messages(self.workload.expected, heard, self.excused)]
        expected = expectation.of_database(self.trading.connection, self.script.known, self.database.quote)
        with self.redis() as client:
            problems += judge.of_state(expected, dump.take(client), reference())
        if not is_drained:
            problems.append(f"not everything was heard and committed within {_DRAIN_S:g} s; {self._connector()}")
        self.messages += len(heard)
        self.ear.forget()
        self.workload.forget()
        self.excused.clear()
        self.spoiled.clear()
        self.fleet.problems.clear()
        return problems

    def is_heard(self) -> bool:
        """Whether every message that must be heard was."""
        spoken = judge.spoken(self.workload.expected, self.ear.heard())
        heard = {(each.told.user, each.told.channel, each.told.token) for each in spoken}
        return all(
            (user, channel, token) in heard or Told(user, channel, token) in self.excused
            for (user, channel), tokens in self.workload.expected.items()
            for token in tokens
        )

    def _connector(self) -> str:
        with self.stack.connect.api() as api:
            status = api.status(self.registration.connector.name)
        return f"Connect says {status}, and last:\n{self.stack.connect.runtime.tail()}"

    def _is_committed(self) -> bool:
        admin, consumer = self.stack.kafka.admin(), _consumer(self.stack)
        try:
            committed = admin.list_consumer_group_offsets(self.group_id)
            parts = [
                TopicPartition(topic, number)
                for topic in self.topics
                for number in consumer.partitions_for_topic(topic) or ()
            ]
            ends = consumer.end_offsets(parts)
            return all(not end or (part in committed and committed[part].offset >= end) for part, end in ends.items())
        except KafkaError:
            return False
        finally:
            admin.close()
            consumer.close()


def start_stack(database: str = "mysql") -> Stack:
    """The servers with what the faults need."""
    return Stack.start((database,), redis_settings=REDIS_SETTINGS, flush_interval_ms=FLUSH_INTERVAL_MS, kind="native")


@contextmanager
def staged(
    stack: Stack, seed: str, folder: Path, *, per_second: float = PER_SECOND, settings: Mapping[str, str] | None = None
) -> Iterator[Scene]:
    """A fresh connector, group and Redis; the consumers run, and the users of the beginning are in Redis."""
    (name,) = (each for each in stack.servers if each in ("mysql", "mariadb", "postgres"))
    database = stack.database(name)
    prefix = f"f{secrets.token_hex(4)}"
    with ExitStack() as exits:
        client = exits.enter_context(stack.redis.connect())
        client.flushall()
        connection = database.connect(database.logins.app)
        exits.callback(connection.close)
        trading = Trading(connection, database.quote)
        trading.clear()
        script = Script(Random(seed))  # noqa: S311  # chance, not secrets
        workload = Workload(trading, script, per_second)
        for step in script.opening():
            workload.write(step)
        workload.forget()  # a snapshot tells nobody
        registration = exits.enter_context(registered(stack, database, prefix, CDC_HEARTBEAT_MS="500"))
        keep_offsets(stack, registration)
        gate = Gate(stack.redis.host, stack.redis.port)
        exits.callback(gate.close)
        ear = Ear(stack.redis)
        exits.callback(ear.rest)
        environment = {
            **_ENVIRONMENT,
            "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
            "CDC_KAFKA__TOPIC_PREFIX": prefix,
            "CDC_KAFKA__GROUP_ID": f"group-{prefix}",
            "CDC_REDIS__URL": f"redis://{gate.address}/0",
            **(settings or {}),
        }
        fleet = Fleet(environment, folder)
        exits.callback(fleet.close)
        fleet.settle(MEMBERS)
        eventually(lambda: len(client.keys("user:*:config")) == len(script.known), 30, "the snapshot is not in Redis")
        for user in ("live:1", "live:2", "live:3", "demo:1"):
            row = client.hgetall(f"user:{{{user}}}:config")
            kept = {name: row[name] for name in ("wallet_balance", "group")}
            client.hset(f"user:{{{user}}}:portfolio", mapping=kept)
        yield Scene(stack, database, registration, script, workload, gate, ear, fleet, f"group-{prefix}", trading)


def keep_offsets(stack: Stack, registration: Registration) -> None:
    """Let Connect keep where the connector is, as it does when it stops in good order.

    Killed before it had ever kept it, or had kept only a place in the snapshot, it would begin with a snapshot again,
    and what had been committed before that and not been sent is told nobody. A heartbeat carries the first place after.
    """
    name, heartbeats = registration.connector.name, f"__debezium-heartbeat.{registration.prefix}"
    read(stack.kafka, [heartbeats], bool)
    with stack.connect.api() as api:
        for _ in range(5):
            api._call("PUT", f"/connectors/{name}/stop")
            eventually(lambda: api.status(name).tasks == (), 30, "the connector does not stop")
            kept = [each["offset"] for each in api._call("GET", f"/connectors/{name}/offsets")["offsets"]]
            api._call("PUT", f"/connectors/{name}/resume")
            eventually(lambda: api.status(name).running, 30, "the connector does not go on")
            if kept and not any("snapshot" in field for field in kept[0]):
                return
            time.sleep(1.0)  # two heartbeats, if they come
    raise AssertionError(f"Connect keeps no place after the snapshot: {kept}")


def snapshot_again(scene: Scene) -> None:
    """Let the connector find that its place in the log is gone, as it does when its task starts: it takes a snapshot.

    Returns when that is complete, so that changes are streamed from here on.
    """
    name, topic = scene.registration.connector.name, f"{scene.registration.prefix}.notifications"
    kafka = scene.stack.kafka

    def completed(records: list[Record]) -> int:
        return sum(is_snapshot_complete([each]) for each in records)

    settings = Kafka(bootstrap_servers=kafka.bootstrap_servers)
    before = [Record(topic, 0, each.offset, each.key, each.value) for each in read_to_end(settings, [topic])]
    with scene.stack.connect.api() as api:
        api._call("POST", f"/connectors/{name}/restart?includeTasks=true")
        read(kafka, [topic], lambda records: completed(records) > completed(before), timeout_s=60)
        api.wait_running(name)


def _consumer(stack: Stack) -> KafkaConsumer:
    return KafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers, enable_auto_commit=False)
