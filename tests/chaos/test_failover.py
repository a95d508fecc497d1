"""Failovers of the database under load, with a Redis Cluster and consumers of several workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.fault import FillRedis
from tests.chaos.kinds import FAULTS
from tests.chaos.play import play
from tests.chaos.repeats import repeats
from tests.chaos.scene import Scene
from tests.chaos.schedule import draw
from tests.chaos.stage import PER_SECOND, add_replica, staged, start_stack
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.fixtures import started
from tests.support.stack.replicated import Replicated

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def stack_for_failovers() -> Iterator[Stack]:
    with started(lambda: start_stack(redis="cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def servers(stack_for_failovers: Stack) -> Replicated:
    return add_replica(stack_for_failovers)


@pytest.fixture
def scene(
    stack_for_failovers: Stack, servers: Replicated, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Scene]:
    servers.rejoin()
    with staged(
        stack_for_failovers, request.node.name, tmp_path, servers=servers, arguments=("--workers", "2")
    ) as live:
        yield live


def check(scene: Scene, seed: str, *kinds: str, count: int) -> None:
    """Play a round with so many faults, and have no complaint."""
    schedule = draw(seed, {name: FAULTS[name] for name in kinds}, PER_SECOND, count=count)
    problems = play(scene, schedule)
    assert not problems, "\n".join([f"seed {seed}", *problems, scene.fleet.logs()])


def test_the_database_fails_over_and_back(scene: Scene) -> None:
    check(scene, "failover", "failover-database", count=2)


def test_connect_is_killed_between_two_failovers(scene: Scene) -> None:
    """What Debezium had read from one server it sends again as it stands in the log of the other."""
    check(scene, "again", "failover-database", "kill-connect", count=4)
    assert repeats(scene.stack, scene.topics) > 0


def test_masters_of_the_cluster_fail_over_and_slots_move(scene: Scene) -> None:
    check(scene, "masters", "failover-redis", "move-slots", "kill-consumer", count=5)


def test_consumers_and_a_cluster_fail_too(scene: Scene) -> None:
    check(scene, "all", "failover-database", "kill-consumer", "restart-redis", "hang-redis", "cut-replies", count=6)


def test_a_replica_that_clients_do_not_know_gets_its_memory_back(scene: Scene) -> None:
    """It was restarted and has not found its master yet. Later it may be the master."""
    fault = FillRedis(Random("memory"))  # noqa: S311  # chance, not secrets
    fault.inject(scene)
    ((master, replica), *_) = scene.stack.redis_cluster.pairs()
    scene.gates.part(master)
    replica.kill()
    replica.start()
    with replica.connect() as client:
        client.config_set("maxmemory", "1mb")  # a restart removes it
    try:
        eventually(lambda: replica.port not in _known_ports(scene), 30, "clients still know it")
        fault.heal(scene)
    finally:
        scene.gates.join(master)
    for node in scene.gates.nodes:
        with node.connect() as client:
            assert client.config_get("maxmemory") == {"maxmemory": "0"}, node.name


def _known_ports(scene: Scene) -> set[int]:
    """Of all nodes that a new client of the cluster knows."""
    with scene.redis() as client:
        return {node.port for node in client.get_nodes()}
