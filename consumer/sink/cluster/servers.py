"""Applies plans to a Redis Cluster in steps. Each step runs on all nodes at once. A plan that failed is resumed.

1. A script writes the keys in the slot of the user's version, and sets a pending marker: the rest is still to be done.
2. In other slots, the balance is written and the derived keys are cleared.
3. The messages are added to their streams, if the mapping has streams.
4. A script publishes the messages, then clears the pending marker. So they are published once, by the first process
   that calls the script.

A plan that is tried again finds its own version. If the pending marker is still set, the plan continues. Step 3 is not
noted in Redis, so another process may do it again: a stream may have a message twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import redis
from msgspec.structs import replace

from consumer.errors import ConfigError, ServerError
from consumer.events.record import Partition
from consumer.guard.version import Verdict
from consumer.mapping.rules import Rules
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode
from consumer.settings.sections import Guard, Redis
from consumer.sink import group_offsets
from consumer.sink.call import Calls, PlanPart, applied, is_asked_for_more, may_be_brief, mode_left
from consumer.sink.client import Server, ask, at_start, translate
from consumer.sink.cluster.plan_slots import PlanBySlot, by_slot, is_in_other_slot, only_messages, slot
from consumer.sink.cluster.routes import Routes
from consumer.sink.cluster.stream_entries import StreamEntries
from consumer.sink.cluster.topology import Topology
from consumer.sink.index.cluster_index import ClusterIndex
from consumer.sink.index.scan_index import KeyIndex, ScanIndex, is_tracked
from consumer.sink.keyspace import ClusterKeyspace
from consumer.sink.replies import fields_of, pairs_of, raise_first_error
from consumer.sink.script import Call
from consumer.sink.servers import Answers
from consumer.sink.streams import refuse_other_kinds


@dataclass(slots=True)
class _Step:
    """A plan that is being applied.

    ``mode``: the mode for the rest of the plan; "" while it is not known, or if nothing is left. ``is_due``: the rest
    was already due before. ``is_noted``: the pending marker is set. ``answer``: the answer as far as it is known.
    """

    plan: Plan
    parts: PlanBySlot
    answer: Applied | ServerError | None = None
    mode: str = ""
    is_due: bool = False
    is_noted: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether there is something left to do, and nothing failed."""
        return bool(self.mode) and not isinstance(self.answer, ServerError)

    @property
    def clears(self) -> bool:
        """Whether to clear keys in other slots and to publish.

        Always after a change, for a deleted user, and if the rest was already due. Else only if something differed, or
        if a fill found no version.
        """
        is_removed = bool(self.plan.shape.removed)
        if self.mode == Mode.CHANGE or is_removed or self.is_due or not isinstance(self.answer, Applied):
            return True
        return bool(self.answer.differed) or (self.mode == Mode.FILL and not self.answer.stored)


