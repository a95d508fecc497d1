"""Fixtures for all tests: the real stack, and plain Redis servers, each started once a run."""

from __future__ import annotations

import signal

import pytest

# A shell's background job ignores Ctrl-C, and so would every program that a test starts to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.stack.fixtures", "tests.redis_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bursts", type=int, default=50, help="of SIGTERM, in tests/signals")
