"""Database servers that fail, beside the run's Kafka, Connect and Redis. Each pair lives for one module of tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.support.stack import Stack, mariadb, mysql
from tests.support.stack.replicated import START, Replicated


def replicated(stack: Stack, name: str, native: START) -> Iterator[Replicated]:
    """A primary and its replica; skipped where the run's Connect has no plugin for them."""
    if name not in stack.servers:
        pytest.skip(f"the run has no {name} (--databases)")
    pair = Replicated.made(stack.place, native, f"{name}-{secrets.token_hex(2)}")
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


@pytest.fixture(scope="module")
def mysql_servers(stack: Stack) -> Iterator[Replicated]:
    yield from replicated(stack, "mysql", mysql.native)


@pytest.fixture(scope="module")
def mariadb_servers(stack: Stack) -> Iterator[Replicated]:
    yield from replicated(stack, "mariadb", mariadb.native)


@pytest.fixture
def names(topic_prefix: str, group_id: str) -> tuple[str, str]:
    """The topic prefix and the group of this test alone."""
    return topic_prefix, group_id
