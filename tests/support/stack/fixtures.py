"""The stack for pytest. In ``tests/conftest.py``: ``pytest_plugins = ["tests.support.stack.fixtures"]``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pytest
import redis

from tests.support.stack import docker
from tests.support.stack.errors import MissingTool
from tests.support.stack.registration import Database, Registration, registered
from tests.support.stack.roster import DATABASES, KINDS, REDIS
from tests.support.stack.stack import Stack
from tests.support.stack.trading import Trading

_T = TypeVar("_T")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stack", "real servers")
    group.addoption("--stack", choices=KINDS, default="auto", help="where the real servers come from")
    group.addoption(
        "--databases",
        help=f"comma separated, of {', '.join(DATABASES)}; all of them, but with --stack=docker the one that it has",
    )
    group.addoption("--redis", default="standalone", help=f"comma separated, of {', '.join(REDIS)}")
    group.addoption("--registry", action="store_true", help="with a schema registry")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--stack") == "docker":
        for item in items:
            if item.get_closest_marker("registry"):
                item.add_marker(pytest.mark.skip(reason="the Docker stack has no schema registry (--stack=native)"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("one_redis") and "standalone" not in item.config.getoption("--redis").split(","):
        pytest.skip("about a single Redis server (--redis standalone)")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The servers, once a run. Without a tool they need: skipped with the command, but a failure in CI."""
    option = request.config.getoption
    kind, servers = option("--stack"), option("--redis").split(",")
    databases = option("--databases").split(",") if option("--databases") else default_databases(kind)
    with_registry = any(item.get_closest_marker("registry") for item in request.session.items) and kind != "docker"
    with started(lambda: Stack.start(databases, servers, option("--registry") or with_registry, kind=kind)) as running:
        yield running


def default_databases(kind: str) -> Sequence[str]:
    """The databases of a run that names none."""
    return docker.DATABASES if kind == "docker" else DATABASES


def started(start: Callable[[], _T]) -> _T:
    """A stack, or another program. Without a tool that it needs, the test is skipped with the command that installs it;
    in CI it fails.
    """
    try:
        return start()
    except MissingTool as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no stack in CI: {missing}", pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
def topic_prefix() -> str:
    """A ``topic.prefix`` of this test alone."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture
def group_id(topic_prefix: str) -> str:
    """A consumer group of this test alone."""
    return f"group-{topic_prefix}"


@pytest.fixture
def database(request: pytest.FixtureRequest, stack: Stack) -> Database:
    """The database server of this test: MySQL, unless the test is parametrised."""
    name = getattr(request, "param", "mysql")
    if name not in stack.servers:
        pytest.skip(f"the run has no {name} (--databases)")
    return stack.database(name)


@pytest.fixture
def trading(database: Database) -> Iterator[Trading]:
    """The platform's tables, empty, written with the application's account."""
    with database.connect(database.logins.app) as connection:
        tables = Trading(connection, database.quote)
        tables.clear()
        yield tables


@pytest.fixture
def connector(stack: Stack, database: Database, trading: Trading, topic_prefix: str) -> Iterator[Registration]:
    """The database's file in connect/, running under this test's prefix, its (empty) snapshot complete.

    ``trading`` comes first, so that the tables are empty before the connector reads them.
    """
    with registered(stack, database, topic_prefix) as registration:
        yield registration


@pytest.fixture
def redis_client(stack: Stack) -> Iterator[redis.Redis]:
    """A client of a Redis without keys. It answers with text."""
    with stack.redis.connect() as client:
        client.flushall()
        yield client
