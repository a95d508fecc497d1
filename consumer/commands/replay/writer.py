"""Writes the plans of a replay to Redis, or compares them with what Redis holds in a dry run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from consumer.commands.replay.summary import Summary, UserCounts
from consumer.commands.replay.waiting import retried
from consumer.commands.replay.work import Interrupted, RedisReplaced, Wanted
from consumer.errors import Place, Reconnected
from consumer.events.record import Partition
from consumer.guard.version import Verdict
from consumer.mapping.rules import Rules
from consumer.pipeline.batch import Delivery, batched
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.planning.mark import mark_refused
from consumer.planning.shape import Mode
from consumer.settings.sources import Settings
from consumer.sink.comparison import differences, would_apply
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView

_T = TypeVar("_T")

NEWER, OLD, RIGHT = "newer in Redis, left alone", "applied before, or older than what is in Redis", "right already"
TO_WRITE = "would be written"


class Writer:
    """Redis, as a replay uses it. Every call waits for a server that is away."""

    def __init__(self, settings: Settings, rules: Rules, wanted: Wanted, should_stop: Callable[[], bool]) -> None:
        self._rules = rules
        self._wanted = wanted
        self._should_stop = should_stop
        self._attempts = settings.dead_letters.attempts
        self._view = RedisView(settings.redis)
        self._sink = RedisSink(settings.redis, settings.guard, rules, settings.kafka.group_id)
        self._is_connected = False

    def close(self) -> None:
        """Close the connections."""
        self._sink.close()
        self._view.close()

    def reach(self) -> None:
        """Connect, at the first call."""
        if self._is_connected:
            return
        self.retried(self._view.run)
        if not self._wanted.is_dry:
            self.retried(self._sink.reach)
        self._is_connected = True

    def check_replay_key(self) -> None:
        """Raise RedisReplaced if Redis was emptied since the replay began."""
        replay_key = self._wanted.replay_key
        if replay_key and not self.retried(lambda: self._view.replay_key_exists(replay_key)):
            raise RedisReplaced

    def check_end(self) -> None:
        """Raise RedisReplaced if Redis may have lost a write of any worker since the replay began.

        A worker notices a restart only when it uses its connection again, and the replay's key may survive the restart.
        """
        if self._wanted.is_dry:
            return
        self.retried(self._sink.stored_offsets)  # connects, so that the sink notices each later restart
        self._check_run()
        self.check_replay_key()

    def store_offsets(self, offsets: Mapping[Partition, int], stopped: Collection[Partition]) -> None:
        """Store up to where partitions are rebuilt, so that the members that wait at ``stopped`` go on.

        Raises:
            RedisReplaced: Redis was restarted or emptied since :meth:`check_end`; nothing was stored.
        """
        replay_key = self._wanted.replay_key
        if offsets and not self.retried(lambda: self._sink.store_offsets(offsets, replay_key)):
            raise RedisReplaced
        if stopped:
            self.retried(lambda: self._sink.delete_stop_offsets(stopped))

    def write_users(self, plans: Iterable[Plan], summary: Summary, later: Collection[str] = ()) -> None:
        """Write the plans of a rebuild, and count its users. Users in ``later`` are written again by a second fold, and
        are counted there.
        """
        users = UserCounts(summary)
        for found in self._compared(plans, summary) if self._wanted.is_dry else self._written(plans, summary):
            for plan, outcome in found:
                if str(plan.user) not in later:
                    users.add(str(plan.user), outcome)
        users.end()

    def apply(self, plans: dict[int, Plan], summary: Summary, healing: Callable[[int], Plan]) -> Mapping[int, Applied]:
        """Redis' answer to each plan that it accepted."""
        return self._finished(self._delivery(plans, healing), summary)

    def remove(self, plans: Iterable[Plan], summary: Summary) -> None:
        """Carry out the plans that remove users, and count them."""
        for some in batched(plans):
            numbered = dict(enumerate(some))
            for answer in self.apply(numbered, summary, numbered.__getitem__).values():
                summary.count("orphan, newer by now" if answer.verdict is Verdict.STALE else "orphan removed")

    def compare(self, plans: Sequence[Plan], summary: Summary) -> list[str]:
        """The expected outcome of each plan."""
        stored_keys = self.retried(lambda: self._view.stored_keys(plans))
        outcomes = []
        for plan, stored in zip(plans, stored_keys, strict=True):
            if not would_apply(plan, stored):
                outcomes.append(NEWER if self._wanted.is_rebuild else OLD)
                continue
            found = list(differences(plan, stored))
            outcomes.append(TO_WRITE if found else RIGHT)
            for each in found:
                summary.differ(each, self._wanted.shown)
        return outcomes

    def retried(self, attempt: Callable[[], _T]) -> _T:
        """Call ``attempt`` until its server is available, and answer its result.

        Raises:
            Interrupted: told to stop while the server is away.
            RedisReplaced: Redis was started anew, so acknowledged writes may be lost.
            ServerUnavailable: the server stays away, and this is a dry run.
        """
        while True:
            try:
                return retried(attempt, self._should_stop, is_dry=self._wanted.is_dry)
            except Reconnected:
                self._check_run()
                self._sink.accept_new_connection()

    def _check_run(self) -> None:
        if self.retried(self._view.run) != self._wanted.run:
            raise RedisReplaced

    def _compared(self, plans: Iterable[Plan], summary: Summary) -> Iterable[list[tuple[Plan, str]]]:
        for some in self._batches(plans, summary):
            changes = [plan for plan in some if plan.mode is not Mode.MARK]
            yield list(zip(changes, self.compare(changes, summary), strict=True))

    def _written(self, plans: Iterable[Plan], summary: Summary) -> Iterable[list[tuple[Plan, str]]]:
        """Redis works on a batch while the next one is planned."""
        sent: Delivery | None = None
        for some in self._batches(plans, summary):
            found = [] if sent is None else self._outcomes(sent, summary)
            numbered = dict(enumerate(some))
            sent = self._delivery(numbered, numbered.__getitem__)
            sent.begin(self._sink)
            yield found
        if sent is not None:
            yield self._outcomes(sent, summary)

    def _batches(self, plans: Iterable[Plan], summary: Summary) -> Iterable[list[Plan]]:
        for some in batched(plans):
            if self._should_stop():
                raise Interrupted
            if self._wanted.users is not None:
                summary.find(str(plan.user) for plan in some)
            yield some

    def _outcomes(self, sent: Delivery, summary: Summary) -> list[tuple[Plan, str]]:
        plans, answers = sent.plans, self._finished(sent, summary)
        found = [(plans[at], _outcome(answer)) for at, answer in sorted(answers.items())]
        return [(plan, outcome) for plan, outcome in found if plan.mode is not Mode.MARK]

    def _delivery(self, plans: Mapping[int, Plan], healing: Callable[[int], Plan]) -> Delivery:
        return Delivery(plans, healing, mark=lambda plan: mark_refused(plan, self._rules), attempts=self._attempts)

    def _finished(self, delivery: Delivery, summary: Summary) -> Mapping[int, Applied]:
        while not delivery.is_over:
            self.retried(lambda: delivery.attempt(self._sink))
        for at, refused in delivery.refused.items():
            place = _place(delivery.plans[at])
            if place in self._wanted.settled:
                summary.give_up(1)
            else:
                summary.reject([f"{place}: Redis refused the change: {refused.problem}"])
        if delivery.halt is not None:
            raise delivery.halt
        return delivery.answers


def _outcome(answer: Applied) -> str:
    """The outcome of a plan of a rebuild."""
    if answer.verdict is Verdict.STALE:
        return NEWER
    if not answer.is_accepted or answer.differed == 0:
        return RIGHT
    return "created" if answer.config_created else "corrected"


def _place(plan: Plan) -> Place:
    return Place(plan.version.topic, plan.version.partition, plan.version.offset)
