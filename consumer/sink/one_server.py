"""One Redis server, or the master that sentinels name. Each plan is one atomic call of the script."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from consumer.errors import ServerError
from consumer.events.record import Partition
from consumer.mapping.rules import Rules
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.settings.sections import Guard, Redis
from consumer.sink import group_offsets
from consumer.sink.call import Calls, applied, is_asked_for_more, may_be_brief, usual_answer
from consumer.sink.client import Server, ask_one, connect, connect_anew, translate
from consumer.sink.index.key_index import TrackedIndex
from consumer.sink.index.scan_index import KeyIndex, ScanIndex, is_tracked
from consumer.sink.keyspace import OneKeyspace
from consumer.sink.replies import fields_of, pairs_of, raise_first_error
from consumer.sink.script import Call, Script
from consumer.sink.servers import Answers
from consumer.sink.streams import refuse_other_kinds


class OneServer:
    """A single server, as :class:`consumer.sink.servers.Servers`."""

    def __init__(self, server: Redis, guard: Guard, rules: Rules, group: str) -> None:
        self._rules = rules
        self._client = connect(server)
        self._script = Script(server)
        self._calls = Calls(guard)
        self._offsets = group_offsets.hash_of(group)
        self._stopped = group_offsets.stopped_of(group)
        heads = rules.wildcards()
        self.index: KeyIndex = (
            TrackedIndex(self._client, heads, limit=server.tracked_keys)
            if is_tracked(server, heads)
            else ScanIndex(OneKeyspace(self._client), heads)
        )

    def reach(self) -> Server:
        server = ask_one(self._client)
        refuse_other_kinds(OneKeyspace(self._client), self._rules)
        return server

    def is_reachable(self) -> bool:
        return bool(self._client.ping())

    def close(self) -> None:
        self._script.close()
        self._client.close()

    def send(self, plans: Sequence[Plan], derived: Sequence[Sequence[str]]) -> Answers:
        of = self._calls.of
        self._script.send(
            [of(plan, keys, is_brief=may_be_brief(plan)) for plan, keys in zip(plans, derived, strict=True)]
        )
        return partial(self._answers, plans, derived)

    def _answers(self, plans: Sequence[Plan], derived: Sequence[Sequence[str]]) -> list[Applied | ServerError]:
        replies = self._script.receive()
        try:
            return [*map(usual_answer, replies)]
        except TypeError:  # a list or an error
            return self._any_answers(plans, derived, replies)

    def _any_answers(
        self, plans: Sequence[Plan], derived: Sequence[Sequence[str]], replies: list[Any]
    ) -> list[Applied | ServerError]:
        if absent := [at for at, reply in enumerate(replies) if is_asked_for_more(reply)]:
            again = self._script.call([self._calls.of(plans[at], derived[at]) for at in absent])
            for at, reply in zip(absent, again, strict=True):
                replies[at] = reply
        return [translate(reply) if isinstance(reply, Exception) else applied(reply) for reply in replies]

    def store_offsets(self, offsets: Mapping[Partition, int], replay_key: str = "") -> bool:
        of_run = group_offsets.replay_key_of(replay_key) if replay_key else ""
        return self._is_kept(group_offsets.store(self._offsets, group_offsets.fields_of(offsets), of_run))

    def advance(self, offsets: Mapping[Partition, int]) -> bool:
        fields = group_offsets.fields_of(offsets)
        return self._is_kept(group_offsets.advance(self._offsets, fields) if fields else ("PING",))

    def stored_offsets(self) -> Mapping[Partition, int]:
        (told,) = raise_first_error(self._script.call([("HGETALL", self._offsets)]))
        return group_offsets.known([fields_of(told)])

    def store_stop_offsets(self, offsets: Mapping[Partition, int]) -> None:
        self._is_kept(("HSET", self._stopped, *pairs_of(group_offsets.fields_of(offsets))))

    def delete_stop_offsets(self, partitions: Collection[Partition]) -> None:
        self._is_kept(("HDEL", self._stopped, *map(group_offsets.field_of, partitions)))

    def _is_kept(self, call: Call) -> bool:
        return all(group_offsets.is_kept(reply) for reply in raise_first_error(self._script.call([call])))

    def accept_new_connection(self) -> None:
        if not self._script.accept_new_connection():
            return
        # The address may lead to another server now. The other connections need not break for that.
        connect_anew(self._client)
        if isinstance(self.index, TrackedIndex):
            self.index.connect_anew()
