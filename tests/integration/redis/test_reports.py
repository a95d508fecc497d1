"""What members and audits leave in every kind of Redis, and how long it stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
import redis

from consumer.commands.shared.status.surveys import redis_servers
from consumer.errors import ServerError, ServerUnavailable
from consumer.mapping.reference import reference
from consumer.pipeline.reports import AUDIT_TTL_S, MEMBER_TTL_S, AuditReport, MemberReport
from consumer.settings.sections import Kafka, Redis
from consumer.settings.sources import Settings
from consumer.sink.client import address_of
from consumer.sink.keyspace import keyspace
from consumer.sink.report_store import Reports, ReportStore, audit_key, id_of, load, member_key, names_key
from consumer.sink.rights import wanted
from tests.integration.redis.conftest import is_cluster, settings_of
from tests.support.stack.port import Ports

NOW = 1_795_986_280_000
GROUP = "a group"
MEMBER = MemberReport(host="h", pid=1, version="1", started_ms=NOW - 5000, written_ms=NOW, partitions={"t": (0, 1)})
OTHER = msgspec.structs.replace(MEMBER, host="g", worker=1)
AUDIT = AuditReport(ended_ms=NOW, users=5, wrong=1, share_right=0.8, causes={"evicted": 1})


@pytest.fixture
def server(client: redis.Redis | redis.RedisCluster, redis_url: str) -> Redis:
    return settings_of(redis_url)


def loaded(server: Redis, now_ms: int = NOW) -> Reports:
    with closing(keyspace(server)) as keys:
        return load(keys, GROUP, now_ms)


def test_what_is_left_is_found(client: redis.Redis, server: Redis) -> None:
    assert loaded(server) == Reports()
    store = ReportStore(server, GROUP)
    for report in (MEMBER, OTHER):
        store.write_member(report)
    store.write_audit(AUDIT)
    ReportStore(server, "another").write_member(MEMBER)
    assert loaded(server) == Reports((OTHER, MEMBER), audit=AUDIT)
    assert 0 < client.ttl(member_key(GROUP, id_of(MEMBER))) <= MEMBER_TTL_S
    assert 0 < client.ttl(audit_key(GROUP)) <= AUDIT_TTL_S
    assert client.ttl(names_key(GROUP)) > MEMBER_TTL_S


def test_an_expired_report_is_missed_for_a_while_and_a_removed_one_is_not(client: redis.Redis, server: Redis) -> None:
    store = ReportStore(server, GROUP)
    for report in (MEMBER, OTHER):
        store.write_member(report)
    client.delete(member_key(GROUP, id_of(MEMBER)))
    store.remove_member(OTHER)
    assert loaded(server, NOW + 30_000) == Reports(gone={id_of(MEMBER): NOW})
    assert loaded(server, NOW + 2 * 3_600_000) == Reports()


def test_a_report_that_cannot_be_read_is_named(client: redis.Redis, server: Redis) -> None:
    store = ReportStore(server, GROUP)
    store.write_member(MEMBER)
    client.set(member_key(GROUP, id_of(MEMBER)), "?")
    client.set(audit_key(GROUP), "[]")
    assert loaded(server) == Reports(unreadable=(id_of(MEMBER),))


def on_each_server(client: Any, *words: str) -> None:
    """Accounts are not replicated."""
    client.execute_command(*words, **({"target_nodes": "all"} if is_cluster(client) else {}))


@pytest.fixture
def narrow(client: redis.Redis | redis.RedisCluster, redis_url: str) -> Iterator[Redis]:
    """An account with the rights that `check` prints, on each server."""
    rules = wanted(reference(), GROUP, has_functions=False, is_cluster=is_cluster(client)).split()
    on_each_server(client, "ACL SETUSER", "narrow", "reset", "on", ">x", *rules)
    yield settings_of(redis_url, "narrow:x")
    on_each_server(client, "ACL DELUSER", "narrow")


def test_the_rights_that_are_said_to_be_enough_are(narrow: Redis) -> None:
    store = ReportStore(narrow, GROUP)
    store.write_member(MEMBER)
    store.write_audit(AUDIT)
    assert loaded(narrow) == Reports((MEMBER,), audit=AUDIT)
    store.remove_member(MEMBER)
    assert loaded(narrow) == Reports(audit=AUDIT)


def test_an_account_without_the_rights_is_told_so(client: redis.Redis | redis.RedisCluster, narrow: Redis) -> None:
    on_each_server(client, "ACL SETUSER", "narrow", "resetkeys", "~cdc:offsets:*")
    store = ReportStore(narrow, GROUP)
    with pytest.raises(ServerError, match=r"NOPERM") as of_member:
        store.write_member(MEMBER)
    with pytest.raises(ServerError, match=r"NOPERM") as of_audit:
        store.write_audit(AUDIT)
    assert not any(isinstance(each.value, ServerUnavailable) for each in (of_member, of_audit))


def test_a_server_that_is_away_is_one_to_wait_for() -> None:
    away = settings_of(f"redis://127.0.0.1:{Ports().take('nobody')}/0")
    with pytest.raises(ServerUnavailable):
        ReportStore(away, GROUP).write_member(MEMBER)


def test_status_asks_every_master(client: redis.Redis | redis.RedisCluster, server: Redis) -> None:
    ReportStore(server, GROUP).write_member(MEMBER)
    found = redis_servers(Settings(redis=server, kafka=Kafka(group_id=GROUP)), NOW)
    assert found.reports == Reports((MEMBER,))
    assert len(found.servers) == (3 if is_cluster(client) else 1)
    for each in found.servers:
        assert each.version.count(".") == 2
        assert (each.role, each.policy, each.evicted, each.limit) == ("master", "noeviction", 0, 0)
        assert each.used > 100_000
        assert re.fullmatch(r"127.0.0.1:\d+|the master of \w+", each.address)
    assert found.kind == str(address_of(server).kind)


def test_status_of_a_server_that_is_away_is_an_error_of_this_program() -> None:
    away = settings_of(f"redis://:hunter2@127.0.0.1:{Ports().take('nobody')}/0")
    with pytest.raises(ServerUnavailable) as caught:
        redis_servers(Settings(redis=away), NOW)
    assert "hunter2" not in str(caught.value)
