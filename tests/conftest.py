"""Fixtures for all tests: the real stack, and plain Redis servers, each started once a run."""

from __future__ import annotations

pytest_plugins = ["tests.stack.fixtures", "tests.redis_server"]
