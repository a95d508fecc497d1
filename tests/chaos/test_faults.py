"""Each fault by itself, on real servers, with changes going on; the verdict is the same for all.

The seeds are fixed: a failed test, run again, makes the same changes and the same faults at the same steps.
``make faults`` draws new ones, and mixes all kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.kinds import FAULTS
from tests.chaos.play import play
from tests.chaos.repeats import repeats
from tests.chaos.scene import Scene
from tests.chaos.schedule import draw
from tests.chaos.stage import CLIENTS, PER_SECOND, snapshot_again, staged, start_stack
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.fixtures import started

pytestmark = pytest.mark.stack
# What shows that the consumers felt it: words of their log.
FELT = {
    "restart-redis": "redis.resumed",
    "hang-redis": "redis.resumed",
    "fill-redis": "used memory > 'maxmemory'",
    "cut-replies": "redis.resumed",
    "wrong-type": "WRONGTYPE",
}
MOST_ROUNDS = 5
OTHERS = ("zombie", "join-and-leave", "restart-broker", "freeze-broker")


@pytest.fixture(scope="module")
def stack_for_faults() -> Iterator[Stack]:
    """Servers with an append-only file and a long offset flush, for this module only."""
    with started(start_stack) as running:
        yield running


@pytest.fixture
def scene(stack_for_faults: Stack, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with staged(stack_for_faults, request.node.name, tmp_path) as live:
        yield live


def check(scene: Scene, seed: str, *kinds: str, count: int = 0, seconds: float = 0) -> None:
    """Play a round with so many faults, or of so many seconds, and have no complaint."""
    schedule = draw(seed, {name: FAULTS[name] for name in kinds}, PER_SECOND, count=count, seconds=seconds)
    problems = play(scene, schedule)
    assert not problems, "\n".join([f"seed {seed}", *problems, scene.fleet.logs()])


@pytest.mark.parametrize("name", sorted(FELT))
def test_redis_fails_and_all_is_well_after_it(scene: Scene, name: str) -> None:
    """A fault may come while nothing is under way: rounds are played until a consumer has felt one."""
    for number in range(MOST_ROUNDS):
        check(scene, f"{name}-{number}", name, count=2)
        if FELT[name] in scene.fleet.said():
            return
    pytest.fail(f"no consumer said {FELT[name]}")


@pytest.mark.parametrize("name", OTHERS)
def test_another_fault_and_all_is_well_after_it(scene: Scene, name: str) -> None:
    check(scene, name, name, count=1)


@pytest.mark.parametrize("client", CLIENTS)
def test_connections_to_kafka_break_and_all_is_well_after_it(
    stack_for_faults: Stack, tmp_path: Path, client: str
) -> None:
    with staged(stack_for_faults, client, tmp_path, settings={"CDC_KAFKA__CLIENT": client}) as scene:
        check(scene, client, "break-kafka", count=2)
        assert scene.kafka_gate.broken > 0


def test_kill_9_at_random_moments_twenty_times(scene: Scene) -> None:
    check(scene, "twenty", "kill-consumer", count=20)


def test_connect_killed_sends_thousands_of_changes_again(scene: Scene) -> None:
    for _ in range(100):
        scene.workload.write(scene.script.burst())
    eventually(scene.is_heard, 60, "not everything was heard")
    check(scene, "again", "kill-connect", count=1)
    assert repeats(scene.stack, scene.topics) > 2000


def test_mysql_begins_its_log_again(scene: Scene) -> None:
    """RESET MASTER. Debezium can't go on from a log that is gone: what it had not read is lost, and told nobody.

    So the writers pause until all was read. Then nothing is lost: the new log has lower positions, and the same GTIDs
    for other changes, and everything is applied from the first change on.
    """
    check(scene, "before", seconds=3)
    with scene.database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("RESET MASTER")
        # Debezium streams nothing after a snapshot at which no transaction had been executed yet.
        cursor.execute("CREATE DATABASE after_reset")
        cursor.execute("DROP DATABASE after_reset")
    snapshot_again(scene)
    check(scene, "after", seconds=3)
