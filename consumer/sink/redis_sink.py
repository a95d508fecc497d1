"""Applies plans to one Redis server or a cluster: guarded, in order for each user, and clears their wildcard keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, compress
from operator import not_
from typing import TypeAlias

import redis
import structlog

from consumer.errors import Reconnected, Refused, ServerError, ServerUnavailable
from consumer.events.record import Partition
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode
from consumer.settings.sections import Guard, Redis
from consumer.sink.address import Kind
from consumer.sink.client import address_of, translate
from consumer.sink.cluster.servers import ClusterServers
from consumer.sink.one_server import OneServer
from consumer.sink.servers import Answers, Servers

_log = structlog.get_logger(__name__)
_Numbered: TypeAlias = tuple[int, Plan]
_REBUILD = Mode.REBUILD  # looked up once (decision 29)


class RedisSink:
    """Redis, as a :class:`consumer.pipeline.protocols.Sink`."""

    def __init__(self, server: Redis, guard: Guard, rules: Rules, group: str = "") -> None:
        kind = ClusterServers if address_of(server).kind is Kind.CLUSTER else OneServer
        self._servers: Servers = kind(server, guard, rules, group)
        self._index = self._servers.index
        self._unanswered: Sequence[str] = ()
        """The prefixes of the last look-up, until the answers to its plans are read."""

    def reach(self) -> str:
        """Connect; answers the server's version.

        Raises:
            ServerUnavailable: the server does not answer yet.
            ConfigError: the server refuses these credentials, or can't hold the keys of this mapping.

        """
        server = self._servers.reach()
        self._index.start()
        if server.policy.startswith("allkeys"):
            _log.warning(
                "Redis may evict any key: with a version gone, a duplicate of its user is taken for new",
                action="redis.evicts",
            )
        return server.version

    def is_reachable(self) -> bool:
        """Whether the server answers now."""
        try:
            return self._servers.is_reachable()
        except (redis.RedisError, ServerUnavailable):
            return False

    def index_state(self) -> str:
        """The state of the index of wildcard keys: :attr:`consumer.sink.index.scan_index.KeyIndex.state`."""
        return self._index.state

    def close(self) -> None:
        """Close the connections."""
        self._index.close()
        self._servers.close()

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        wave, waiting = _first_of_each_user(list(enumerate(plans)))
        return self._answers(wave, waiting, self._send(wave)) if wave else iter(())

    def _answers(
        self, wave: list[_Numbered], waiting: list[_Numbered], answers: Answers
    ) -> Iterator[tuple[int, Applied | ServerError]]:
        while True:
            blocked = set()
            anew: Reconnected | None = None
            for (number, plan), answer in zip(wave, answers(), strict=True):
                if isinstance(answer, Reconnected):
                    anew = answer
                    continue
                if waiting and (isinstance(answer, ServerError) or answer.verdict is Verdict.UNHEALED):
                    blocked.add((plan.user, plan.table))
                yield number, answer
            if anew is not None:
                raise anew
            if not waiting:
                return
            waiting = [(number, plan) for number, plan in waiting if (plan.user, plan.table) not in blocked]
            wave, waiting = _first_of_each_user(waiting)
            if not wave:
                return
            answers = self._send(wave)

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        with _translated():
            return self._servers.store_offsets(offsets, replay_key)

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        with _translated():
            return self._servers.advance(offsets)

    def stored_offsets(self) -> Mapping[Partition, int]:
        with _translated():
            return self._servers.stored_offsets()

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None:
        with _translated():
            self._servers.store_stop_offsets(offsets)

    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None:
        with _translated():
            self._servers.delete_stop_offsets(partitions)

    def accept_new_connection(self) -> None:
        self._servers.accept_new_connection()

    def _send(self, wave: Sequence[_Numbered]) -> Answers:
        plans = [plan for _, plan in wave]
        if any(plan.shape.prefixes for plan in plans):
            return self._send_with_derived(plans)
        with _translated():
            return partial(self._received, self._servers.send(plans, [()] * len(plans)))

    def _received(self, answers: Answers) -> Sequence[Applied | ServerError]:
        with _translated():
            return answers()

    def _send_with_derived(self, plans: Sequence[Plan]) -> Answers:
        by_plan = [plan.prefixes for plan in plans]
        prefixes = list(chain.from_iterable(by_plan))
        with _translated():
            if self._unanswered:  # the pipeline gave up the last plans: they may be applied
                given_up, self._unanswered = self._unanswered, ()
                self._index.close_windows(given_up, set(given_up))
            found = self._index.matching(prefixes)
            derived: list[Sequence[str]] = [()] * len(plans)
            if any(found.values()):
                derived = [[*chain.from_iterable(map(found.__getitem__, some))] for some in by_plan]
            try:
                answers = self._servers.send(plans, derived)
            except BaseException:
                self._index.close_windows(prefixes, set(prefixes))
                raise
            self._unanswered = prefixes
        return partial(self._received_with_derived, plans, by_plan, prefixes, answers)

    def _received_with_derived(
        self, plans: Sequence[Plan], by_plan: Sequence[Sequence[str]], prefixes: Sequence[str], answers: Answers
    ) -> Sequence[Applied | ServerError]:
        cleared = set(prefixes)  # until the answers are known: they may be lost although the plans were applied
        with _translated():
            try:
                found = answers()
                have_cleared = [*map(_may_have_cleared, plans, found)]
                if not all(have_cleared):
                    cleared = {*chain.from_iterable(compress(by_plan, have_cleared))}
            finally:
                self._unanswered = ()
                self._index.close_windows(prefixes, cleared)
        return found


@contextmanager
def _translated() -> Iterator[None]:
    """Translates redis-py's exceptions in the block to this program's errors."""
    try:
        yield
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from error


def _first_of_each_user(
    waiting: list[_Numbered],
) -> tuple[list[_Numbered], list[_Numbered]]:
    """Split into the plans to send now, at most one for each user and table, and the rest.

    A later plan of a user and table is sent only after the earlier one was acknowledged. If the earlier one failed, the
    guard would accept the later one and refuse the retry as old. Then what only the earlier one writes would be lost.
    """
    versions = [(plan.user, plan.shape.table) for _, plan in waiting]
    if len(set(versions)) == len(waiting):
        return _without_messages_first(waiting), []
    first: dict[tuple[UserId, str], _Numbered] = {}
    rest = [
        each for version, each in zip(versions, waiting, strict=True) if first.setdefault(version, each) is not each
    ]
    return _without_messages_first(list(first.values())), rest


def _without_messages_first(wave: list[_Numbered]) -> list[_Numbered]:
    """Plans without messages first: a subscriber that gets a deposit finds its transaction's fields in Redis."""
    are_silent = [not plan.shape.channels for _, plan in wave]
    if not any(are_silent):
        return wave
    return [*compress(wave, are_silent), *compress(wave, map(not_, are_silent))]


def _may_have_cleared(plan: Plan, answer: Applied | ServerError) -> bool:
    if isinstance(answer, ServerError):
        return not isinstance(answer, Refused)
    if plan.shape.mode is _REBUILD and not answer.differed:
        return False
    return answer.is_accepted
