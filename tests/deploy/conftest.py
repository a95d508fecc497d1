"""The image of the Dockerfile, and a topic that a test writes by itself for a container to follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import feed as feed  # noqa: PLC0414  # the same name on purpose: a fixture of this folder too
from tests.support.image.engine import Engine, built
from tests.support.stack import Stack
from tests.support.stack.fixtures import started

# Files that are run where somebody asks for them: `make compose-test`, `make image`.
ASKED_FOR = {"test_compose.py": "--compose", "test_image_twice.py": "--twice"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    option = ASKED_FOR.get(collection_path.name) if collection_path.parent == Path(__file__).parent else None
    return True if option and not config.getoption(option) else None


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
