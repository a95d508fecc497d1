"""A MariaDB primary is killed and its replica promoted, behind one address. GTIDs are numbers of one domain that go on
rising on the server that was promoted; source times are whole seconds of the statement's begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.failover.binlog import BOTH_NUMBERINGS, BOTH_TAILS, kill_primary
from tests.e2e.failover.live_system import LiveSystem, live_system
from tests.support.stack import Stack
from tests.support.stack.replicated import Replicated

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def servers(mariadb_servers: Replicated) -> Replicated:
    mariadb_servers.rejoin()
    return mariadb_servers


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
