"""A URL that says one kind of Redis where another one listens, or a database that is not there: exit 2 at the start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.process import command
from tests.e2e.topic import Topic
from tests.support.redis_sentinel import SERVICE, TestSentinel
from tests.support.redis_server import RedisServer, program
from tests.support.stack import Stack
from tests.support.stack.port import Ports
from tests.support.stack.registration import Database

COMMANDS = [("run",), ("api",), ("check",)]
# The commands that ask Kafka or the database first. The first of them do not ask Redis for the group's database.
DATABASE_KNOWN = {"CDC_SOURCE__DATABASE": "trading"}
AFTER_OTHERS: list[tuple[dict[str, str], tuple[str, ...]]] = [
    (DATABASE_KNOWN, ("audit",)),
    (DATABASE_KNOWN, ("explain", "live:1")),
    (DATABASE_KNOWN, ("replay", "--rebuild")),
    ({}, ("replay", "--rebuild", "--yes")),
    ({}, ("dead-letters", "replay", "--all")),
    ({}, ("snapshot", "live_users", "--authoritative")),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with started(RedisServer(program("machine"), tmp_path_factory.mktemp("plain"))) as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    settings = {"cluster_enabled": "yes"}
    with started(RedisServer(program("machine"), tmp_path_factory.mktemp("node"), settings=settings)) as server:
        yield server


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestSentinel]:
    service = TestSentinel(program("machine"), tmp_path_factory.mktemp("service"))
    try:
        service.start()
        yield service
    finally:
        service.end()


@contextmanager
def started(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.end()


def said(arguments: tuple[str, ...], url: str) -> str:
    """What the command says, which ends with exit code 2."""
    ports = Ports()
    environment = {
        "CDC_REDIS__URL": url,
        "CDC_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{ports.take('kafka')}",
        "CDC_DATABASE__URL": f"mysql://reader:secret@127.0.0.1:{ports.take('mysql')}/trading",
        "CDC_API__PORT": str(ports.take("api")),
        "CDC_API__TOKEN": "0123456789abcdef0123456789abcdef",
        "CDC_METRICS__PORT": "0",
    }
    return refused(environment, arguments)


def refused(environment: dict[str, str], arguments: tuple[str, ...]) -> str:
    """What a command says that ends with exit code 2."""
    ran = command(environment, *arguments, seconds=100)
    text = ran.stderr + ran.stdout
    assert ran.returncode == 2, f"{arguments}: {text}"
    assert "CDC_REDIS__URL" in text, f"{arguments}: {text}"
    return text


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_database_that_the_server_does_not_have(arguments: tuple[str, ...], plain: RedisServer) -> None:
    assert "refused database 99" in said(arguments, plain.url.replace("/0", "/99"))


def test_a_database_of_a_service_that_is_not_there(service: TestSentinel) -> None:
    assert "refused database 99" in said(("run",), service.url.removesuffix("/0") + "/99")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_sentinels_that_are_none(arguments: tuple[str, ...], plain: RedisServer) -> None:
    assert "the server is no sentinel" in said(arguments, f"redis+sentinel://127.0.0.1:{plain.port}/{SERVICE}/0")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_cluster_that_is_none(arguments: tuple[str, ...], plain: RedisServer) -> None:
    assert "the server is no node of a cluster" in said(arguments, f"redis+cluster://127.0.0.1:{plain.port}/")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_single_server_that_is_a_node(arguments: tuple[str, ...], node: RedisServer) -> None:
    assert "the server is a node of a cluster" in said(arguments, node.url)


def test_a_single_server_that_is_a_sentinel(service: TestSentinel) -> None:
    assert "the server is a sentinel" in said(("run",), service.sentinel.url)


@pytest.fixture
def others(stack: Stack, topic_prefix: str, database: Database) -> Iterator[dict[str, str]]:
    """Settings of a Kafka with a topic and of a database: Redis alone is wrong."""
    topic = Topic(stack, topic_prefix)
    topic.make()
    yield {**topic.environment(), "CDC_DATABASE__URL": database.url}
    topic.close()


@pytest.mark.stack
@pytest.mark.parametrize("case", ["database", "sentinels", "cluster", "node"])
def test_a_command_that_asks_other_servers_first(
    case: str, others: dict[str, str], plain: RedisServer, node: RedisServer
) -> None:
    """They ended with exit code 1, and `replay --yes` waited for ever."""
    url, problem = {
        "database": (plain.url.replace("/0", "/99"), "refused database 99"),
        "sentinels": (f"redis+sentinel://127.0.0.1:{plain.port}/{SERVICE}/0", "the server is no sentinel"),
        "cluster": (f"redis+cluster://127.0.0.1:{plain.port}/", "the server is no node of a cluster"),
        "node": (node.url, "the server is a node of a cluster"),
    }[case]
    for known, arguments in AFTER_OTHERS:
        assert problem in refused({**others, **known, "CDC_REDIS__URL": url}, arguments)


@pytest.mark.parametrize("path", ["abc", "1/2", "-1"])
def test_a_database_that_is_no_number(path: str) -> None:
    """It was taken for 0, or for 12."""
    assert "the database is no number" in said(("run",), f"redis://127.0.0.1:6379/{path}")
