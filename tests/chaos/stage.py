"""How a live system for faults comes about: its servers, the connector, the consumers, the users of the beginning."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

from consumer.settings.sections import Kafka
from consumer.source.topic_reader import read_to_end
from tests.chaos.ear import Ear
from tests.chaos.fleet import Fleet
from tests.chaos.gates import Gates
from tests.chaos.scene import MEMBERS, Scene
from tests.chaos.script import WEIGHTS, Script
from tests.chaos.watch import Watch
from tests.chaos.workload import Workload
from tests.support.redis_view import eventually
from tests.support.stack import MissingTool, Stack, mysql
from tests.support.stack.login import connector_values
from tests.support.stack.registration import Registration, is_snapshot_complete, registered
from tests.support.stack.replicated import Replicated
from tests.support.stack.replicated import settings as replication_settings
from tests.support.stack.roster import DATABASES
from tests.support.stack.source_connector import SourceConnector
from tests.support.stack.trading import Trading
from tests.support.stack.wire import Record, read

# With AOF, a restarted Redis has what it had acknowledged; with a long flush, a killed Connect sends minutes again. A
# cluster whose nodes are frozen for some seconds must not give up its connections: messages would be lost on the way.
REDIS_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    # A subscriber that reads slowly is not disconnected: it would not hear what is published meanwhile.
    "client-output-buffer-limit": "pubsub 0 0 0",
}
CLUSTER_SETTINGS = {"cluster-node-timeout": "60000"}
FLUSH_INTERVAL_MS = 600_000
PER_SECOND = 100.0
CLIENTS = ("kafka-python", "confluent")
_ENVIRONMENT = {
    "CDC_KAFKA__SESSION_TIMEOUT_MS": "3000",
    "CDC_REDIS__TIMEOUT_MS": "1000",
    "CDC_GUARD__CLOCK_MS": "1000",
    "CDC_METRICS__PORT": "0",
}


def start_stack(
    database: str = "mysql", redis: str = "standalone", flush_interval_ms: int = FLUSH_INTERVAL_MS
) -> Stack:
    """The servers with what the faults need."""
    settings = REDIS_SETTINGS | (CLUSTER_SETTINGS if redis == "cluster" else {})
    return Stack.start(
        (database,),
        (redis,),
        redis_settings=settings,
        flush_interval_ms=flush_interval_ms,
        has_replicas=True,
        has_detour=True,
        kind="native",
    )


def start_or_exit(database: str, redis: str, flush_interval_ms: int = FLUSH_INTERVAL_MS) -> Stack:
    """:func:`start_stack` for a command: a missing tool ends it with 2, and SIGTERM in good order with 143."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return start_stack(database, redis, flush_interval_ms)
    except MissingTool as missing:
        print(missing, file=sys.stderr)
        sys.exit(2)


def add_replica(stack: Stack) -> Replicated:
    """Give the stack's MySQL a replica. Right after its start: what it holds but schema and accounts is not copied."""
    replica = mysql.native(stack.place, replication_settings(202), label="mysql-replica", source=stack.mysql)
    replica.start()
    return Replicated(stack.mysql, replica)


