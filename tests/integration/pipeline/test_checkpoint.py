"""One owner of where a partition stands: nothing is lost, whatever happens while batches are at hand.

A member of a group in memory (``tests/support/group.py``) and a real Redis behind a gate, which can be away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import pytest
import redis
from pydantic import SecretStr

from benchmarks.envelopes import changes
from consumer.errors import ServerError, ServerUnavailable
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Applied
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.integration.pipeline.test_resume import Memory
from tests.support.group import Group, GroupSource
from tests.support.redis_server import RedisServer, program
from tests.support.redis_view import Listener
from tests.support.stack.gate import Gate

TOPIC = "t.trading.live_users"
USERS = 170
"""More than a batch has records, so that a batch that is lost shows in what Redis has."""
BIG, SMALL = 120, 30
"""A batch that stays in flight while the next one is polled, and one whose answers are waited for at once."""
LINGER_S = 0.01
RULES = reference()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(program("machine"), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.end()


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.connect() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        yield client


@pytest.fixture
def scene(server: RedisServer, client: redis.Redis) -> Iterator[Scene]:
    scene = Scene(server, client)
    yield scene
    scene.close()


class Scene:
    """A group of two partitions, and members that write to one Redis through a gate.

    ``stages`` are done one before each poll of the first member, ``in_idle`` one in each pause between two attempts.
    """

    def __init__(self, server: RedisServer, client: redis.Redis) -> None:
        self.client = client
        self.listener = Listener(client)
        self.gate = Gate("127.0.0.1", server.port)
        self.records: list[SourceRecord] = []
        self._balances: dict[tuple[int, int], tuple[str, int]] = {}
        self.group = Group(partitions=[Partition(TOPIC, 0), Partition(TOPIC, 1)])
        self.group.on_commit = self._look_at_commit
        self.stages: list[Callable[[], object]] = []
        self.in_idle: list[Callable[[], object]] = []
        self.is_stopping = False
        self.is_lingering = False
        self._now = 0.0
        self.recalls_in_vain = 0
        self.loses_answers = False
        self._sinks: list[RedisSink] = []
        self.source: Member

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        self.gate.close()
        self.listener.close()

    def sent(self, count: int) -> list[SourceRecord]:
        """The next ``count`` records are in the topic from now on."""
        before = len(self.records)
        for number, (part, key, value) in enumerate(changes(before + count, USERS, 2)):
            if number < before:
                continue
            offset = len(self.group.log[Partition(TOPIC, part)])
            self._balances[part, offset] = f"user_balance:live:{number % USERS + 1}", number
            self.records.append(SourceRecord(TOPIC, part, offset, 1, key, value))
            self.group.send(self.records[-1:])
        return self.records[before:]

    def has_applied(self, wanted: Sequence[SourceRecord]) -> bool:
        """Whether Redis has these changes, or later ones of their users."""
        rows = [self._balances[record.partition, record.offset] for record in wanted]
        values = self.client.mget([key for key, _ in rows])
        return all(
            value is not None and float(value) >= number for value, (_, number) in zip(values, rows, strict=True)
        )

    def clock(self) -> float:
        """Goes slowly while a batch is to linger; else the linger is over at once."""
        self._now += LINGER_S / 4 if self.is_lingering else LINGER_S
        return self._now

    def run(self, linger_s: float = 0.0, commit_interval_s: float = 0.0) -> None:
        """A member that joins, follows until it is told to stop or nothing more comes, and leaves."""
        server = Redis(url=SecretStr(f"redis://{self.gate.address}/0"), tracking=False)
        sink = Sink(self, server)
        self._sinks.append(sink)
        pipeline = Pipeline(
            sink,
            RULES,
            commit_interval_s=commit_interval_s,
            linger_s=linger_s,
            clock=self.clock,
        )
        self.source = Member(self, pipeline)
        self.source.subscribe()
        pipeline.run(self.source, lambda: self.is_stopping or self.source.is_dry)
        self.source.close()

    def run_to_the_end(self) -> None:
        """The members that come after."""
        self.gate.open()
        self.client.config_set("maxmemory", 0)
        self.is_stopping = False
        self.stages, self.in_idle = [], []
        self.run()

    def is_right(self) -> None:
        """All is there, all is committed, and every message went out once."""
        assert self.group.committed == {part: len(log) for part, log in self.group.log.items()}
        assert self.has_applied(self.records)
        heard = Counter((channel, message["event_id"]) for channel, message in self.listener.heard())
        wanted = {each for record in self.records for each in _messages(record)}
        assert set(heard) == wanted
        assert {each: count for each, count in heard.items() if count != 1} == {}

    def _look_at_commit(self, offsets: Mapping[Partition, int]) -> None:
        for part, offset in offsets.items():
            if offset > self.group.committed.get(part, 0):
                assert self.has_applied(self.group.log[part][:offset]), f"{part} is committed past what Redis has"


class Sink(RedisSink):
    """The scene's Redis. ``recalls_in_vain`` of its answers to :meth:`stored_offsets` are lost, and where the scene
    ``loses_answers`` those to the next plans, which it applies, and the connection with them.
    """

    def __init__(self, scene: Scene, server: Redis) -> None:
        super().__init__(server, Guard(), RULES, "g")
        self._scene = scene

    def apply(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Applied | ServerError]]:
        answers = super().apply(plans)
        if self._scene.loses_answers:
            self._scene.loses_answers = False
            assert all(isinstance(answer, Applied) for _, answer in answers)
            self._scene.gate.shut()
            raise ServerUnavailable("Redis", "no answer")
        return answers

    def stored_offsets(self) -> Mapping[Partition, int]:
        found = super().stored_offsets()
        if self._scene.recalls_in_vain:
            self._scene.recalls_in_vain -= 1
            raise ServerUnavailable("Redis", "no answer")
        return found


class Member(GroupSource):
    """The scene's member of the group."""

    def __init__(self, scene: Scene, pipeline: Pipeline) -> None:
        super().__init__(scene.group, pipeline.revoked, BIG)
        self._scene = scene
        self._dry = 0

    @property
    def is_dry(self) -> bool:
        """Whether several polls in a row brought nothing, and nothing is about to happen."""
        return self._dry >= 4 and not self._scene.stages

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        if self._scene.stages:
            self._scene.stages.pop(0)()
        found = super().poll(timeout_s)
        self._dry = 0 if found else self._dry + 1
        return found

    def idle(self, seconds: float) -> None:
        if self._scene.in_idle:
            self._scene.in_idle.pop(0)()
        super().idle(seconds)