class ClusterServers:
    """The masters of a cluster, as :class:`consumer.sink.servers.Servers`."""

    def __init__(self, server: Redis, guard: Guard, rules: Rules, group: str) -> None:
        self._rules = rules
        self._topology = Topology(server)
        self._routes = Routes(server, self._topology, is_guarded=True)
        self._keys = ClusterKeyspace(server, self._topology)
        self._calls = Calls(guard)
        self._offsets = [group_offsets.hash_of(group, part) for part in self._keys.parts]
        self._stopped = group_offsets.stopped_of(group)
        self._entries = StreamEntries(self._routes)
        heads = rules.wildcards()
        self.index: KeyIndex = (
            ClusterIndex(self._topology, self._keys, heads, limit=server.tracked_keys)
            if is_tracked(server, heads)
            else ScanIndex(self._keys, heads)
        )

    def reach(self) -> Server:
        names = self._rules.names
        for template in (names.config, names.portfolio):
            if is_in_other_slot(names, template):
                raise ConfigError(
                    "CDC_MAPPING",
                    f"on a cluster {template} would lie apart from {names.guard}, and can't be written with it",
                    fix="give both keys the same hash tag, such as {<type>:<id>}",
                )
        try:
            self._topology.look()
        except redis.RedisError as error:
            raise at_start(error) from None
        weakest = min((ask(client) for client in self._keys.clients()), key=_weakness)
        refuse_other_kinds(self._keys, self._rules)
        return weakest

    def is_reachable(self) -> bool:
        return all(client.ping() for client in self._keys.clients())

    def close(self) -> None:
        self._routes.close()
        self._keys.close()

    def send(self, plans: Sequence[Plan], derived: Sequence[Sequence[str]]) -> Answers:
        return partial(self._answers, plans, derived)

    def _answers(self, plans: Sequence[Plan], derived: Sequence[Sequence[str]]) -> list[Applied | ServerError]:
        steps = [_Step(plan, by_slot(plan, keys)) for plan, keys in zip(plans, derived, strict=True)]
        self._write_version_slots(steps)
        self._write_other_slots([step for step in steps if step.goes_on])
        self._clear([step for step in steps if step.goes_on and step.clears])
        if streamed := [step for step in steps if step.goes_on and step.clears and step.parts.has_streams]:
            self._add(streamed)
        self._publish([step for step in steps if step.goes_on and step.is_noted])
        if streamed:
            self._entries.finished([step.plan for step in streamed if isinstance(step.answer, Applied)])
        answers = [step.answer for step in steps]
        return [answer for answer in answers if answer is not None]

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        fields = group_offsets.fields_of(offsets)
        of_runs = [group_offsets.replay_key_of(replay_key, part) if replay_key else "" for part in self._keys.parts]
        return self._are_kept(
            (key, group_offsets.store(key, fields, of_run)) for key, of_run in zip(self._offsets, of_runs, strict=True)
        )

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        fields = group_offsets.fields_of(offsets)
        return self._are_kept(
            (key, group_offsets.advance(key, fields) if fields else ("EXISTS", key)) for key in self._offsets
        )

    def stored_offsets(self) -> Mapping[Partition, int]:
        # A partition that some nodes do not know counts as unknown: those nodes were emptied.
        told = self._asked([(key, ("HGETALL", key)) for key in self._offsets])
        return group_offsets.known([fields_of(each) for each in told])

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None:
        pairs = pairs_of(group_offsets.fields_of(offsets))
        self._asked([(self._stopped, ("HSET", self._stopped, *pairs))])

    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None:
        fields = map(group_offsets.field_of, partitions)
        self._asked([(self._stopped, ("HDEL", self._stopped, *fields))])

    def _are_kept(self, calls: Iterable[tuple[str, Call]]) -> bool:
        return all(group_offsets.is_kept(reply) for reply in self._asked(list(calls)))

    def accept_new_connection(self) -> None:
        self._entries.may_be_lost()
        self._routes.accept_new_connection()

    def _write_version_slots(self, steps: Sequence[_Step]) -> None:
        def part(step: _Step) -> PlanPart:
            return PlanPart.WHOLE if step.parts.is_whole else PlanPart.VERSION_SLOT

        def call(step: _Step, *, is_brief: bool) -> tuple[int, Call]:
            parts = step.parts
            words = self._calls.of(parts.in_version_slot, parts.derived, part(step), is_brief=is_brief)
            return parts.version_slot, words

        told = self._carried([(step, call(step, is_brief=may_be_brief(step.plan))) for step in steps])
        if asked := [step for step, reply in told if is_asked_for_more(reply)]:
            told = [each for each in told if not is_asked_for_more(each[1])]
            told += self._carried([(step, call(step, is_brief=False)) for step in asked])
        for step, reply in told:
            step.answer = applied(reply)
            if (left := mode_left(reply, part(step))) is not None:
                step.mode, step.is_due = left
                step.is_noted = True
            elif step.plan.is_repeated and step.answer.verdict in _OLD and not step.parts.is_whole:
                # The version still exists, but the rest of the plan may be lost on other nodes: write it again.
                step.mode, step.is_due = step.plan.mode, True

    def _write_other_slots(self, steps: Sequence[_Step]) -> None:
        calls = [
            (
                step,
                (
                    step.parts.other_slot,
                    self._calls.of(step.parts.in_other_slot, part=PlanPart.OTHER_SLOT, mode=step.mode),
                ),
            )
            for step in steps
            if step.parts.in_other_slot is not None
        ]
        for step, reply in self._carried(calls):
            _join(step, applied(reply))

    def _clear(self, steps: Sequence[_Step]) -> None:
        calls: list[tuple[_Step, tuple[int, Call]]] = [
            (step, (slot(key), ("UNLINK", key))) for step in steps for key in step.parts.cleared
        ]
        for step, count in self._carried(calls):
            if isinstance(step.answer, Applied):
                step.answer = replace(step.answer, cleared=step.answer.cleared + count)

    def _add(self, steps: Sequence[_Step]) -> None:
        for step, failure in zip(steps, self._entries.add([step.plan for step in steps]), strict=True):
            if failure is not None:
                step.answer = _failure(failure)

    def _publish(self, steps: Sequence[_Step]) -> None:
        def call(step: _Step) -> tuple[int, Call]:
            plan = step.plan
            said = plan if step.clears else plan.publishing(())
            return step.parts.version_slot, self._calls.of(only_messages(said), part=PlanPart.MESSAGES)

        for step, receivers in self._carried([(step, call(step)) for step in steps]):
            if isinstance(step.answer, Applied):
                step.answer = replace(step.answer, receivers=step.answer.receivers + receivers)

    def _carried(self, calls: Sequence[tuple[_Step, tuple[int, Call]]]) -> list[tuple[_Step, Any]]:
        """Each step whose call succeeded, with the reply. The other steps get the failure as their answer."""
        replies = self._routes.send_to_masters([call for _, call in calls])
        succeeded = []
        for (step, _), reply in zip(calls, replies, strict=True):
            if isinstance(reply, Exception):
                step.answer = _failure(reply)
            else:
                succeeded.append((step, reply))
        return succeeded

    def _asked(self, calls: Sequence[tuple[str, Call]]) -> Sequence[Any]:
        """The replies. Each call comes with the key that decides its slot."""
        return raise_first_error(self._routes.send_to_masters([(slot(key), call) for key, call in calls]))


_OLD = (Verdict.STALE, Verdict.DUPLICATE)


def _failure(reply: Exception) -> ServerError:
    return reply if isinstance(reply, ServerError) else translate(reply)


def _join(step: _Step, of_other_slot: Applied) -> None:
    """Add the answer from the balance's slot to the answer from the version's slot."""
    answer = step.answer
    if not isinstance(answer, Applied):
        return
    verdict = answer.verdict
    if verdict is Verdict.DUPLICATE and of_other_slot.differed and not step.plan.is_repeated:
        verdict = Verdict.HEALED if step.mode == Mode.REBUILD else Verdict.NEWER
    step.answer = replace(answer, verdict=verdict, differed=answer.differed + of_other_slot.differed)


def _weakness(server: Server) -> tuple[bool, list[int]]:
    """A sort key: servers that may evict any key first, then the oldest version."""
    numbers = [int(part) for part in server.version.split(".") if part.isdecimal()]
    return not server.policy.startswith("allkeys"), numbers
