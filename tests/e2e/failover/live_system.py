"""A database behind one address, Debezium, Kafka, the program and Redis, and everything that a test sees of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from consumer.settings.sections import Kafka
from consumer.source.topic_reader import read_to_end
from demo import dump, expectation
from tests.chaos.ear import Heard, heard_of
from tests.e2e.failover import judgement
from tests.e2e.failover.ledger import GONE, TABLE, Ledger
from tests.e2e.failover.redis_monitor import RedisMonitor
from tests.e2e.failover.topic_log import TopicLog
from tests.e2e.process import Process, running
from tests.support.redis_view import Listener, eventually
from tests.support.stack import Stack
from tests.support.stack.gate import Gate
from tests.support.stack.login import DATABASE, connector_values
from tests.support.stack.registration import Database, is_snapshot_complete, registered
from tests.support.stack.source_connector import SourceConnector
from tests.support.stack.trading import Trading
from tests.support.stack.wire import Record

USERS = (1, 2, 3)
# How soon Debezium tries to reach a database again that it has lost; by default after a minute, and ten seconds.
SOON = {"mysql": "connect.keep.alive.interval.ms", "mariadb": "connect.keep.alive.interval.ms"}
SOON |= {"postgres": "retriable.restart.connector.wait.ms"}
SOON_MS = "1000"


@dataclass
class LiveSystem:
    """``trading`` writes to the database that Debezium reads at ``address``.

    After a failover both have to be told of the other server: :meth:`write_to`, and the gate.
    """

    stack: Stack
    address: Gate
    trading: Trading
    database: Database
    redis: redis.Redis
    listener: Listener
    monitor: RedisMonitor
    connector: SourceConnector
    log: TopicLog
    environment: Mapping[str, str]
    folder: Path
    exits: ExitStack
    ledger: Ledger = field(default_factory=Ledger)
    process: Process | None = None

    def start(self) -> None:
        """Run the program."""
        self.process = self.exits.enter_context(running(self.environment, self.folder / "consumer.log"))

    def stop(self) -> None:
        """Ask the program to end, and wait for it."""
        assert self.process is not None
        self.process.send(signal.SIGTERM)
        assert self.process.wait() == 0

    def write_to(self, database: Database) -> None:
        """Write to another server from now on, and compare Redis with it in the end."""
        connection = database.connect(database.logins.app)
        self.exits.callback(connection.close)
        self.trading, self.database = Trading(connection, database.quote), database

    def insert(self, user_id: int) -> None:
        self.ledger.insert(self.trading, user_id)

    def update(self, *user_ids: int, times: int = 1) -> None:
        """Change each of these users, or else everybody, ``times`` in turn."""
        for _ in range(times):
            for user_id in user_ids or self.ledger.living():
                self.ledger.update(self.trading, user_id)

    def delete(self, user_id: int) -> None:
        self.ledger.delete(self.trading, user_id)

    def settle(self) -> None:
        """Wait until the last change of every user lies in Kafka and the program has finished all that lies there.

        A task of Debezium that failed meanwhile is started again.
        """
        self.connector.go_on_until(self.is_sent, "Debezium did not send all changes")
        eventually(
            lambda: self.log.is_committed() or self._has_ended(), 60, "the program did not commit all that it read"
        )
        assert not self._has_ended(), "the program ended"

    def _has_ended(self) -> bool:
        return self.process is not None and not self.process.running

    def is_sent(self) -> bool:
        """Whether the last record of each user tells the last state."""
        last = {each.user_id: each.state for each in self.log.sent()}
        return all(last.get(user_id, GONE) == self.ledger.last(user_id) for user_id in self.ledger.users)

    def stored_offsets(self, covers: Callable[[Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
        """What Connect stores of the connector, as soon as it ``covers`` what the test needs."""

        def is_covered() -> bool:
            found = self.connector.offsets()
            return bool(found) and covers(found[0]["offset"])

        self.connector.go_on_until(is_covered, "Connect did not store the offsets")
        return self.connector.offsets()

    def snapshot_again(self) -> None:
        """Restart the connector, whose place in the database's log is gone: it takes a snapshot; wait for its end."""
        before = self._snapshots()
        self.connector.restart()
        self.connector.go_on_until(lambda: self._snapshots() > before, "Debezium did not take another snapshot")

    def _snapshots(self) -> int:
        """How many were completed."""
        settings = Kafka(bootstrap_servers=self.stack.kafka.bootstrap_servers)
        topic = f"{self.environment['CDC_KAFKA__TOPIC_PREFIX']}.notifications"
        told = [Record(topic, 0, each.offset, each.key, each.value) for each in read_to_end(settings, [topic])]
        return sum(is_snapshot_complete([each]) for each in told)

    def heard(self) -> Sequence[Heard]:
        return [heard_of(channel, message) for channel, message in self.listener.heard()]

    def problems(self) -> list[str]:
        """Everything that is wrong now; call it when all is settled."""
        heard = self.heard()
        rows = expectation.of_database(
            self.trading.connection, [f"live:{each}" for each in self.ledger.users], self.database.quote
        )
        writes = self.monitor.caught_up().of_users()
        return judgement.problems(self.ledger, rows, dump.take(self.redis), heard, writes)

    def judge(self) -> None:
        """Settle, and fail with everything that is wrong."""
        self.settle()
        problems = self.problems()
        assert not problems, "\n".join(problems)


@contextmanager
def live_system(
    stack: Stack,
    database: Database,
    address: Gate,
    names: tuple[str, str],
    folder: Path,
    overrides: Mapping[str, str] | None = None,
    *,
    captures: Mapping[str, str] | None = None,
) -> Iterator[LiveSystem]:
    """Tables with USERS alone, their snapshot in Kafka, an empty Redis; the program does not run yet.

    ``names`` are the topic prefix and the group; ``address`` is where Debezium finds the database. ``overrides``
    replace lines of the connector, ``captures`` its placeholders.
    """
    prefix, group_id = names
    with ExitStack() as exits:
        client = exits.enter_context(stack.redis.connect())
        client.flushall()
        connection = database.connect(database.logins.app)
        exits.callback(connection.close)
        trading, ledger = Trading(connection, database.quote), Ledger()
        trading.clear()
        for user_id in USERS:
            ledger.insert(trading, user_id, is_told=False)
        listener, monitor = Listener(client), RedisMonitor(stack.redis)
        exits.callback(monitor.close)
        exits.callback(listener.close)
        values = connector_values(database.name, address, database.logins.debezium)
        values |= {"CDC_PARTITIONS": "1", "CDC_HEARTBEAT_MS": "500", **(captures or {})}
        lines = {SOON[database.name]: SOON_MS, **(overrides or {})}
        registration = exits.enter_context(registered(stack, database, prefix, lines, **values))
        log = TopicLog(stack.kafka, f"{prefix}.{DATABASE}.{TABLE}", group_id)
        exits.callback(log.close)
        yield LiveSystem(
            stack,
            address,
            trading,
            database,
            client,
            listener,
            monitor,
            SourceConnector(stack.connect, registration.connector.name),
            log,
            {
                "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
                "CDC_KAFKA__TOPIC_PREFIX": prefix,
                "CDC_KAFKA__GROUP_ID": group_id,
                "CDC_REDIS__URL": stack.redis.url,
                "CDC_METRICS__PORT": "0",
            },
            folder,
            exits,
            ledger,
        )