def _messages(record: SourceRecord) -> list[tuple[str, object]]:
    plan = decide(record, RULES).plan
    assert plan is not None
    return [(each.channel, _event_id(each.body)) for each in plan.messages]


def _event_id(body: str) -> object:
    return msgspec.json.decode(body)["event_id"]


def nothing() -> None:
    """A poll that brings nothing: what is in flight is finished, and committed."""


def test_a_batch_in_flight_while_redis_is_away_and_the_partition_is_given_back(scene: Scene) -> None:
    """The first of two batches at hand was lost: its records were never applied, and committed past."""
    scene.stages = [
        lambda: scene.sent(BIG),
        nothing,
        lambda: (scene.gate.shut(), scene.sent(BIG)),
        lambda: scene.sent(BIG),
    ]
    scene.in_idle = [scene.group.rebalance, scene.gate.open]
    scene.run()
    scene.is_right()


def test_what_redis_lost_is_not_hidden_by_a_commit_before_it_is_compared(scene: Scene) -> None:
    """Redis is back with less and the partitions are revoked, before the loop has asked what Redis remembers."""
    memory = Memory(scene.client)

    def lose() -> None:
        scene.gate.shut()
        memory.lose()
        scene.gate.open()
        scene.recalls_in_vain = 1
        scene.sent(BIG)

    scene.stages = [lambda: scene.sent(BIG), nothing, memory.keep, lambda: scene.sent(BIG), nothing, lose]
    scene.in_idle = [scene.group.rebalance]
    scene.run(commit_interval_s=1e9)
    assert scene.in_idle == []
    scene.is_right()


# Each with what it does to a run; see `Case`.
AT_HAND = ("in flight", "in hand", "both")
REDIS = ("there", "away", "out of memory", "answers lost", "back with less")
GROUP = ("stays", "revoked", "given back")


class Case:
    """One combination, as stages of a scene: two batches are done, then it happens to those that are at hand then."""

    def __init__(self, scene: Scene, at_hand: str, outage: str, group: str, *, is_stopped: bool) -> None:
        self._scene = scene
        self._at_hand = at_hand
        self._outage = outage
        self._group = group
        self._is_stopped = is_stopped
        self._before = Memory(scene.client)
        self.has_happened = self._ended = False
        # While Redis is there nothing waits, so a batch is in hand only as long as it lingers for more records.
        self.linger_s = LINGER_S if outage == "there" and at_hand != "in flight" else 0.0
        scene.stages = [
            lambda: scene.sent(BIG),
            nothing,
            self._before.keep,
            lambda: scene.sent(BIG),
            nothing,
            self._first_at_hand,
            self._second_at_hand,
            self._happen,
            self._end,
            lambda: scene.sent(BIG),
        ]
        scene.in_idle = [self._happen, self._end]

    def _first_at_hand(self) -> None:
        if self._outage in ("away", "back with less"):
            self._scene.gate.shut()
        if self._outage == "out of memory":
            self._scene.client.config_set("maxmemory", 1)
        if self._outage == "answers lost":
            self._scene.loses_answers = True
        self._scene.is_lingering = self.linger_s > 0 and self._at_hand == "in hand"
        self._scene.sent(SMALL if self._at_hand == "in hand" else BIG)

    def _second_at_hand(self) -> None:
        if self._at_hand == "both":
            self._scene.is_lingering = self.linger_s > 0
            self._scene.sent(BIG)
        else:
            self._happen()

    def _happen(self) -> None:
        self._scene.is_lingering = False
        if self.has_happened:
            return
        self.has_happened = True
        if self._outage == "back with less":
            self._scene.gate.shut()
            self._before.lose()
        if self._group != "stays":
            self._scene.group.rebalance({} if self._group == "revoked" else None)
        self._scene.is_stopping |= self._is_stopped

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._scene.gate.open()
            self._scene.client.config_set("maxmemory", 0)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["goes on", "told to stop"])
@pytest.mark.parametrize("group", GROUP)
@pytest.mark.parametrize("outage", REDIS)
@pytest.mark.parametrize("at_hand", AT_HAND)
def test_whatever_happens_to_what_is_at_hand(
    scene: Scene, at_hand: str, outage: str, group: str, is_stopped: bool
) -> None:
    """In the end all is applied and committed, by this member or by the next one, and no message went out twice."""
    case = Case(scene, at_hand, outage, group, is_stopped=is_stopped)
    scene.run(case.linger_s)
    assert case.has_happened
    scene.run_to_the_end()
    scene.is_right()
