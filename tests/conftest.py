"""Fixtures for all tests: the real stack, and plain Redis servers, each started once a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

# On a busy machine an example may take any time; the default is 200 ms.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# A shell's background job ignores Ctrl-C, and so would every program that a test starts to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.support.stack.fixtures", "tests.support.redis_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bursts", type=int, default=50, help="of SIGTERM, in tests/chaos/signals")
    parser.addoption("--compose", action="store_true", help="also tests/deploy/test_compose.py, which needs an engine")
    parser.addoption("--twice", action="store_true", help="also tests/deploy/test_image_twice.py, which builds again")


@pytest.fixture(autouse=True)
def logs_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that runs in the test's own process configures structlog. The next test must not inherit that."""
    configure = structlog.configure

    def configure_until_the_end(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", configure_until_the_end)
    yield
    structlog.reset_defaults()
