"""One address in front of two servers: the first becomes a replica, and the connections to it live on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
import structlog

from consumer.errors import Reconnected, ServerError, ServerUnavailable
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
IN_REDIS_7 = pytest.mark.parametrize("address", ["machine"], indirect=True)
"""The bundled server is of version 6."""


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

    def lose_its_master(self) -> None:
        """As :meth:`demote`, and the first server answers no reads either (MASTERDOWN)."""
        with self.first.connect() as client:
            client.config_set("replica-serve-stale-data", "no")
        self.demote()

    def lose_its_replicas(self) -> None:
        """The first server is still a master, but accepts no write (NOREPLICAS)."""
        with self.first.connect() as client:
            client.config_set("min-replicas-to-write", 1)

    def lead_to_second(self) -> None:
        self._gate.lead_to("127.0.0.1", self.second.port, are_cut=False)

    def fail_over(self) -> None:
        self.demote()
        self.lead_to_second()

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


def _apply_or_raise(sink: RedisSink, plan: Plan) -> None:
    """Raises the plan's answer if it is an error."""
    ((_, answer),) = sink.apply([plan])
    if isinstance(answer, ServerError):
        raise answer


def _applies_at_last(sink: RedisSink, plan: Plan) -> list[str]:
    """Apply the plan, as often as is needed; answers the causes of the failures before."""
    causes: list[str] = []
    for _ in range(6):
        try:
            _apply_or_raise(sink, plan)
        except ServerUnavailable as error:
            causes.append(error.cause)
        except Reconnected:
            causes.append("Reconnected")
            sink.accept_new_connection()
        else:
            return causes
    raise AssertionError(f"the old server is asked for ever: {causes}")


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


@pytest.mark.parametrize("is_loaded", [True, False])
@pytest.mark.parametrize("tracking", [True, False])
def test_a_replica_that_answers_nothing_is_left(address: Address, tracking: bool, is_loaded: bool) -> None:
    """Without its master it refuses reads too. ``is_loaded``: it was a master when the script was called first."""
    sink = RedisSink(settings_of(address.url, tracking=tracking), Guard(), reference(), "g")
    with closing(sink), address.second.connect() as client:
        sink.reach()
        assert sink.stored_offsets() == {}
        if is_loaded:
            apply(sink, plan_of("A deposit", 1))
        address.lose_its_master()
        address.lead_to_second()
        causes = _applies_at_last(sink, plan_of("A deposit", 2))
        assert causes.count("Reconnected") == 1
        assert set(causes) <= {"Reconnected", "MasterDownError", "ReadOnlyError"}
        assert client.get(BALANCE) == "10000.50"


def test_what_answers_no_reads_is_left_by_who_only_reads(address: Address) -> None:
    with redis.Redis.from_url(address.url, decode_responses=True) as behind, address.second.connect() as client:
        behind.ping()
        address.lose_its_master()
        address.lead_to_second()
        client.set("k", "v")
        keys = OneKeyspace(behind)
        (refusal,) = keys.ask([("GET", "k")])
        assert isinstance(refusal, redis.exceptions.MasterDownError)
        assert keys.ask([("GET", "k")]) == ["v"]


def _refuses_scripts(server: RedisServer) -> bool:
    """Whether min-replicas-to-write holds for scripts: since Redis 7."""
    with server.connect() as client:
        return int(client.info("server")["redis_version"].partition(".")[0]) >= 7


def test_before_redis_7_a_script_writes_without_replicas(address: Address) -> None:
    """From 7 on the plan is refused. docs/redis.md tells operators."""
    sink = RedisSink(settings_of(address.url), Guard(), reference(), "g")
    with closing(sink), address.first.connect() as client:
        sink.reach()
        address.lose_its_replicas()
        if _refuses_scripts(address.first):
            assert _refusal(sink) == "NOREPLICAS"
        else:
            apply(sink, plan_of("A deposit", 1))
        with pytest.raises(redis.exceptions.ResponseError, match="NOREPLICAS"):
            client.set("k", "v")


@IN_REDIS_7
@pytest.mark.parametrize("may_ask", [True, False])
@pytest.mark.parametrize("is_loaded", [True, False])
def test_a_master_without_replicas_is_left_if_the_address_leads_to_another(
    address: Address, is_loaded: bool, may_ask: bool
) -> None:
    """It is on the smaller side of a partition, and has a successor. ``may_ask``: the account may use INFO."""
    if not may_ask:
        for server in (address.first, address.second):
            with server.connect() as client:
                client.execute_command("ACL", "SETUSER", "default", "-info")
    sink = RedisSink(settings_of(address.url), Guard(), reference(), "g")
    with closing(sink), address.second.connect() as client:
        sink.reach()
        assert sink.stored_offsets() == {}
        if is_loaded:
            apply(sink, plan_of("A deposit", 1))
        address.lose_its_replicas()
        address.lead_to_second()
        if not may_ask:  # then it is not known which server this is, as the address is the same
            assert [_refusal(sink) for _ in range(3)] == ["NOREPLICAS"] * 3
            return
        assert _applies_at_last(sink, plan_of("A deposit", 2)) == ["NOREPLICAS", "Reconnected"]
        assert client.get(BALANCE) == "10000.50"
        client.set(f"{MINE}week", "stale")
        eventually(lambda: sink.index_state() == "warm")
        apply(sink, plan_of("A deposit", 3))
        eventually(lambda: not client.exists(f"{MINE}week"), what="the new master's writes are not reported")


@IN_REDIS_7
def test_the_only_master_is_waited_for_until_it_has_its_replicas(address: Address) -> None:
    sink = RedisSink(settings_of(address.url), Guard(), reference(), "g")
    with closing(sink), address.first.connect() as client:
        sink.reach()
        eventually(lambda: sink.index_state() == "warm")
        apply(sink, plan_of("A deposit", 1))
        address.lose_its_replicas()
        before = client.info("stats")["total_connections_received"]
        with structlog.testing.capture_logs() as lines:
            assert [_refusal(sink) for _ in range(5)] == ["NOREPLICAS"] * 5
        assert client.info("stats")["total_connections_received"] - before <= 5
        assert (sink.index_state(), lines) == ("warm", [])
        client.config_set("min-replicas-to-write", 0)
        apply(sink, plan_of("A deposit", 2))


def _refusal(sink: RedisSink) -> str:
    """The cause of the failure, which is said as before."""
    with pytest.raises(ServerUnavailable) as refusal:
        _apply_or_raise(sink, plan_of("A deposit", 2))
    assert (refusal.value.problem, refusal.value.advice) == (
        "NOREPLICAS Not enough good replicas to write.",
        "too few replicas are connected: start them again",
    )
    return refusal.value.cause


@pytest.mark.parametrize(
    ("how", "refusal"),
    [
        ("demote", redis.ReadOnlyError),
        ("lose_its_master", redis.ResponseError),
        ("lose_its_replicas", redis.ResponseError),
    ],
)
def test_a_key_that_the_old_server_does_not_remove_is_removed_at_the_new_one(
    address: Address, how: str, refusal: type[Exception]
) -> None:
    with redis.Redis.from_url(address.url) as behind, address.second.connect() as client:
        behind.ping()
        getattr(address, how)()
        address.lead_to_second()
        client.set(f"{MINE}day", "stale")
        keys = OneKeyspace(behind)
        with pytest.raises(refusal):
            keys.unlink([f"{MINE}day"])
        keys.unlink([f"{MINE}day"])
        assert not client.exists(f"{MINE}day")
