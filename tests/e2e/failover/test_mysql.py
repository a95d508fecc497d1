"""A MySQL primary is killed and its replica promoted, behind one address. The replica's log has other file names and
places, and the same transactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.failover.binlog import BOTH_NUMBERINGS, BOTH_TAILS, covering, fail_over, kill_primary
from tests.e2e.failover.live_system import USERS, LiveSystem, live_system
from tests.e2e.failover.topic_log import sent_twice
from tests.support.stack import Stack
from tests.support.stack.gate import Gate
from tests.support.stack.mysql import MySql
from tests.support.stack.replicated import Replicated
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def servers(mysql_servers: Replicated) -> Replicated:
    mysql_servers.rejoin()
    return mysql_servers


@pytest.fixture
def live(stack: Stack, servers: Replicated, names: tuple[str, str], tmp_path: Path) -> Iterator[LiveSystem]:
    with live_system(stack, servers.primary, servers.gate, names, tmp_path) as live:
        live.start()
        yield live


@BOTH_TAILS
@BOTH_NUMBERINGS
def test_the_primary_is_killed(servers: Replicated, live: LiveSystem, numbers: str, tail: str) -> None:
    kill_primary(servers, live, numbers, tail)
    live.judge()


def test_failover_and_back(servers: Replicated, live: LiveSystem) -> None:
    """Each time a tail is sent again in which a user is deleted and inserted anew."""
    servers.number_logs(replica_is_lower=True)
    live.insert(4)
    parts = []
    for _ in range(2):
        live.update()
        live.settle()
        early = covering(servers, live)
        live.update(times=2)
        live.delete(4)
        live.insert(4)
        live.update()
        live.settle()
        covering(servers, live)
        before = len(live.log.sent())
        fail_over(servers, live, early)
        live.update()
        live.settle()
        sent = live.log.sent()
        parts.append(len(sent_twice(sent[:before], sent[before:])))
        servers.rejoin()
    assert all(count >= 4 * 3 for count in parts), parts
    assert len({each.source["server_id"] for each in live.log.sent() if each.is_streamed}) == 2
    live.judge()


def test_the_log_begins_again(stack: Stack, names: tuple[str, str], tmp_path: Path) -> None:
    """RESET MASTER: file names, places and GTIDs begin again, under the same server id and UUID.

    What is changed before Debezium's new snapshot is in there, and told nobody. After that other changes of the same
    users have the GTIDs that their earlier changes had.
    """
    server = stack.mysql
    with server.connect(server.logins.app) as connection:
        Trading(connection).clear()
    begin_log(server)
    gate = Gate(server.host, server.port)
    with closing(gate), live_system(stack, server, gate, names, tmp_path) as live:
        live.start()
        live.update(times=3)
        live.settle()
        gate.shut()
        begin_log(server)
        for user_id in USERS:
            live.ledger.update(live.trading, user_id, is_told=False)
        gate.open()
        live.snapshot_again()
        before = len(live.log.sent())
        live.update(1, 2, times=5)  # user 3 has to be right by the snapshot alone
        live.settle()
        sent = live.log.sent()
        assert sent_twice(sent[:before], sent[before:])
        live.judge()


def begin_log(server: MySql) -> None:
    """Debezium streams nothing after a snapshot at which no transaction had been executed yet."""
    server.as_origin("RESET MASTER", "CREATE DATABASE after_reset", "DROP DATABASE after_reset")
