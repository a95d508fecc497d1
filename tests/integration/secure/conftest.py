"""Real servers with TLS and accounts, once a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.secure.authority import Authority
from tests.integration.secure.broker import Broker, secured
from tests.integration.secure.gateway import Gateway
from tests.integration.secure.redis_tls import RedisServers


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no server knows."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="session")
def broker(authority: Authority) -> Iterator[Broker]:
    with secured(authority) as running:
        yield running


@pytest.fixture(scope="session")
def servers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServers]:
    running = RedisServers(authority, tmp_path_factory.mktemp("redis-tls"))
    yield running
    running.end()


@pytest.fixture(scope="session")
def gateway(authority: Authority) -> Iterator[Gateway]:
    with Gateway(authority) as running:
        yield running
