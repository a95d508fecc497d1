"""The file of a replay: what is done once it says so, and what makes it begin again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from consumer.commands.replay.state import ReplayState, packed
from consumer.commands.replay.summary import Summary
from consumer.errors import ConfigError
from consumer.events.record import Partition
from consumer.mapping.keys import UserId
from consumer.sink.comparison import Difference
from consumer.source.bounds import Span

SPANS = [Span("t", 0, 0, 9), Span("t", 1, 3, 7)]
ALL = {"--from": "beginning", "--yes": "given"}


def begun(file: Path) -> ReplayState:
    state = ReplayState(file)
    state.begin(ALL, "run 1", SPANS)
    return state


def test_it_goes_on_with_the_ends_it_began_with(tmp_path: Path) -> None:
    state = ReplayState(tmp_path / "state")
    assert state.target(ALL) == ""
    state.begin(ALL, "run 1", SPANS)
    summary = Summary(7, {"created": 3}, found={"live:2"})
    summary.differ(Difference("field differs", "k", (("a", None, "1"),)), 5)
    state.finish(1, summary, packed([UserId("live", 9), UserId("live", 2)]))
    state.finish(0, Summary(), packed([UserId("live", 5), UserId("demo", 1)]))
    state.reach(0, {"t": 4}, Summary(4))
    state.close()
    again = ReplayState(tmp_path / "state")
    assert again.target(ALL) == "run 1"
    assert again.spans() == SPANS
    assert again.summary(1) == summary
    assert again.summary(0) is None
    assert again.reached(0) == ({"t": 4}, Summary(4))
    assert again.reached(2) == ({}, Summary())
    assert {user_type: list(ids) for user_type, ids in again.users().items()} == {"live": [2, 5, 9], "demo": [1]}
    again.close()


def test_begun_again_nothing_is_done_and_the_ends_are_new(tmp_path: Path) -> None:
    state = begun(tmp_path / "state")
    state.finish(0, Summary(1), packed([UserId("live", 9)]))
    state.begin(ALL, "run 2", [Span("t", 0, 0, 99)])
    assert state.target(ALL) == "run 2"
    assert state.spans() == [Span("t", 0, 0, 99)]
    assert state.summary(0) is None
    assert state.users() == {}
    state.close()


def test_begun_again_it_knows_how_far_messages_went_out(tmp_path: Path) -> None:
    state = begun(tmp_path / "state")
    state.reach(0, {"t": 4, "u": 7}, Summary(4))
    state.reach(1, {"t": 5}, Summary(5))
    state.finish(1, Summary(9))
    state.begin(ALL, "run 2", SPANS)
    state.reach(0, {"t": 2, "u": 8}, Summary(2))
    state.close()
    again = ReplayState(tmp_path / "state")
    assert again.published() == {Partition("t", 0): 4, Partition("u", 0): 8, Partition("t", 1): 5}
    assert again.reached(0) == ({"t": 2, "u": 8}, Summary(2))
    again.close()


def test_of_another_replay_it_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    state = begun(tmp_path / "state")
    with pytest.raises(ConfigError, match=r"--from was beginning, now end"):
        state.target(ALL | {"--from": "end"})
    with pytest.raises(ConfigError, match=r"--prune was not given, now given"):
        state.target(ALL | {"--prune": "given"})
    state.close()


def test_of_a_finished_replay_it_is_refused(tmp_path: Path) -> None:
    state = begun(tmp_path / "state")
    state.end()
    state.close()
    again = ReplayState(tmp_path / "state")
    with pytest.raises(ConfigError, match="finished"):
        again.target(ALL)
    again.close()


def test_two_replays_share_no_file(tmp_path: Path) -> None:
    state = begun(tmp_path / "state")
    with pytest.raises(ConfigError, match="another replay is using"):
        ReplayState(tmp_path / "state")
    state.close()
    ReplayState(tmp_path / "state").close()


def test_what_is_no_file_of_a_replay_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    (tmp_path / "text").write_text("not a database at all, " * 100)
    for file in (tmp_path / "foreign", tmp_path / "text", tmp_path / "nowhere" / "state"):
        before = file.read_bytes() if file.exists() else b""
        with pytest.raises(ConfigError) as refusal:
            ReplayState(file)
        assert refusal.value.field == "--resume"
        assert (file.read_bytes() if file.exists() else b"") == before


def test_a_file_that_is_damaged_in_part_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "state"
    state = begun(file)
    for number in range(200):
        state.finish(number, Summary(number, places=["x" * 500]))
    state.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    damaged = ReplayState(file)
    with pytest.raises(ConfigError, match="damaged"):
        [damaged.summary(number) for number in range(200)]
    damaged.close()
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("PRAGMA application_id = 1128547154")
        other.execute("CREATE TABLE replay (wanted, target, spans, is_over)")
        other.execute("INSERT INTO replay VALUES ('{', '', '', 0)")
    other.close()
    state = ReplayState(tmp_path / "other")
    with pytest.raises(ConfigError, match="damaged"):
        state.target(ALL)
    state.close()
