"""Fixtures for all tests: the real stack, started once a run."""

from __future__ import annotations

pytest_plugins = ["tests.stack.fixtures"]
