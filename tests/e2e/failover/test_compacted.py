"""The users' topic is compacted while the program is away: of a deleted user the tombstone alone is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from tests.e2e.failover.ledger import GONE, TABLE
from tests.e2e.failover.live_system import USERS, LiveSystem, live_system
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.gate import Gate

pytestmark = [pytest.mark.stack, pytest.mark.slow]

AT_ONCE = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": "0",
    "min.cleanable.dirty.ratio": "0.001",
    "segment.ms": "100",
}
DELETED = 4


@pytest.fixture
def live(stack: Stack, names: tuple[str, str], tmp_path: Path) -> Iterator[LiveSystem]:
    server = stack.mysql
    gate = Gate(server.host, server.port)
    with closing(gate), live_system(stack, server, gate, names, tmp_path) as live:
        yield live


def compact(live: LiveSystem, user_id: int) -> None:
    """Wait until the broker has left the user's tombstone alone.

    Only closed segments are compacted, so it needs more records; the program ignores a change of this column.
    """
    admin = live.stack.kafka.admin()
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, live.log.topic, AT_ONCE)])
    admin.close()
    days = count(1)

    def is_alone() -> bool:
        live.trading.update(TABLE, USERS[0], updated_at=datetime(2030, 1, 1, tzinfo=UTC) + timedelta(next(days)))
        return [each.state for each in live.log.anew() if each.user_id == user_id] == [GONE]

    eventually(is_alone, 60, "the broker does not compact the topic")


def test_a_tombstone_alone_removes_the_user_and_is_told_once(live: LiveSystem) -> None:
    live.start()
    live.insert(DELETED)
    live.update(times=2)
    live.settle()
    live.stop()
    live.delete(DELETED)
    compact(live, DELETED)
    live.start()
    live.update(USERS[1])
    live.settle()
    live.stop()
    live.start()
    live.update(USERS[1])
    live.judge()
