"""A PostgreSQL primary is killed and its standby promoted, behind one address; and a cluster is restored from a backup.

A physical standby has the primary's log, with the same places; a restored cluster writes other changes at places, and
under transaction ids, that were there before.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.failover.live_system import USERS, LiveSystem, live_system
from tests.e2e.failover.topic_log import sent_twice
from tests.support.stack import Stack, postgres
from tests.support.stack.gate import Gate
from tests.support.stack.postgres import Postgres
from tests.support.stack.postgres_backup import WithStandby, base_backup, restored

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@dataclass(frozen=True)
class Setting:
    """What makes a live system of this module."""

    stack: Stack
    names: tuple[str, str]
    folder: Path

    @property
    def slot(self) -> str:
        return self.names[0]

    @contextmanager
    def live(self, primary: Postgres, *, failover_slot: bool = False) -> Iterator[LiveSystem]:
        with ExitStack() as exits:
            gate = Gate(primary.host, primary.port)
            exits.callback(gate.close)
            overrides = {"slot.failover": str(failover_slot).lower()}
            live = exits.enter_context(live_system(self.stack, primary, gate, self.names, self.folder, overrides))
            live.start()
            yield live


@pytest.fixture
def setting(stack: Stack, names: tuple[str, str], tmp_path: Path) -> Setting:
    if "postgres" not in stack.servers:
        pytest.skip("the run has no postgres (--databases)")
    return Setting(stack, names, tmp_path)


@pytest.fixture
def servers(setting: Setting) -> Iterator[WithStandby]:
    servers = WithStandby(setting.stack.place, f"postgres-{secrets.token_hex(2)}")
    try:
        servers.start()
        yield servers
    finally:
        servers.close()


def covering(live: LiveSystem) -> list[dict[str, object]]:
    """Connect's offsets, once they are behind the last change that lies in Kafka."""
    last = live.log.sent()[-1].source["lsn"]
    return live.stored_offsets(lambda offset: offset.get("lsn", 0) > last)


def continue_on(live: LiveSystem, server: Postgres) -> None:
    """Let Debezium and the writers find another server at the address."""
    live.write_to(server)
    live.address.lead_to(server.host, server.port)
    live.address.open()


@pytest.mark.parametrize("tail", ["tail sent once", "tail sent again"])
def test_a_standby_with_a_failover_slot_is_promoted(setting: Setting, servers: WithStandby, tail: str) -> None:
    """The standby's slot is where the primary's was, or behind it and Connect's offsets too."""
    with setting.live(servers.primary, failover_slot=True) as live:
        servers.sync_slots(is_on=True)
        live.update()
        live.settle()
        servers.wait_for_slot(setting.slot)
        early = covering(live)
        if tail == "tail sent again":
            servers.sync_slots(is_on=False)
        live.update(times=3)
        live.settle()
        covering(live)
        before = len(live.log.sent())
        live.address.shut()
        live.update()
        promoted = servers.fail_over()
        if tail == "tail sent again":
            live.connector.stop()
            live.connector.set_offsets(early)
            live.connector.resume()
        continue_on(live, promoted)
        live.settle()
        live.update(times=2)
        live.settle()
        sent = live.log.sent()
        again = sent_twice(sent[:before], sent[before:])
        assert len(again) == (3 * len(USERS) if tail == "tail sent again" else 0)
        assert all(each.is_streamed for each in sent[before:])
        live.judge()


def test_a_standby_without_the_slot_is_promoted(setting: Setting, servers: WithStandby) -> None:
    """Debezium makes a slot anew, and takes a snapshot: it has what nobody can be told any more."""
    with setting.live(servers.primary) as live:
        live.update(times=3)
        live.settle()
        before = len(live.log.sent())
        live.address.shut()
        for user_id in USERS:
            live.ledger.update(live.trading, user_id, is_told=False)
        continue_on(live, servers.fail_over())
        live.settle()
        live.update(1, 2, times=2)  # user 3 has to be right by the snapshot alone
        live.settle()
        after = live.log.sent()[before:]
        assert [each.is_streamed for each in after[: len(USERS)]] == [False] * len(USERS)
        live.judge()


@pytest.fixture
def primary(setting: Setting) -> Iterator[Postgres]:
    server = postgres.native(setting.stack.place, label=f"postgres-{secrets.token_hex(2)}")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def test_a_cluster_is_restored_from_a_backup(setting: Setting, primary: Postgres) -> None:
    """The database goes back to older states, and so does Redis. The changes that follow are as new as any."""
    with setting.live(primary) as live, ExitStack() as exits:
        live.update()
        live.settle()
        label, place = f"postgres-{secrets.token_hex(2)}", setting.stack.place
        backup, states = (
            base_backup(place, primary, label),
            {each: live.ledger.last(each) for each in live.ledger.users},
        )
        live.update(times=3)
        live.settle()
        live.address.shut()
        primary.kill()
        server = restored(place, backup, primary, label)
        exits.callback(server.kill)
        server.start()
        before = len(live.log.sent())
        live.connector.stop()
        live.connector.delete_offsets()  # Debezium would wait for its old place, which the new log has not reached
        live.ledger.restored(states)
        continue_on(live, server)
        live.connector.resume()
        live.settle()
        live.update(times=3)
        live.settle()
        sent = live.log.sent()
        old, new = ([each for each in part if each.is_streamed] for part in (sent[:before], sent[before:]))
        assert min(each.source["lsn"] for each in new) < max(each.source["lsn"] for each in old)
        assert {each.transaction for each in new} & {each.transaction for each in old}
        live.judge()
