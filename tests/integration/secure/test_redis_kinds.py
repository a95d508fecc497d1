"""TLS and an account with the least rights on a Redis Cluster, and with sentinels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from consumer.mapping.reference import reference
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from consumer.sink.rights import wanted
from tests.integration.redis.test_sink import apply, plan_of
from tests.integration.secure.authority import HOST, Authority
from tests.integration.secure.redis_tls import LOGIN, PASSWORD, USER
from tests.support.redis_cluster import MASTERS, TestCluster
from tests.support.redis_sentinel import SERVICE
from tests.support.redis_server import RedisServer, program
from tests.support.redis_view import Client, Listener, eventually
from tests.support.stack.port import BUS, Ports

SUMMARY = "financial_summary:live:123:day"


class Ringed:
    """Servers that want a certificate of whoever connects with TLS; ``ports`` are those with TLS, in their order."""

    def __init__(self, authority: Authority) -> None:
        self._issued = authority.issue("redis-kinds", HOST)
        self._authority = authority
        self.ports: list[int] = []

    def settings(self) -> dict[str, str]:
        """The lines of one more server."""
        self.ports.append(Ports().take("redis-tls", BUS))
        return {
            "tls_port": str(self.ports[-1]),
            "tls_cert_file": str(self._issued.certificate),
            "tls_key_file": str(self._issued.key),
            "tls_ca_cert_file": str(self._authority.file),
            "tls_auth_clients": "yes",
            "tls_replication": "yes",
        }


def let_in(servers: Sequence[RedisServer], *, is_cluster: bool) -> None:
    """Each server has accounts of its own."""
    rights = wanted(reference(), "g", has_functions=True, is_cluster=is_cluster).split()
    for server in servers:
        with server.connect() as client:
            client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *rights)


@pytest.fixture
def cluster(authority: Authority, tmp_path: Path) -> Iterator[tuple[TestCluster, str]]:
    ring = Ringed(authority)
    servers = TestCluster(program("machine"), tmp_path, more=lambda: {**ring.settings(), "tls_cluster": "yes"})
    try:
        servers.start()
        let_in(servers.nodes, is_cluster=True)
        hosts = ",".join(f"{HOST}:{port}" for port in ring.ports[:MASTERS])
        yield servers, f"rediss+cluster://{LOGIN}@{hosts}/"
    finally:
        servers.end()


@pytest.fixture
def service(authority: Authority, tmp_path: Path) -> Iterator[tuple[RedisServer, str]]:
    """A master and a sentinel, which speak TLS with each other too."""
    ring = Ringed(authority)
    master = RedisServer(program("machine"), tmp_path / "master", settings=ring.settings())
    file = tmp_path / "sentinel.conf"
    lines = [f"{name.replace('_', '-')} {value}" for name, value in ring.settings().items()]
    file.write_text("\n".join([*lines, f"sentinel monitor {SERVICE} {HOST} {ring.ports[0]} 1", ""]))
    sentinel = RedisServer(program("machine"), tmp_path / "sentinel", sentinel=file)
    try:
        master.start()
        sentinel.start()
        let_in([master], is_cluster=False)
        yield master, f"rediss+sentinel://{LOGIN}@{HOST}:{ring.ports[1]}/{SERVICE}/0"
    finally:
        sentinel.end()
        master.end()


def check(client: Client, sink: RedisSink) -> None:
    """Everything that a change does: hash, balance, a wildcard, messages."""
    listener = Listener(client)
    try:
        sink.reach()
        eventually(lambda: sink.index_state() == "warm")
        client.set(SUMMARY, "x")
        (answer,) = apply(sink, plan_of("A deposit", 1))
        assert answer.is_accepted
        assert client.hget("user:{live:123}:config", "wallet_balance") == "10000.50"
        assert client.get("user_balance:live:123") == "10000.50"
        eventually(lambda: not client.exists(SUMMARY))
        told = [json.dumps(body, sort_keys=True) for _, body in listener.heard()]
        assert len(told) == len(plan_of("A deposit", 1).messages)
    finally:
        listener.close()
        sink.close()


def settings(url: str, authority: Authority) -> Redis:
    return Redis(url=SecretStr(url), ca=authority.file, certificate=authority.issue("client").both)


def test_a_cluster(cluster: tuple[TestCluster, str], authority: Authority) -> None:
    servers, url = cluster
    with servers.connect() as client:
        check(client, RedisSink(settings(url, authority), Guard(), reference(), "g"))


def test_sentinels(service: tuple[RedisServer, str], authority: Authority) -> None:
    master, url = service
    with master.connect() as client:
        check(client, RedisSink(settings(url, authority), Guard(), reference(), "g"))
