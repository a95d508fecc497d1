"""The real servers of a run, the topic that lies ready in them, and the processes that read it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import redis
from kafka import KafkaProducer
from kafka.admin import NewTopic

from benchmarks.envelopes import TABLE, Change
from benchmarks.meter import BROKER, CONSUMER, REDIS, Meter, NotDone, Rate, calls, emptied
from consumer.settings.sections import Kafka
from tests.support.stack import Stack
from tests.support.stack.port import Ports

PARTITIONS = 12
"""Divides evenly among one, two, three and four members of a group."""
_TAIL = 2000


@dataclass(frozen=True)
class Program:
    """A consumer to be measured: its name in the tables, its command, its environment beside where the servers are."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    lacking: str = ""
    """Why it can't be run here, if it can't."""


KAFKA_PYTHON, CONFLUENT = "kafka-python", "confluent"


def ours(client: str = KAFKA_PYTHON, **environment: str) -> Program:
    """``cdc-consumer run`` as an operator starts it, with its defaults."""
    command = [str(Path(sys.executable).with_name("cdc-consumer")), "run"]
    chosen = {"CDC_KAFKA__CLIENT": client} if "client" in Kafka.model_fields else {}
    lacking = without(client)
    if client != KAFKA_PYTHON and not chosen:
        lacking = "this version has no setting CDC_KAFKA__CLIENT"
    return Program(f"cdc-consumer, {client}", command, {**chosen, **environment}, lacking)


def straightforward() -> Program:
    """The loop to compare with."""
    return Program("json + redis-py", [sys.executable, "-m", "benchmarks.straightforward"], {})


def ceiling(client: str) -> Program:
    """The least that a consumer can take, with this client."""
    return Program(f"ceiling loop, {client}", [sys.executable, "-m", "benchmarks.ceiling", client], {}, without(client))


def without(client: str) -> str:
    """Why a Kafka client can't be used here, or "" if it can."""
    if client == CONFLUENT and find_spec("confluent_kafka") is None:
        return "confluent-kafka is not installed: pip install '.[confluent]'"
    return ""


@dataclass(frozen=True)
class Running:
    """Processes of one program."""

    processes: Sequence[subprocess.Popen[bytes]]

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self.processes]

    def is_alive(self) -> bool:
        """Whether none has ended."""
        return all(each.poll() is None for each in self.processes)


class System:
    """A broker and a Redis, started natively: what they take is measured too."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.redis: redis.Redis = stack.redis.connect()

    @property
    def servers(self) -> dict[str, list[int]]:
        """The processes of the servers by role."""
        return {REDIS: [self._pid("redis")], BROKER: [self._pid("kafka")]}

    def cpu_s(self, role: str) -> float:
        """Processor seconds that a server has used."""
        times = [psutil.Process(pid).cpu_times() for pid in self.servers[role]]
        return sum(each.user + each.system for each in times)

    def _pid(self, name: str) -> int:
        pid: int = getattr(self.stack.servers[name].runtime, "pid", None) or 0
        return pid

    def backlog(
        self, sent: Iterator[Change], partitions: int = PARTITIONS, config: Mapping[str, str] | None = None
    ) -> str:
        """Write the changes to a topic of their own; answers its prefix."""
        prefix = f"b{secrets.token_hex(4)}"
        topic = f"{prefix}.trading.{TABLE}"
        admin = self.stack.kafka.admin()
        admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=dict(config or {}))])
        admin.close()
        producer = KafkaProducer(
            bootstrap_servers=self.stack.kafka.bootstrap_servers,
            acks=1,
            linger_ms=20,
            batch_size=500_000,
            buffer_memory=2**27,
        )
        for change in sent:
            producer.send(topic, key=change.key, value=change.value, partition=change.partition)
        producer.flush()
        producer.close()
        return prefix

    def drained(self, program: Program, prefix: str, begin: int, end: int, workers: int = 1) -> Rate:
        """How fast ``workers`` processes of one group apply a backlog to an empty Redis.

        Measured from the moment at which ``begin`` changes are done to that at which ``end`` are.

        Raises:
            NotDone: the processes ended, or came to no end.
        """
        emptied(self.redis)
        with self.running(program, prefix, workers) as running:
            return self.meter(running).rate(begin, end)

    @contextmanager
    def running(self, program: Program, prefix: str, count: int = 1, **environment: str) -> Iterator[Running]:
        """``count`` processes of ``program`` in one new group, until the end of the block.

        Raises:
            NotDone: from within the block; with what the processes said last.

        """
        servers = {
            "CDC_KAFKA__BOOTSTRAP_SERVERS": self.stack.kafka.bootstrap_servers,
            "CDC_KAFKA__TOPIC_PREFIX": prefix,
            "CDC_KAFKA__GROUP_ID": f"bench-{secrets.token_hex(4)}",
            "CDC_REDIS__URL": self.stack.redis.url,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
        ports = Ports()
        with tempfile.TemporaryFile() as log, ExitStack() as exits:
            started = []
            for _ in range(count):
                port = {"CDC_METRICS__PORT": str(ports.take("metrics"))}
                process = subprocess.Popen(
                    list(program.command),
                    env=clean | servers | port | dict(program.environment) | environment,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
                exits.callback(end, process)
                started.append(process)
            try:
                yield Running(started)
            except NotDone as error:
                log.seek(0)
                raise NotDone(f"{program.name}: {error}\n{log.read()[-_TAIL:].decode(errors='replace')}") from None

    def meter(self, running: Running, command: str = "set") -> Meter:
        """Watches ``running`` and the servers, while Redis carries out ``command`` once a change."""
        pids = {CONSUMER: running.pids, **self.servers}
        return Meter(pids, lambda: calls(self.redis, command), running.is_alive)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and insist."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def started(databases: Sequence[str] = ()) -> Iterator[System]:
    """The servers, until the end of the block."""
    with Stack.start(databases, ("standalone",), kind="native") as stack:
        system = System(stack)
        try:
            yield system
        finally:
            system.redis.close()
