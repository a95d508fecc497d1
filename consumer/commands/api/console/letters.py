"""The dead letters, kept for a moment, and what is done about one."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from consumer.commands.shared.dead_letters.actions import LetterActions
from consumer.commands.shared.options import parsed
from consumer.errors import ConfigError, Place, ServerError
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


class Action(StrEnum):
    """What an operator can do about a dead letter."""

    REPLAY = "replay"
    DISCARD = "discard"

    @classmethod
    def from_text(cls, text: str) -> Action:
        """Parse the action of a form.

        Raises:
            ConfigError: there is no such action.
        """
        try:
            return cls(text)
        except ValueError:
            raise ConfigError("action", "there is no such action", allowed=" or ".join(cls)) from None


def place_of(text: str) -> Place:
    """Parse the place of a record.

    Raises:
        ConfigError: the text is no place.
    """
    return parsed("place", text, Place.from_text, "a place from the list")


class Letters:
    """Reads the dead letter topic, which takes a while, at most every few seconds."""

    def __init__(self, settings: Settings, rules: Rules, schemas: Schemas) -> None:
        self._settings = settings
        self._rules = rules
        self._schemas = schemas
        self._lock = threading.Lock()
        self._acting = threading.Lock()
        self._states: LetterStates | ServerError | None = None
        self._at = 0.0

    def states(self, oldest_s: float = _KEEP_S) -> LetterStates:
        """The state of the topic, at most ``oldest_s`` seconds old.

        Raises:
            ServerUnavailable, ServerError, ConfigError: from Kafka. The first two are kept too: while Kafka hangs, the
                pages that waited for one answer do not each wait for another.
        """
        with self._lock:
            if self._states is None or time.monotonic() - self._at >= oldest_s:
                try:
                    self._states = read_letters(self._settings.kafka, self._settings.dead_letter_topic)
                except ServerError as error:
                    self._states = error
                self._at = time.monotonic()
            if isinstance(self._states, ServerError):
                raise self._states.with_traceback(None)
            return self._states

    def one(self, place: Place) -> Unapplied:
        """The open record at a place.

        Raises:
            ConfigError: there is none.
            ServerUnavailable, ServerError: from Kafka.
        """
        states = self.states()
        found = _at(states, place)
        if found is None:  # it may be newer than what is kept
            states = self.states(_FRESH_S)
            found = _at(states, place)
        if found is None:
            why = "it was handled" if place in states.known else "the topic has no dead letter of it"
            raise ConfigError("place", f"{place} is not an open record: {why}", fix="see the list")
        return found

    def expect(self, place: Place, action: Action) -> LetterResult:
        """What :meth:`act` would do.

        Raises:
            As :meth:`act`.
        """
        return self._done(place, action, is_dry=True, is_silent=True)

    def act(self, place: Place, action: Action, *, is_silent: bool) -> LetterResult:
        """Apply a record again or discard it. Two requests for one record can't both do it.

        Raises:
            ConfigError: there is no such open record.
            ServerUnavailable, ServerError: from Redis, Kafka or the registry.
        """
        with self._acting:
            self.forget()  # somebody else may have handled it
            try:
                return self._done(place, action, is_dry=False, is_silent=is_silent)
            finally:
                self.forget()

    def _done(self, place: Place, action: Action, *, is_dry: bool, is_silent: bool) -> LetterResult:
        chosen, results = self.one(place), list[LetterResult]()

        def say(found: Sequence[LetterResult]) -> None:
            results.extend(found)

        actions = LetterActions(self._settings, self._databases(action), self._schemas, is_dry, is_silent)
        (actions.discard if action is Action.DISCARD else actions.reapply)([chosen], say)
        (result,) = results
        return result

    def forget(self) -> None:
        """Read the topic again at the next question."""
        with self._lock:
            self._states = None

    def _databases(self, action: Action) -> Rules:
        """As `run`, which does not apply rows of other databases."""
        if action is Action.DISCARD:
            return self._rules
        found = selected(self._settings, self._rules, self._schemas, group_databases.load)
        return replace(self._rules, databases=found.databases)


def _at(states: LetterStates, place: Place) -> Unapplied | None:
    return next((each for each in states.open() if each.place == place), None)
