"""The dead letters, kept for a moment, and what is done about one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from consumer.commands.shared.dead_letters.actions import LetterActions
from consumer.errors import ConfigError, Place
from consumer.events.avro import Schemas
from consumer.mapping.rules import Rules
from consumer.pipeline.letter_state import LetterResult, LetterStates, Unapplied
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.source.consumed_topics import selected
from consumer.source.letter_reader import read_letters

_KEEP_S = 5.0
_FRESH_S = 1.0
"""A place that is not in a list of this age is asked for again; it costs a reading of the whole topic."""
REPLAY, DISCARD = "replay", "discard"


class Letters:
    """Reads the dead letter topic, which takes a while, at most every few seconds."""

    def __init__(self, settings: Settings, rules: Rules, schemas: Schemas) -> None:
        self._settings = settings
        self._rules = rules
        self._schemas = schemas
        self._lock = threading.Lock()
        self._states: LetterStates | None = None
        self._at = 0.0

    def states(self, oldest_s: float = _KEEP_S) -> LetterStates:
        """The state of the topic, at most ``oldest_s`` seconds old.

        Raises:
            ServerUnavailable, ServerError, ConfigError: from Kafka.
        """
        with self._lock:
            if self._states is None or time.monotonic() - self._at >= oldest_s:
                self._states = read_letters(self._settings.kafka, self._settings.dead_letter_topic)
                self._at = time.monotonic()
            return self._states

    def one(self, place: str) -> Unapplied:
        """The open record at a place.

        Raises:
            ConfigError: there is none.
            ServerUnavailable, ServerError: from Kafka.
        """
        try:
            wanted = Place.from_text(place)
        except ValueError as error:
            raise ConfigError("place", f"{place!r} {error}", allowed="a place from the list") from None
        found = _at(self.states(), wanted)
        if found is None:  # it may be newer than what is kept
            found = _at(self.states(_FRESH_S), wanted)
        if found is None:
            raise ConfigError("place", f"{wanted} is not an open record: it was handled", fix="see the list")
        return found

    def act(self, place: str, action: str, *, is_dry: bool = False, is_silent: bool = False) -> LetterResult:
        """Apply a record again or discard it. ``is_dry``: only say what would happen.

        Raises:
            ConfigError: there is no such open record, or no such action.
            ServerUnavailable, ServerError: from Redis, Kafka or the registry.
        """
        if action not in (REPLAY, DISCARD):
            raise ConfigError("action", "there is no such action", allowed=f"{REPLAY} or {DISCARD}")
        if not is_dry:
            self.forget()  # somebody else may have handled it
        chosen, results = self.one(place), list[LetterResult]()

        def say(found: Sequence[LetterResult]) -> None:
            results.extend(found)

        actions = LetterActions(self._settings, self._databases(action), self._schemas, is_dry, is_silent)
        (actions.discard if action == DISCARD else actions.reapply)([chosen], say)
        if not is_dry:
            self.forget()
        (result,) = results
        return result

    def forget(self) -> None:
        """Read the topic again at the next question."""
        with self._lock:
            self._states = None

    def _databases(self, action: str) -> Rules:
        """As `run`, which does not apply rows of other databases."""
        if action == DISCARD:
            return self._rules
        found = selected(self._settings, self._rules, self._schemas, group_databases.load)
        return replace(self._rules, databases=found.databases)


def _at(states: LetterStates, place: Place) -> Unapplied | None:
    return next((each for each in states.open() if each.place == place), None)
