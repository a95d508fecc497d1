"""Applies records of dead letters again, or discards them, and writes a note for each one that is handled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from consumer.commands.shared.dead_letters.reapply import LetterHistory, predicted, reapply
from consumer.events.avro import Schemas
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import batched
from consumer.pipeline.letter_state import LetterResult, Outcome, Unapplied
from consumer.settings.sources import Settings
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from consumer.source.clients.kafka import topics
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.letter_reader import write_notes

Say = Callable[[Sequence[LetterResult]], None]
"""Is called with results after their notes are written."""


@dataclass(frozen=True, slots=True)
class LetterActions:
    """The actions. ``is_dry``: only report, change nothing. ``is_silent``: publish no messages."""

    settings: Settings
    rules: Rules
    schemas: Schemas
    is_dry: bool
    is_silent: bool

    def reapply(self, chosen: Sequence[Unapplied], say: Say) -> None:
        """Apply what can be applied, in the given order.

        Redis is written first, then the note. If the command is interrupted in between, the next one applies the record
        again, and Redis answers that it already has it.

        Raises:
            ServerUnavailable, Reconnected: Redis, Kafka or the registry went away; what was reported is done.
            ServerError: one of them refuses.
        """
        if not chosen:
            return
        kafka, rules = self.settings.kafka, self.rules
        with closing(KafkaEarlierRecords(kafka, self.schemas, placeholder=rules.placeholder)) as earlier:
            history = LetterHistory(earlier, self.settings.guard.clock_ms, topics(kafka))
            if self.is_dry:
                self._predict(chosen, history, say)
                return
            sink = RedisSink(self.settings.redis, self.settings.guard, rules, kafka.group_id)
            with closing(sink):
                sink.reach()
                for part in batched(chosen):
                    found = reapply(part, sink, rules, self.schemas, history, is_silent=self.is_silent)
                    self._write_notes(found, say)

    def discard(self, chosen: Sequence[Unapplied], say: Say) -> None:
        """Discard records: note that they are handled.

        Raises:
            ServerUnavailable, ServerError: from Kafka.
        """
        for part in batched(chosen):
            results = [LetterResult(each, Outcome.DISCARDED) for each in part]
            if self.is_dry:
                say(results)
            else:
                self._write_notes(results, say)

    def _predict(self, chosen: Sequence[Unapplied], history: LetterHistory, say: Say) -> None:
        with closing(RedisView(self.settings.redis)) as view:
            view.run()  # raises if the server is away or refuses
            for part in batched(chosen):
                say(predicted(part, view, self.rules, self.schemas, history))

    def _write_notes(self, results: Sequence[LetterResult], say: Say) -> None:
        done = [(each.unapplied, each.outcome) for each in results if each.is_done]
        write_notes(self.settings.kafka, self.settings.dead_letter_topic, done)
        say(results)
