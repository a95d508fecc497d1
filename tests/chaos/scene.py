"""The live system that faults happen to: SQL, Debezium, Kafka, consumers in one group, Redis, and who listens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumer.mapping.reference import reference
from demo import dump, expectation
from tests.chaos import judge
from tests.chaos.ear import Ear
from tests.chaos.fleet import Fleet
from tests.chaos.gates import Gates
from tests.chaos.script import Script, Told
from tests.chaos.watch import Watch
from tests.chaos.workload import Workload
from tests.support.stack import Stack
from tests.support.stack.gate import Gate
from tests.support.stack.registration import Database, Registration
from tests.support.stack.replicated import Replicated
from tests.support.stack.source_connector import SourceConnector
from tests.support.stack.trading import Trading

MEMBERS = 2
_TABLES = ("live_users", "demo_users", "user_transactions")
_SILENCE_S = 90.0


@dataclass
class Scene:
    """``excused`` are messages that a fault may have cost; ``spoiled`` are users whose next change must heal them.

    ``repeatable`` are events of which a failing Redis may have lost that they were told; ``cut`` is when it failed, in
    UTC seconds. Over all rounds,
    ``lost_to_faults`` counts the excused messages that were lost, ``repeated`` those of events that were told again.
    ``servers`` are the database and its replica, where it has one; ``database`` is the one that is written to.
    ``gates`` and ``kafka_gate`` are the consumers' only ways to Redis and to Kafka.
    """

    stack: Stack
    database: Database
    registration: Registration
    script: Script
    workload: Workload
    gates: Gates
    kafka_gate: Gate
    ear: Ear
    fleet: Fleet
    group_id: str
    trading: Trading
    connector: SourceConnector
    watch: Watch
    servers: Replicated | None = None
    messages: int = 0
    lost_to_faults: int = 0
    repeated: int = 0
    excused: set[Told] = field(default_factory=set)
    spoiled: set[str] = field(default_factory=set)
    repeatable: set[str] = field(default_factory=set)
    cut: list[float] = field(default_factory=list)

    @property
    def topics(self) -> list[str]:
        return [self.registration.topic(table) for table in _TABLES]

    def redis(self) -> redis.Redis:
        """A client that does not go through the gates."""
        return self.stack.redis.connect()

    def write_to(self, database: Database) -> None:
        """Let the workload write to another server, and compare Redis with that one. The workload has to be paused."""
        self.trading.connection.close()
        self.database = database
        self.trading = Trading(database.connect(database.logins.app), database.quote)
        self.workload.write_to(self.trading)

    def drained(self) -> bool:
        """Wait until all that was written is heard, and all that lies in Kafka is committed; False if it is not.

        A long backlog may take a while, so only silence ends the wait.
        """
        before, deadline = (0, 0), time.monotonic() + _SILENCE_S
        while True:
            committed, end = self._offsets()
            if committed >= end > 0 and self.is_heard():
                break
            # What Debezium sends again is committed, and is not heard.
            if (now := (self.ear.count(), committed + end)) != before:
                before, deadline = now, time.monotonic() + _SILENCE_S
            if time.monotonic() > deadline:
                return False
            if self.servers is not None:
                self.connector.restart_if_failed()
            time.sleep(0.2)
        self.ear.caught_up()
        return True

    def verdict(self) -> list[str]:
        """Everything that is wrong; then the count of messages begins anew."""
        is_drained = self.drained()
        self.fleet.check()
        everything = self.ear.heard()
        heard = judge.without_repeats(everything, self.repeatable, self.fleet.assigned(), self.cut)
        problems = [*self.fleet.problems, *self.watch.problems]
        problems += judge.of_messages(self.workload.expected, heard, self.excused)
        expected = expectation.of_database(self.trading.connection, self.script.known, self.database.quote)
        with self.redis() as client:
            problems += judge.of_state(expected, dump.take(client), reference())
        if not is_drained:
            text = f"not everything was heard and committed, and for {_SILENCE_S:g} s nothing more came"
            problems.append(f"{text}; {self._connector()}")
        self.messages += len(everything)
        self.repeated += len(everything) - len(heard)
        self.lost_to_faults += judge.excused_losses(self.workload.expected, heard, self.excused)
        self.ear.forget()
        self.workload.forget()
        self.excused.clear()
        self.spoiled.clear()
        self.repeatable.clear()
        self.cut.clear()
        self.fleet.problems.clear()
        self.watch.problems.clear()
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

    def _offsets(self) -> tuple[int, int]:
        """The committed offsets and the ends of all partitions, added up; twice 0 while the broker can't say."""
        admin, consumer = self.stack.kafka.admin(), _consumer(self.stack)
        try:
            committed = admin.list_consumer_group_offsets(self.group_id)
            parts = [
                TopicPartition(topic, number)
                for topic in self.topics
                for number in consumer.partitions_for_topic(topic) or ()
            ]
            ends = consumer.end_offsets(parts)
            return sum(committed[part].offset for part in parts if part in committed), sum(ends.values())
        except KafkaError:
            return 0, 0
        finally:
            admin.close()
            consumer.close()


def _consumer(stack: Stack) -> KafkaConsumer:
    return KafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers, enable_auto_commit=False)
