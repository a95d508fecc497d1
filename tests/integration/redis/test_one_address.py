"""One address in front of two servers: the first becomes a replica, and the connections to it live on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
import structlog

from consumer.errors import Reconnected, ServerUnavailable
from consumer.mapping.reference import reference
from consumer.planning.effect import Plan
from consumer.settings.sections import Guard
from consumer.sink.index.key_index import TrackedIndex
from consumer.sink.index.tracking import Tracking
from consumer.sink.keyspace import OneKeyspace
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.conftest import settings_of
from tests.integration.redis.test_sink import BALANCE, apply, plan_of
from tests.support.redis_server import RedisServer, program
from tests.support.redis_view import eventually
from tests.support.stack.gate import Gate

MINE = "financial_summary:live:123:"


class Address:
    """Leads to ``first``, and after :meth:`fail_over` to ``second``: a virtual IP, a proxy, or a name in DNS."""

    def __init__(self, first: RedisServer, second: RedisServer) -> None:
        self.first = first
        self.second = second
        self._gate = Gate("127.0.0.1", first.port)
        self.url = f"redis://{self._gate.address}/0"

    def demote(self) -> None:
        """The first server follows one that is not there: it answers, but accepts no write."""
        with self.first.connect() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")

    def fail_over(self) -> None:
        self.demote()
        self._gate.lead_to("127.0.0.1", self.second.port, are_cut=False)

    def close(self) -> None:
        self._gate.close()


@pytest.fixture(params=["machine", "bundled"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Address]:
    servers = [RedisServer(program(request.param), tmp_path / name) for name in ("first", "second")]
    try:
        for server in servers:
            server.start()
        with closing(Address(*servers)) as address:
            yield address
    finally:
        for server in servers:
            server.end()


def _applies_after_a_reconnect(sink: RedisSink, plan: Plan) -> None:
    """The old server refuses the plan, and a new connection must be accepted first."""
    with pytest.raises(ServerUnavailable):
        apply(sink, plan)
    with pytest.raises(Reconnected):
        apply(sink, plan)
    sink.accept_new_connection()
    apply(sink, plan)


@pytest.mark.parametrize("tracking", [True, False])
def test_derived_keys_are_found_at_the_new_master(address: Address, tracking: bool) -> None:
    sink = RedisSink(settings_of(address.url, tracking=tracking), Guard(), reference())
    with closing(sink), address.second.connect() as client:
        sink.reach()
        eventually(lambda: sink.index_state() == ("warm" if tracking else "off"))
        apply(sink, plan_of("A deposit", 1))
        address.fail_over()
        client.set(f"{MINE}day", "stale")
        _applies_after_a_reconnect(sink, plan_of("A deposit", 2))
        assert client.get(BALANCE) == "10000.50"
        eventually(lambda: not client.exists(f"{MINE}day"), what="a key from before the reconnect stays")
        eventually(lambda: sink.index_state() == ("warm" if tracking else "off"))
        client.set(f"{MINE}week", "stale")
        apply(sink, plan_of("A deposit", 3))
        eventually(lambda: not client.exists(f"{MINE}week"), what="the new master's writes are not reported")


def test_a_key_that_the_replica_does_not_remove_is_removed_at_the_new_master(address: Address) -> None:
    with redis.Redis.from_url(address.url) as behind, address.second.connect() as client:
        behind.ping()
        address.fail_over()
        client.set(f"{MINE}day", "stale")
        keys = OneKeyspace(behind)
        with pytest.raises(redis.ReadOnlyError):
            keys.unlink([f"{MINE}day"])
        keys.unlink([f"{MINE}day"])
        assert not client.exists(f"{MINE}day")


def test_a_replica_is_refused_because_it_does_not_report_the_masters_writes(address: Address) -> None:
    address.demote()
    with address.first.connect() as client:
        with closing(_tracking(client)) as tracking, pytest.raises(redis.ReadOnlyError):
            tracking.open()
        client.config_set("replica-read-only", "no")
        with closing(_tracking(client)) as tracking:
            tracking.open()
        client.config_set("replica-read-only", "yes")
        client.execute_command("REPLICAOF", "NO", "ONE")
        with closing(_tracking(client)) as tracking:
            tracking.open()


def test_a_server_that_may_not_be_asked_is_taken_for_a_master(address: Address) -> None:
    address.demote()
    with address.first.connect() as client:
        client.acl_setuser("asked", enabled=True, nopass=True, commands=["+@all", "-info"], keys=["*"])
        with redis.Redis(port=address.first.port, username="asked", password="", decode_responses=True) as refused:
            with pytest.raises(redis.exceptions.NoPermissionError):
                refused.info()
            with closing(_tracking(refused)) as tracking:
                tracking.open()


def _tracking(client: redis.Redis) -> Tracking:
    return Tracking(client, ["financial_summary:"], lambda _: None)


def test_a_pass_that_began_at_the_old_server_makes_no_index(address: Address) -> None:
    with address.first.connect() as client, structlog.testing.capture_logs() as lines:
        passes: list[str] = []

        class Interrupted(OneKeyspace):
            def scan(self, pattern: str) -> Iterator[str]:
                passes.append(pattern)
                yield from super().scan(pattern)
                if len(passes) == 1:
                    index.connect_anew()

        index = TrackedIndex(client, ["financial_summary:"], keys=Interrupted(client))
        with closing(index):
            index.start()
            eventually(lambda: len(passes) == 2 and index.is_warm)
    assert [line["action"] for line in lines] == ["index.lost", "index.ready"]


def test_a_script_that_a_replica_does_not_load_is_loaded_at_the_new_master(address: Address) -> None:
    """The first plan comes after the failover, and its connection is older."""
    sink = RedisSink(settings_of(address.url), Guard(), reference(), "g")
    with closing(sink), address.second.connect() as client:
        sink.reach()
        assert sink.stored_offsets() == {}
        address.fail_over()
        _applies_after_a_reconnect(sink, plan_of("A deposit", 1))
        assert client.get(BALANCE) == "10000.50"
