"""The file of a replay: what is done once it says so, and what makes it begin again."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.drift import Difference
from consumer.errors import ConfigError
from consumer.keys import UserId
from consumer.replay.bounds import Span
from consumer.replay.state import ReplayState, packed
from consumer.replay.summary import Summary

SPANS = [Span("t", 0, 0, 9), Span("t", 1, 3, 7)]


def test_it_goes_on_with_the_ends_it_began_with(tmp_path: Path) -> None:
    state = ReplayState(tmp_path / "state")
    assert state.begin("all", "run 1", SPANS) == SPANS
    summary = Summary(7, {"created": 3})
    summary.differ(Difference("field differs", "k", (("a", None, "1"),)), 5)
    state.finish(1, summary, packed([UserId("live", 9), UserId("live", 2)]))
    state.finish(0, Summary(), packed([UserId("live", 5), UserId("demo", 1)]))
    state.reach(0, {"t": 4}, Summary(4))
    state.close()
    again = ReplayState(tmp_path / "state")
    assert again.begin("all", "run 1", [Span("t", 0, 0, 99)]) == SPANS
    assert again.summary(1) == summary
    assert again.summary(0) is None
    assert again.reached(0) == ({"t": 4}, Summary(4))
    assert again.reached(2) == ({}, Summary())
    assert {user_type: list(ids) for user_type, ids in again.users().items()} == {"live": [2, 5, 9], "demo": [1]}
    again.close()


def test_of_another_redis_nothing_is_done(tmp_path: Path) -> None:
    state = ReplayState(tmp_path / "state")
    state.begin("all", "run 1", SPANS)
    state.finish(0, Summary(1), packed([UserId("live", 9)]))
    assert state.begin("all", "run 2", []) == SPANS
    assert state.summary(0) is None
    assert state.users() == {}
    state.finish(0, Summary(1))
    assert state.begin("all", "run 2", []) == SPANS
    assert state.summary(0) == Summary(1)
    state.close()


def test_of_another_replay_or_of_no_replay_it_is_refused(tmp_path: Path) -> None:
    state = ReplayState(tmp_path / "state")
    state.begin("all", "run 1", SPANS)
    with pytest.raises(ConfigError, match="another replay"):
        state.begin("one user", "run 1", SPANS)
    state.close()
    (tmp_path / "other").write_text("not a database at all, " * 100)
    with pytest.raises(ConfigError):
        ReplayState(tmp_path / "other")
    with pytest.raises(ConfigError):
        ReplayState(tmp_path / "nowhere" / "state")
