"""A backup is restored beside production, on the same server and captured by the same connector: its tables have the
same names, its rows are the same users in older states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.script import GENERAL, created
from tests.e2e.failover.ledger import TABLE, columns
from tests.e2e.failover.live_system import USERS, LiveSystem, live_system
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.gate import Gate
from tests.support.stack.login import SCHEMA, statements
from tests.support.stack.trading import REQUIRED, Trading
from tests.support.stack.wire import Record, read

pytestmark = [pytest.mark.stack, pytest.mark.slow]

RESTORED = "trading_restore"
DELETED = 50


@pytest.fixture
def live(stack: Stack, names: tuple[str, str], tmp_path: Path) -> Iterator[LiveSystem]:
    server = stack.mysql
    gate, captures = Gate(server.host, server.port), {"CDC_MYSQL_DATABASE": f"(trading|{RESTORED})"}
    with closing(gate), live_system(stack, server, gate, names, tmp_path, captures=captures) as live:
        yield live


@pytest.fixture
def restored(stack: Stack) -> Iterator[Trading]:
    """The tables of a second database, for its owner to fill."""
    with stack.mysql.connect() as connection:
        owner = Trading(connection)
        owner.execute(f"CREATE DATABASE {RESTORED}")
        owner.execute(f"USE {RESTORED}")
        try:
            for statement in statements(SCHEMA / "mysql.sql", {}):
                owner.execute(statement)
            yield owner
        finally:
            owner.execute(f"DROP DATABASE {RESTORED}")


def restore(live: LiveSystem, restored: Trading) -> None:
    """Write a backup's rows, which are older than production's, and some changes of them; wait until Kafka has all."""
    for user_id in (*USERS, DELETED):
        restored.insert(TABLE, id=user_id, **columns(1), **REQUIRED[TABLE])
    restored.update(TABLE, USERS[0], **columns(2))
    restored.delete(TABLE, USERS[1])
    topic = f"{live.environment['CDC_KAFKA__TOPIC_PREFIX']}.{RESTORED}.{TABLE}"

    def are_all_there(records: list[Record]) -> bool:
        return len(records) == len(USERS) + 1 + 3  # the delete has a tombstone

    read(live.stack.kafka, [topic], are_all_there, timeout_s=60)


def test_a_backup_is_restored_while_the_program_runs(live: LiveSystem, restored: Trading) -> None:
    live.start()
    live.insert(DELETED)
    live.update(times=3)
    live.delete(DELETED)
    live.settle()
    restore(live, restored)
    # Production's first demo user makes a topic too: when the program follows that one, it has seen the restored one.
    live.trading.insert("demo_users", id=1)
    live.ledger.told["demo:1", GENERAL].append(created("0.00"))
    eventually(lambda: live.redis.exists("user:{demo:1}:config"), 60, "the program does not see new topics")
    restored.update(TABLE, USERS[2], **columns(2))
    live.update(USERS[0])
    live.judge()


def test_the_program_starts_beside_a_restored_backup(live: LiveSystem, restored: Trading) -> None:
    live.start()
    live.insert(DELETED)
    live.update(times=3)
    live.delete(DELETED)
    live.settle()
    live.stop()
    restore(live, restored)
    live.start()
    live.update(USERS[0])
    live.judge()
