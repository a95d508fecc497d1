"""Two MySQL servers that replicate each other, both written to. Debezium reads the log of one, which has the changes of
both under the server id and UUID of whoever wrote them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consumer.settings.sections import Guard
from tests.e2e.failover.binlog import covering
from tests.e2e.failover.live_system import USERS, LiveSystem, live_system
from tests.e2e.failover.topic_log import sent_twice
from tests.support.stack import Stack
from tests.support.stack.replicated import Replicated
from tests.support.stack.trading import Trading

TOPIC_AGE_S = Guard().clock_ms / 1000 + 1

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def servers(mysql_servers: Replicated) -> Replicated:
    mysql_servers.primary.follow(mysql_servers.replica)
    return mysql_servers


@pytest.fixture
def live(stack: Stack, servers: Replicated, names: tuple[str, str], tmp_path: Path) -> Iterator[LiveSystem]:
    with live_system(stack, servers.primary, servers.gate, names, tmp_path) as live:
        live.start()
        # Of changes that are as old as their topic nobody knows whether they lay in one before (decision 23, windows).
        time.sleep(TOPIC_AGE_S)
        yield live


@pytest.fixture
def second(servers: Replicated) -> Iterator[Trading]:
    """Writes to the server that Debezium does not read."""
    server = servers.replica
    with server.connect(server.logins.app) as connection:
        yield Trading(connection)


def write_in_turn(servers: Replicated, live: LiveSystem, second: Trading, times: int) -> None:
    """Each user is changed by one server, and by the other as soon as the change has arrived there."""
    for _ in range(times):
        live.update()
        servers.replica.catch_up(servers.primary)
        for user_id in live.ledger.living():
            live.ledger.update(second, user_id)
        servers.primary.catch_up(servers.replica)


def write_at_once(servers: Replicated, live: LiveSystem, second: Trading, times: int) -> None:
    """Both servers write at the same time, but not the same user."""
    one, *others = USERS
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(live.update, one, times=times)
        for _ in range(times):
            for user_id in others:
                live.ledger.update(second, user_id)
        written.result()
    for server, source in ((servers.primary, servers.replica), (servers.replica, servers.primary)):
        server.catch_up(source)


def test_a_tail_of_two_writers_is_sent_again(servers: Replicated, live: LiveSystem, second: Trading) -> None:
    write_in_turn(servers, live, second, 1)
    live.settle()
    early = covering(servers, live)
    servers.replica.catch_up(servers.primary)
    write_in_turn(servers, live, second, 3)
    write_at_once(servers, live, second, 5)
    live.settle()
    before = len(live.log.sent())
    live.connector.stop()
    live.connector.set_offsets(early)
    live.connector.resume()
    write_in_turn(servers, live, second, 1)
    live.settle()
    sent = live.log.sent()
    again = sent_twice(sent[:before], sent[before:])
    assert len(again) == (2 * 3 + 5) * len(USERS)
    assert len({gtid.partition(":")[0] for _, gtid in again}) == 2, "both wrote what was sent again"
    live.judge()
