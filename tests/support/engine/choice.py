"""Which engine a run has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.engine import own
from tests.support.engine.docker import Docker
from tests.support.stack import docker as client
from tests.support.stack.announce import Announcer
from tests.support.stack.cache import Cache
from tests.support.stack.child import Children
from tests.support.stack.errors import MissingTool
from tests.support.stack.native import Place
from tests.support.stack.port import Ports


@contextmanager
def place(folder: Path) -> Iterator[Place]:
    """A place in ``folder`` for programs without a stack; they end with the block."""
    logs = folder / "logs"
    logs.mkdir()
    children = Children()
    try:
        yield Place(folder, logs, Cache(), children, Announcer(), Ports())
    finally:
        children.close()


@contextmanager
def engine(place: Place) -> Iterator[Docker]:
    """The engine of DOCKER_HOST or of the usual socket, else one of the run's own, until the end of the block.

    Raises:
        MissingTool: there is none, or it has no Compose, and it can't be had.
        StartFailed: an engine of the run's own did not start.
    """
    if client.answers():
        found = Docker("the engine that answers here")
        if not shutil.which("docker") or found.tried("compose", "version").returncode:
            raise MissingTool(
                "docker compose", "the package docker-compose-plugin, docker-compose-v2 or docker-compose"
            )
        yield found
        return
    with own.engine(place) as docker:
        yield docker
