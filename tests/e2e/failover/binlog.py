"""What the tests of MySQL and MariaDB share: Connect's offsets in a binlog, and a failover under Debezium's feet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.failover.live_system import USERS, LiveSystem
from tests.e2e.failover.topic_log import sent_twice
from tests.support.stack.replicated import Replicated
from tests.support.stack.source_connector import Offsets

BOTH_TAILS = pytest.mark.parametrize("tail", ["tail sent once", "tail sent again"])
BOTH_NUMBERINGS = pytest.mark.parametrize("numbers", ["lower numbers", "higher numbers"])


def covering(servers: Replicated, live: LiveSystem) -> Offsets:
    """Connect's offsets, once Debezium goes on from there behind everything that was committed before this call."""
    executed = servers.primary.executed()

    def covers(offset: Mapping[str, Any]) -> bool:
        servers.write_elsewhere()
        return servers.primary.includes(str(offset.get("gtids", "")), executed)

    return live.stored_offsets(covers)


def fail_over(servers: Replicated, live: LiveSystem, sent_again_from: Offsets | None) -> None:
    """Change every user once more out of Debezium's sight, then kill the primary and promote the replica.

    Debezium goes on by itself, as soon as it can connect again, or from ``sent_again_from``.
    """
    servers.gate.shut()
    live.update()
    servers.fail_over()
    live.write_to(servers.primary)
    if sent_again_from is not None:
        live.connector.stop()
        live.connector.set_offsets(sent_again_from)
        live.connector.resume()
    servers.gate.open()


def kill_primary(servers: Replicated, live: LiveSystem, numbers: str, tail: str) -> None:
    """A failover with changes on both sides of it, of the kinds in BOTH_TAILS and BOTH_NUMBERINGS.

    The last changes before it are read from the replica's log, within seconds of the ones before.
    """
    servers.number_logs(replica_is_lower=numbers == "lower numbers")
    live.update()
    live.settle()
    early = covering(servers, live)
    live.update(times=3)
    live.settle()
    covering(servers, live)
    at_failover = len(live.log.sent())
    fail_over(servers, live, early if tail == "tail sent again" else None)
    live.settle()
    live.update(times=2)
    live.settle()
    assert_produced(live, at_failover, numbers, tail)


def assert_produced(live: LiveSystem, at_failover: int, numbers: str, tail: str) -> None:
    """The history of the test: which record was read where in which log."""
    before, after = live.log.sent()[:at_failover], live.log.sent()[at_failover:]
    old = [each for each in before if each.is_streamed]
    new = [each for each in after if each.is_streamed]
    if numbers == "lower numbers":
        assert max(each.log_number for each in new) < min(each.log_number for each in old)
    else:
        assert min(each.log_number for each in new) > max(each.log_number for each in old)
    again = 3 * len(USERS) if tail == "tail sent again" else 0
    assert len(sent_twice(before, after)) == again
    assert len(new) == again + 3 * len(USERS)
    # What the primary had committed keeps its name in the log of the replica.
    assert {each.source["server_id"] for each in new[: again + len(USERS)]} == {old[-1].source["server_id"]}
    assert new[-1].source["server_id"] != old[-1].source["server_id"]
