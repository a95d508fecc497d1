"""Dead letters tried once more: the parts put together for that, and a note of each one that was dealt with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from consumer.commands.dead_letters.release import foreseen, release
from consumer.events.avro import Schemas
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import batched
from consumer.pipeline.letter_state import Outcome, Released, Unapplied
from consumer.settings.sources import Settings
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.letter_reader import write_notes

# Letters of one database transaction are joined within so many, as `run` does it.
_TOGETHER = 500

Say = Callable[[Sequence[Released]], None]
"""Told of what became of some of them, once that is noted."""


@dataclass(frozen=True, slots=True)
class LetterActions:
    """``is_dry``: nothing is done, only told. ``is_silent``: messages do not go out."""

    settings: Settings
    rules: Rules
    schemas: Schemas
    is_dry: bool
    is_silent: bool

    def release(self, chosen: Sequence[Unapplied], say: Say) -> None:
        """Apply what can be applied, in the order given.

        Redis first, then the note: whoever is interrupted in between does it again, and Redis answers that it has it.

        Raises:
            ServerUnavailable, Reconnected: Redis, Kafka or the registry went away; what was told is done.
            ServerError: one of them refuses.
        """
        if not chosen:
            return
        if self.is_dry:
            with closing(RedisView(self.settings.redis)) as view:
                view.run()  # a server that is away, or refuses, says so in one sentence
                for part in batched(chosen, _TOGETHER):
                    say(foreseen(part, view, self.rules, self.schemas))
            return
        sink = RedisSink(self.settings.redis, self.settings.guard, self.rules, self.settings.kafka.group_id)
        with closing(sink):
            sink.reach()
            for part in batched(chosen, _TOGETHER):
                self._noted(release(part, sink, self.rules, self.schemas, is_silent=self.is_silent), say)

    def discard(self, chosen: Sequence[Unapplied], say: Say) -> None:
        """Give them up.

        Raises:
            ServerUnavailable, ServerError: from Kafka.
        """
        for part in batched(chosen, _TOGETHER):
            results = [Released(each, Outcome.DISCARDED) for each in part]
            if self.is_dry:
                say(results)
            else:
                self._noted(results, say)

    def _noted(self, results: Sequence[Released], say: Say) -> None:
        done = [(each.unapplied, each.outcome) for each in results if each.is_done]
        write_notes(self.settings.kafka, self.settings.dead_letter_topic, done)
        say(results)
