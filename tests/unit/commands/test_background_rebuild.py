"""A member's own rebuild, in its thread: what makes it begin again, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from consumer.commands.replay import background
from consumer.commands.replay.background import BackgroundRebuild
from consumer.commands.replay.summary import Summary
from consumer.commands.replay.work import Finished, RedisReplaced, Wanted
from consumer.errors import RecordsGone, ServerError
from consumer.events.record import Partition
from consumer.events.topic_tables import TopicTables
from consumer.mapping.reference import reference
from consumer.settings import sources as config
from consumer.source.bounds import Span

PART = Partition("t.trading.live_users", 0)


class View:
    """A Redis that holds each replay key."""

    def __init__(self, _: object) -> None:
        pass

    def run(self) -> str:
        return "run 1"

    def create_replay_key(self, _: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def attempts() -> list[Exception]:
    """What becomes of each attempt; those after them succeed."""
    return []


@pytest.fixture
def rebuild(monkeypatch: pytest.MonkeyPatch, attempts: list[Exception]) -> Iterator[BackgroundRebuild]:
    class Worker:
        def __init__(self, *parts: object) -> None:
            wanted, self._report = parts[2:4]
            assert isinstance(wanted, Wanted)
            assert wanted.run == "run 1"

        def replay(self, number: int, *_: object) -> None:
            if attempts:
                raise attempts.pop(0)
            report: Callable[[object], None] = self._report  # type: ignore[assignment]
            report(Finished(number, Summary()))

        def close(self) -> None:
            pass

    monkeypatch.setattr(background, "RedisView", View)
    monkeypatch.setattr(background, "Worker", Worker)
    monkeypatch.setattr(background, "resolve", lambda *_: [Span(*PART, 0, 9)])
    rules = reference()
    rebuild = BackgroundRebuild(config.load({}, None), rules, TopicTables(rules.captured()))
    yield rebuild
    rebuild.close()


def ended(rebuild: BackgroundRebuild) -> None:
    rebuild.start({PART: 9})
    assert rebuild._run is not None
    rebuild._run.thread.join(10)
    assert not rebuild._run.thread.is_alive()


def test_it_begins_again_after_records_or_writes_were_lost(
    rebuild: BackgroundRebuild, attempts: list[Exception]
) -> None:
    """The members of a group would all end otherwise, each time that retention removes a segment."""
    attempts += [RecordsGone("Kafka", "records are gone"), RedisReplaced()]
    with capture_logs() as lines:
        ended(rebuild)
    assert rebuild.finished()[1] == {0}
    assert [line["action"] for line in lines] == ["replay.again", "replay.again", "redis.rebuilding"]
    assert lines[0]["error"] == "Kafka: records are gone"


def test_any_other_error_reaches_the_loop(rebuild: BackgroundRebuild, attempts: list[Exception]) -> None:
    attempts += [ServerError("Kafka", "refused")]
    ended(rebuild)
    with pytest.raises(ServerError, match="refused"):
        rebuild.finished()
