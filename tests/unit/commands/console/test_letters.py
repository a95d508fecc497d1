"""How often the dead letter topic is read for the console."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from consumer.commands.api.console.letters import Action, Letters, place_of
from consumer.errors import ConfigError, ServerUnavailable
from consumer.events.avro import NO_SCHEMAS
from consumer.mapping.reference import reference
from consumer.pipeline.letter_state import LetterResult, LetterStates, Outcome, Unapplied
from consumer.settings.sources import Settings
from tests.support.redis_view import eventually
from tests.unit.commands.console.desk import Clock
from tests.unit.commands.console.test_shown_values import letter


def test_places_that_are_unknown_do_not_read_the_topic_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, clock = list[str](), Clock()

    def read(_: object, topic: str) -> LetterStates:
        reads.append(topic)
        return LetterStates("g")

    monkeypatch.setattr("consumer.commands.api.console.letters.read_letters", read)
    monkeypatch.setattr("consumer.commands.api.console.letters.time", SimpleNamespace(monotonic=clock))
    letters = Letters(Settings(), reference(), NO_SCHEMAS)
    for offset in range(20):
        _ask(letters, f"x[0]@{offset}")
    assert len(reads) == 1
    clock.now += 1.5  # the letter may be newer than the list
    _ask(letters, "x[0]@1")
    assert len(reads) == 2


def _ask(letters: Letters, place: str) -> None:
    with pytest.raises(ConfigError, match="is not an open record: the topic has no dead letter of it"):
        letters.one(place_of(place))


def test_pages_that_wait_for_a_kafka_that_hangs_get_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, clock = list[str](), Clock()

    def read(_: object, topic: str) -> LetterStates:
        reads.append(topic)
        clock.now += 4
        raise ServerUnavailable("Kafka", "did not answer")

    monkeypatch.setattr("consumer.commands.api.console.letters.read_letters", read)
    monkeypatch.setattr("consumer.commands.api.console.letters.time", SimpleNamespace(monotonic=clock))
    letters = Letters(Settings(), reference(), NO_SCHEMAS)
    for _ in range(8):
        with pytest.raises(ServerUnavailable):
            letters.states()
    assert len(reads) == 1
    clock.now += 5
    with pytest.raises(ServerUnavailable):
        letters.states()
    assert len(reads) == 2


def test_two_operators_at_once_handle_a_letter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    box, done = LetterStates("g"), list[str]()
    waiting = [letter()]
    monkeypatch.setattr(LetterStates, "open", lambda _: list(waiting))
    monkeypatch.setattr("consumer.commands.api.console.letters.read_letters", lambda *_: box)

    class Actions:
        def __init__(self, *_: object) -> None:
            pass

        def discard(self, chosen: Sequence[Unapplied], say: Callable[[Sequence[LetterResult]], None]) -> None:
            begun.set()
            time.sleep(0.2)  # the other one reaches the same letter meanwhile, if it may
            done.append(str(chosen[0].place))
            waiting.clear()
            box.known.add(chosen[0].place)
            say([LetterResult(chosen[0], Outcome.DISCARDED)])

    monkeypatch.setattr("consumer.commands.api.console.letters.LetterActions", Actions)
    letters, begun, place = Letters(Settings(), reference(), NO_SCHEMAS), threading.Event(), letter().place
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(letters.act, place, Action.DISCARD, is_silent=False)
        eventually(lambda: begun.is_set() or first.done())
        second = pool.submit(letters.act, place, Action.DISCARD, is_silent=False)
        assert first.result().outcome is Outcome.DISCARDED
        with pytest.raises(ConfigError, match="it was handled"):
            second.result()
    assert done == [str(place)]
