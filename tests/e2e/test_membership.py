"""The source as a member of a group on a real broker: restarts, a second process of one name, zombies, outages."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from consumer.errors import ServerError, ServerUnavailable
from consumer.observability.metrics import Metrics
from tests.e2e.group import written
from tests.e2e.process import Process
from tests.e2e.topic import EITHER_CLIENT, Topic, together
from tests.support.redis_view import eventually
from tests.support.stack import Stack

pytestmark = [pytest.mark.stack, EITHER_CLIENT]


def test_a_static_member_that_restarts_disturbs_nobody(topic: Topic, stack: Stack) -> None:
    topic.make(partitions=4)

    def generations() -> list[int]:
        return written(stack.kafka, topic.prefix).generations

    with topic.member(instance_id="stays") as stays:
        with topic.member(instance_id="restarts") as restarts:
            eventually(lambda: together([stays, restarts], 4))
            before = generations(), stays.partitions
            had = restarts.partitions
            stays.revoked.clear()
        with topic.member(instance_id="restarts") as again:
            eventually(lambda: together([stays, again], 4))
            topic.send(1, partition=min(had))
            topic.send(1, partition=min(before[1]))
            again.read([0])
            stays.read([0])
            assert again.partitions == had
        assert (max(generations()), stays.partitions) == (max(before[0]), before[1])
        assert stays.revoked == []


def test_without_a_name_a_restart_moves_partitions(topic: Topic, stack: Stack) -> None:
    """What the name is for: the test before would pass for nothing if this did not hold."""
    topic.make(partitions=4)
    with topic.member() as stays:
        with topic.member() as restarts:
            eventually(lambda: together([stays, restarts], 4))
            before = written(stack.kafka, topic.prefix)
            stays.revoked.clear()
        eventually(lambda: together([stays], 4))
        assert stays.revoked != []
        assert max(written(stack.kafka, topic.prefix).generations) > max(before.generations)


def test_a_second_process_of_the_same_name_fences_the_first(topic: Topic, stack: Stack, tmp_path: Path) -> None:
    topic.make()
    environment = topic.environment() | {
        "CDC_REDIS__URL": stack.redis.url,
        "CDC_KAFKA__INSTANCE_ID": "one",
        "CDC_KAFKA__SESSION_TIMEOUT_MS": "3000",
    }
    first = Process(environment, tmp_path / "first")
    try:
        eventually(lambda: "group.assigned" in first.said(), 30)
        second = Process(environment, tmp_path / "second")
        try:
            assert first.wait(30) == 1
            *_, sentence, advice = first.said().splitlines()
            assert "FencedInstanceIdError" in sentence
            assert "CDC_KAFKA__INSTANCE_ID" in advice
            assert "Traceback" not in first.said()
            eventually(lambda: "group.assigned" in second.said(), 30)
            os.kill(second.pid, signal.SIGTERM)
            assert second.wait() == 0
        finally:
            second.close()
    finally:
        first.close()


def test_a_fenced_commit_halts(topic: Topic) -> None:
    topic.make()
    topic.send(2)
    with topic.member(instance_id="one") as first:
        first.read([0, 1])
        with topic.member(instance_id="one") as second:
            second.read([0, 1])
            with pytest.raises(ServerError, match="FencedInstanceIdError") as halt:
                first.source.commit({topic.part: 2})
            assert not isinstance(halt.value, ServerUnavailable)
            assert "CDC_KAFKA__INSTANCE_ID" in halt.value.advice


def test_a_zombie_does_not_move_the_offset_back(topic: Topic) -> None:
    """It did not poll for too long, so the group gave its partition away; it does not know yet."""
    topic.make()
    topic.send(5)
    with topic.member(max_poll_interval_ms=1000, session_timeout_ms=1000) as zombie:
        zombie.read([0, 1, 2, 3, 4])
        with topic.member() as successor:
            successor.read([0, 1, 2, 3, 4])
            assert successor.source.commit({topic.part: 5})
            assert not zombie.source.commit({topic.part: 3})
            assert topic.committed() == 5

            def has_noticed() -> bool:
                successor.poll()
                zombie.poll()
                return zombie.revoked == [topic.part]

            eventually(has_noticed)
            assert topic.committed() == 5
            assert successor.source.commit({topic.part: 5})
        topic.send(1)
        zombie.read([0, 1, 2, 3, 4, 5])
        assert zombie.source.commit({topic.part: 6})
    assert topic.committed() == 6


def test_the_lag_is_known_after_a_rebalance_though_nothing_is_written(topic: Topic) -> None:
    """Else a program at rest would not be ready."""
    topic.make(partitions=2)
    other = topic.part._replace(number=1)
    topic.send(1)
    with topic.member() as member:
        member.read([0])
        assert member.source.commit({topic.part: 1})
        with topic.member() as passer_by:
            eventually(lambda: together([member, passer_by], 2))
        member.revoked.clear()

        def is_known() -> bool:
            member.poll()
            return member.revoked != [] and member.source.lag() == {topic.part: 0, other: 0}

        eventually(is_known)


class _Told(Metrics):
    was_interrupted = False

    def interrupted(self, error: ServerError, seconds: float) -> None:
        super().interrupted(error, seconds)
        self.was_interrupted = True


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_broker_that_is_away_is_waited_for(
    topic: Topic, stack: Stack, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    topic.make()
    topic.send(1)
    metrics = _Told()
    broker = stack.kafka
    stop, start = (broker.kill, broker.start) if how == "kill" else (broker.freeze, broker.thaw)
    with topic.member(metrics, session_timeout_ms=3000) as member:
        is_ready = partial(member.is_ready, metrics)
        member.read([0])
        assert member.source.commit({topic.part: 1})
        eventually(is_ready)
        stop()
        try:
            eventually(lambda: not is_ready() and metrics.was_interrupted, 30)
            assert not member.source.commit({topic.part: 1})
        finally:
            start()
        eventually(is_ready, 60, "reading again")
        topic.send(1)
        member.read([0, 1])
        assert member.source.commit({topic.part: 2})
    said = [line for line in capsys.readouterr().out.splitlines() if "action=kafka." in line]
    assert ["kafka.waiting" in line for line in said] == [True, False]
