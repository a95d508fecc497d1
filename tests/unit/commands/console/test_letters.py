"""How often the dead letter topic is read for the console."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from consumer.commands.api.console.letters import Letters
from consumer.errors import ConfigError
from consumer.events.avro import NO_SCHEMAS
from consumer.mapping.reference import reference
from consumer.pipeline.letter_state import LetterStates
from consumer.settings.sources import Settings
from tests.unit.commands.console.desk import Clock


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
    with pytest.raises(ConfigError, match="is not an open record"):
        letters.one(place)
