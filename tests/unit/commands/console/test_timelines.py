"""How long a timeline may take, and how many are read at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from consumer.commands.api.health import UnknownUser
from consumer.commands.shared.explain import run, topics
from consumer.commands.shared.explain.asked import Asked
from consumer.commands.shared.explain.timeline import Window
from consumer.commands.shared.explain.topics import ReadLimits
from consumer.errors import ConfigError
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import SourceRecord
from consumer.guard.state import GuardState
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.settings.sources import Settings
from consumer.source.bounds import Span
from tests.unit.commands.console.desk import TOKEN, made

PAGE = "/console/user/timeline?user=live:1"
TIMELINE = "consumer.commands.api.console.user_page.timeline"


def test_a_timeline_that_takes_long_ends_with_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: object, __: object, limits: ReadLimits) -> None:
        for _ in range(3):
            limits.check_found(0)
        raise AssertionError("it was not ended")

    monkeypatch.setattr(TIMELINE, slow)
    monkeypatch.setattr("consumer.commands.api.console.user_page._LONGEST_S", 0.0)
    with made() as console, console.browser(TOKEN) as client:
        answer = client.get(PAGE)
    assert answer.status_code == 400
    assert "range: to read this range takes longer than 0 s; choose a shorter one" in answer.text


def test_two_timelines_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hang(*_: object) -> None:
        begun.release()
        go_on.wait(30)
        raise UnknownUser

    monkeypatch.setattr(TIMELINE, hang)
    with made() as console, console.browser(TOKEN) as client, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.get, PAGE) for _ in range(2)]
        for _ in waiting:
            assert begun.acquire(timeout=30)
        third = client.get(PAGE)
        go_on.set()
        assert third.status_code == 429
        assert {each.result().status_code for each in waiting} == {404}
        assert client.get(PAGE).status_code == 404


class _Redis:
    def __init__(self, *_: object) -> None:
        pass

    def run(self) -> None:
        pass

    def close(self) -> None:
        pass

    def stored_user(self, *_: object) -> SimpleNamespace:
        return SimpleNamespace(guard=GuardState())


def late() -> None:
    raise ConfigError("range", "too late")


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (ReadLimits(records=2), "this range has 3 records in the user's partitions, more than 2"),
        (ReadLimits(of_user=2), "this range has more than 2 records of the user"),
        (ReadLimits(check=late), "too late"),
        (ReadLimits(3, 3), ""),
    ],
)
def test_the_limits_are_checked_while_the_topics_are_read(
    monkeypatch: pytest.MonkeyPatch, limits: ReadLimits, problem: str
) -> None:
    records = [SourceRecord("t", 0, offset, 0, b'{"id": 1}', b'{"id": 1}') for offset in range(3)]

    def read(_: object, spans: Sequence[Span]) -> Iterator[tuple[Span, list[SourceRecord], int]]:
        for record in records:
            yield spans[0], [record], record.offset + 1

    def done(*_: object) -> None:
        raise UnknownUser  # all was read

    monkeypatch.setattr(run, "RedisView", _Redis)
    monkeypatch.setattr(run, "selected", lambda *_: SimpleNamespace(databases=frozenset(), tables=None))
    monkeypatch.setattr(run, "spans_of", lambda *_: [Span("t", 0, 0, 3)])
    monkeypatch.setattr(run, "committed", done)
    monkeypatch.setattr(topics, "read", read)
    asked = Asked(Settings(), reference(), NO_SCHEMAS, UserId("live", 1))
    with pytest.raises(ConfigError if problem else UnknownUser, match=problem or None):
        run.timeline(asked, Window(), limits)
