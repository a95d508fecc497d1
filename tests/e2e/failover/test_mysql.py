"""A MySQL primary is killed and its replica promoted, behind one address. The replica's log has other file names and
places, and the same transactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.failover.live_system import USERS, LiveSystem, live_system
from tests.stack import Stack
from tests.stack.replicated import Replicated
from tests.stack.source_connector import Offsets

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


def covering(servers: Replicated, live: LiveSystem) -> Offsets:
    """Connect's offsets, once Debezium goes on from there behind everything that was committed before this call."""
    ((executed,),) = servers.primary.as_origin("SELECT @@global.gtid_executed")

    def covers(offset: Mapping[str, Any]) -> bool:
        servers.write_elsewhere()
        ((is_covered,),) = servers.primary.as_origin(f"SELECT GTID_SUBSET('{executed}', '{offset.get('gtids', '')}')")
        return bool(is_covered)

    return live.stored_offsets(covers)


@pytest.mark.parametrize("tail", ["tail sent once", "tail sent again"])
@pytest.mark.parametrize("numbers", ["lower numbers", "higher numbers"])
def test_the_primary_is_killed(servers: Replicated, live: LiveSystem, numbers: str, tail: str) -> None:
    """The last change before it is read from the replica's log, within seconds of the one before."""
    servers.number_logs(replica_is_lower=numbers == "lower numbers")
    live.update()
    live.settle()
    early = covering(servers, live)
    live.update(times=3)
    live.settle()
    covering(servers, live)
    at_failover = len(live.log.sent())
    servers.gate.shut()
    live.update()
    servers.fail_over()
    live.write_to(servers.primary)
    if tail == "tail sent again":
        live.connector.stop()
        live.connector.set_offsets(early)
        servers.gate.open()
        live.connector.resume()
    else:
        servers.gate.open()
    live.settle()
    live.update(times=2)
    live.settle()
    assert_produced(live, at_failover, numbers, tail)
    live.judge()


def assert_produced(live: LiveSystem, at_failover: int, numbers: str, tail: str) -> None:
    """The test's own history: where in which log the records were read."""
    before, after = live.log.sent()[:at_failover], live.log.sent()[at_failover:]
    for user_id in USERS:
        old = [each for each in before if each.user_id == user_id and each.is_streamed]
        new = [each for each in after if each.user_id == user_id and each.is_streamed]
        if numbers == "lower numbers":
            assert new[0].log_number < old[-1].log_number
        else:
            assert new[0].log_number > old[-1].log_number
        assert len(new) == (6 if tail == "tail sent again" else 3)
        repeated = {each.source["gtid"] for each in old} & {each.source["gtid"] for each in new}
        assert len(repeated) == (3 if tail == "tail sent again" else 0)