@contextmanager
def staged(
    stack: Stack,
    seed: str,
    folder: Path,
    *,
    per_second: float = PER_SECOND,
    settings: Mapping[str, str] | None = None,
    servers: Replicated | None = None,
    arguments: Sequence[str] = (),
    weights: Mapping[str, int] = WEIGHTS,
    check_every: int = 1,
    size: int = 1,
) -> Iterator[Scene]:
    """A fresh connector, group and Redis; the consumers run, and the users of the beginning are in Redis.

    ``servers`` are the stack's MySQL with its replica; ``arguments`` are those of each consumer; ``weights`` are how
    often the script takes each kind of step; ``check_every`` is as in :class:`Ear`, ``size`` as in :class:`Script`.
    """
    (name,) = (each for each in stack.servers if each in DATABASES)
    database = servers.primary if servers else stack.database(name)
    prefix, redis = f"f{secrets.token_hex(4)}", stack.redis
    with ExitStack() as exits:
        client = exits.enter_context(redis.connect())
        client.flushall()
        trading = Trading(database.connect(database.logins.app), database.quote)
        trading.clear()
        script = Script(Random(seed), weights=weights, size=size)  # noqa: S311  # chance, not secrets
        workload = Workload(trading, script, per_second)
        exits.callback(workload.close)
        for step in script.opening():
            workload.write(step)
        workload.forget()  # a snapshot tells nobody
        values = {"CDC_HEARTBEAT_MS": "500"}
        overrides = {}
        if servers:
            values |= connector_values(database.name, servers.gate, database.logins.debezium)
            overrides = {"connect.keep.alive.interval.ms": "1000"}  # by default Debezium waits a minute
        registration = exits.enter_context(registered(stack, database, prefix, overrides, **values))
        keep_offsets(stack, registration)
        gates = Gates(redis)
        exits.callback(gates.close)
        kafka_gate = stack.kafka.gate()
        exits.callback(kafka_gate.close)
        ear = Ear(redis, check_every)
        exits.callback(ear.rest)
        environment = {
            **_ENVIRONMENT,
            "CDC_KAFKA__BOOTSTRAP_SERVERS": kafka_gate.address,
            "CDC_KAFKA__TOPIC_PREFIX": prefix,
            "CDC_KAFKA__GROUP_ID": f"group-{prefix}",
            "CDC_REDIS__URL": gates.url,
            **(settings or {}),
        }
        fleet = Fleet(environment, folder, arguments)
        exits.callback(fleet.close)
        fleet.settle(MEMBERS)
        try:
            eventually(lambda: len(client.keys("user:*:config")) == len(script.known), 60, "no snapshot in Redis")
        except AssertionError as error:
            error.add_note(fleet.logs())
            raise
        for user in ("live:1", "live:2", "live:3", "demo:1"):
            row = client.hgetall(f"user:{{{user}}}:config")
            kept = {name: row[name] for name in ("wallet_balance", "group")}
            client.hset(f"user:{{{user}}}:portfolio", mapping=kept)
        connector = SourceConnector(stack.connect, registration.connector.name)
        spoiled = set[str]()
        watch = Watch(redis.connect, lambda: workload.changes, lambda: set(script.known), lambda: set(spoiled))
        exits.callback(watch.close)
        yield Scene(
            stack=stack,
            database=database,
            registration=registration,
            script=script,
            workload=workload,
            gates=gates,
            kafka_gate=kafka_gate,
            ear=ear,
            fleet=fleet,
            group_id=f"group-{prefix}",
            trading=trading,
            connector=connector,
            watch=watch,
            servers=servers,
            spoiled=spoiled,
        )


def keep_offsets(stack: Stack, registration: Registration) -> None:
    """Let Connect keep where the connector is, as it does when it stops in good order.

    Killed before it had ever kept it, or had kept only a place in the snapshot, it would begin with a snapshot again,
    and what had been committed before that and not been sent is told nobody. A heartbeat carries the first place after.
    """
    connector = SourceConnector(stack.connect, registration.connector.name)
    read(stack.kafka, [f"__debezium-heartbeat.{registration.prefix}"], bool)
    with stack.connect.api() as api:
        for _ in range(5):
            connector.stop()
            kept = [each["offset"] for each in connector.offsets()]
            connector.resume()
            eventually(lambda: api.status(connector.name).running, 30, "the connector does not go on")
            if kept and not any("snapshot" in field for field in kept[0]):
                return
            time.sleep(1.0)  # two heartbeats, if they come
    raise AssertionError(f"Connect keeps no place after the snapshot: {kept}")


def snapshot_again(scene: Scene) -> None:
    """Let the connector find that its place in the log is gone, as it does when its task starts: it takes a snapshot.

    Returns when that is complete, so that changes are streamed from here on.
    """
    topic, kafka = f"{scene.registration.prefix}.notifications", scene.stack.kafka

    def completed(records: list[Record]) -> int:
        return sum(is_snapshot_complete([each]) for each in records)

    settings = Kafka(bootstrap_servers=kafka.bootstrap_servers)
    before = [Record(topic, 0, each.offset, each.key, each.value) for each in read_to_end(settings, [topic])]
    scene.connector.restart()
    read(kafka, [topic], lambda records: completed(records) > completed(before), timeout_s=60)
    with scene.stack.connect.api() as api:
        api.wait_running(scene.connector.name)
