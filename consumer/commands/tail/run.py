"""``tail``: follows the topics beside the group, and decides each record as ``run`` does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog

from consumer.commands.shared.stop import Stop
from consumer.commands.tail.line import user_of
from consumer.errors import ServerUnavailable
from consumer.events.avro import Schemas
from consumer.events.record import SourceRecord
from consumer.guard.history import Histories
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.pipeline.protocols import Observer
from consumer.pipeline.retry import KAFKA, REDIS, REGISTRY, Outages, Reminder, retry
from consumer.planning.decision import Decision, Outcome, decide_all
from consumer.settings.sources import Settings
from consumer.sink import group_databases
from consumer.source.bounds import Bound
from consumer.source.consumed_topics import selected
from consumer.source.earlier import KafkaEarlierRecords
from consumer.source.follower import TopicFollower
from consumer.source.topic_selection import Selection

_log = structlog.get_logger(__name__)
_POLL_S = 0.2
_LACKING_S = 2.0
_T = TypeVar("_T")

Say = Callable[[SourceRecord, Decision], None]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which decisions to show; an empty set means all."""

    users: frozenset[UserId] = frozenset()
    tables: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    outcomes: frozenset[Outcome] = frozenset()

    def takes(self, decision: Decision, rules: Rules) -> bool:
        """Whether to show this decision, made with ``rules``."""
        if self.outcomes and decision.outcome not in self.outcomes:
            return False
        if self.tables and decision.table not in self.tables:
            return False
        if self.users and user_of(decision, rules) not in self.users and not self._is_marked(decision):
            return False
        plan = decision.plan
        return not self.channels or (
            plan is not None and not self.channels.isdisjoint(message.channel for message in plan.messages)
        )

    def _is_marked(self, decision: Decision) -> bool:
        """Whether a record that can't be read may be about one of the users."""
        return any(mark.user in self.users for mark in decision.marks)


def tail(
    settings: Settings, rules: Rules, schemas: Schemas, begin: Bound, wanted: Filter, say: Say, stop: Stop
) -> None:
    """Follow the topics from ``begin`` on until told to stop. While a server is away, it is waited for.

    Raises:
        ConfigError: a setting is wrong.
        ServerError: reading can't continue.
    """
    waits = _Waits(Outages(Observer(), settings.log.repeat_s), stop)
    try:
        selection = waits.retried(lambda: _selected(settings, rules, schemas, stop))
        if stop():
            return
        rules = replace(rules, databases=selection.databases)
        with ExitStack() as exits:
            follower = waits.retried(lambda: TopicFollower(settings.kafka, selection, begin, settings.log.repeat_s))
            exits.enter_context(closing(follower))
            earlier = KafkaEarlierRecords(settings.kafka, schemas, placeholder=rules.placeholder)
            exits.enter_context(closing(earlier))
            history = Histories(earlier, settings.guard.clock_ms)
            while not stop():
                records = follower.poll(_POLL_S)
                decide = partial(decide_all, records, rules, schemas, selection.tables, history)
                decisions = waits.retried(decide) if records else []
                for record, decision in zip(records, decisions, strict=True):
                    if wanted.takes(decision, rules):
                        say(record, decision)
    except ServerUnavailable:
        if not stop():
            raise


class _Waits:
    """Repeats what fails while a server is away, and logs that."""

    def __init__(self, outages: Outages, stop: Stop) -> None:
        self._outages = outages
        self._stop = stop

    def retried(self, attempt: Callable[[], _T]) -> _T:
        """The answer of ``attempt``, as soon as its server is available.

        Raises:
            ServerUnavailable: told to stop while the server was away.
        """
        found = retry(attempt, sleep=self._stop.wait, on_wait=self._failed, should_stop=self._stop)
        for server in (KAFKA, REDIS, REGISTRY):
            self._outages.succeeded(server)
        return found

    def _failed(self, error: ServerUnavailable, seconds: float) -> None:
        self._outages.failed(error, seconds)


def _selected(settings: Settings, rules: Rules, schemas: Schemas, stop: Stop) -> Selection:
    """The topics to follow; waits until there is one, or until told to stop."""
    reminder = Reminder(settings.log.repeat_s)
    while True:
        found = selected(settings, rules, schemas, group_databases.load_if_reachable)
        if not found.lacking or stop():
            return found
        if reminder.is_due(found.lacking):
            _log.warning("there is no topic to read yet, waiting", action="tail.waiting", lacking=found.lacking)
        stop.wait(_LACKING_S)
