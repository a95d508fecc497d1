"""Which messages of a user the streams have: only as much of a stream is read as is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import redis

from consumer.commands.shared.explain.sent import sent_messages
from consumer.commands.shared.explain.timeline import SentMessage, Wanted, wanted
from consumer.mapping.reference import reference
from consumer.mapping.streams import Streams
from tests.unit.commands.test_explain import USER
from tests.unit.commands.test_timeline import night, traced

RULES = replace(reference(), streams=Streams(key="s:<channel>"))
PAGE = 500


class Server:
    """The streams of a server, by key; a key with an exception refuses."""

    def __init__(self, **streams: list[tuple[str, dict[str, str]]] | Exception) -> None:
        self._streams = {f"s:{name}": entries for name, entries in streams.items()}
        self.asked: list[tuple[str, ...]] = []

    def ask(self, questions: Sequence[tuple[str, ...]]) -> list[Any]:
        self.asked += questions
        return [self._answer(*each) for each in questions]

    def _answer(self, verb: str, key: str, start: str, end: str, _: str, count: str) -> Any:
        assert verb == "XRANGE"
        found = self._streams.get(key, [])
        if isinstance(found, Exception):
            return found
        return [each for each in found if _order(start) <= _order(each[0]) <= (int(end), 2**63)][: int(count)]


def _order(name: str) -> tuple[int, int]:
    ms, _, number = name.partition("-")
    return int(ms), int(number or 0)


def entry(ms: int, event_id: str, user: str = "live:123", receivers: str = "2") -> tuple[str, dict[str, str]]:
    return f"{ms}-0", {"event_id": event_id, "user": user, "message": "{}", "receivers": receivers}


def test_without_streams_it_is_not_known() -> None:
    server = Server()
    assert sent_messages(server.ask, reference(), USER, Wanted({"a": frozenset("x")}, 0), 0) is None
    assert server.asked == []


def test_messages_are_found_by_their_event_id_on_each_channel() -> None:
    server = Server(
        a=[entry(90, "old"), entry(100, "x"), entry(101, "other", "live:7"), entry(102, "y", receivers="")],
        b=[entry(103, "x", receivers="0"), entry(104, "x")],
    )
    found = sent_messages(server.ask, RULES, USER, Wanted({"a": frozenset("xy"), "b": frozenset("x")}, 100), 5)
    assert found is not None
    assert found.messages == {
        "x": [SentMessage("a", 100, 2, "{}"), SentMessage("b", 103, 0, "{}")],
        "y": [SentMessage("a", 102, None, "{}")],
    }
    assert found.unreadable == {}
    assert [each[2] for each in server.asked] == ["95", "95"], "from the first change on, as far as clocks may differ"


def test_a_stream_is_read_until_all_messages_are_found() -> None:
    server = Server(a=[entry(100 + at, "x" if at == 3 else f"o{at}") for at in range(3 * PAGE)])
    found = sent_messages(server.ask, RULES, USER, Wanted({"a": frozenset("x")}, 0), 0)
    assert found is not None
    assert found.messages["x"] == [SentMessage("a", 103, 2, "{}")]
    assert len(server.asked) == 1
    sent_messages(server.ask, RULES, USER, Wanted({"a": frozenset("z")}, 0), 0)
    assert len(server.asked) == 1 + 4, "it may come later than any other"


def test_a_stream_that_redis_refuses_is_named() -> None:
    server = Server(a=redis.ResponseError("NOPERM"), b=[entry(100, "x")])
    found = sent_messages(server.ask, RULES, USER, Wanted({"a": frozenset("x"), "b": frozenset("x")}, 0), 0)
    assert found is not None
    assert found.unreadable == {"s:a": "NOPERM"}
    assert found.messages == {"x": [SentMessage("b", 100, 2, "{}")]}


def test_only_messages_of_changes_that_were_applied_are_looked_for(tmp_path: Path) -> None:
    found = night(tmp_path)
    changes = traced(found).changes
    asked = wanted([each for each in changes if each.record.offset in (3, 4, 5, 9)], USER)
    assert {name: len(ids) for name, ids in asked.event_ids.items()} == {
        "user_updates": 1,
        "admin_user_updates": 1,
        "group_updates": 1,
    }
    assert asked.since_ms == found[3].timestamp_ms
    assert wanted([], USER) == Wanted({}, 0)
