"""The image of the Dockerfile, and a topic that a test writes by itself for a container to follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import feed as feed  # noqa: PLC0414  # the same name on purpose: a fixture of this folder too
from tests.support.image.engine import Engine, built
from tests.support.stack import Stack
from tests.support.stack.fixtures import started


@pytest.fixture(scope="session")
def image(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Built once a run. Its steps are told at once: which base the image has must not be hidden in a captured log."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    building = built(stack.place)
    with capture.global_and_fixture_disabled():
        engine = started(building.__enter__)
    try:
        yield engine
    finally:
        building.__exit__(None, None, None)
