"""One owner of where a partition stands: nothing is lost, whatever happens while batches are at hand.

A member of a group in memory (``tests/group.py``) and a real Redis behind a gate, which can be away.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import pytest
import redis
from pydantic import SecretStr

from benchmarks.envelopes import changes
from consumer.decision import decide
from consumer.pipeline import Pipeline
from consumer.record import SourceRecord
from consumer.reference import reference
from consumer.sections import Guard, Redis
from consumer.sink import RedisSink
from consumer.watermark import Partition
from tests.faults.gate import Gate
from tests.group import Group, GroupSource
from tests.pipeline.test_progress import Memory
from tests.redis_server import RedisServer, program
from tests.redis_view import Listener, eventually

TOPIC = "t.trading.live_users"
USERS = 700
"""More than a batch has records, so that a batch that is lost shows in what Redis has."""
BIG, SMALL = 500, 60
"""A batch that stays in flight while the next one is polled, and one whose answers are waited for at once."""
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
        self.group = Group(partitions=[Partition(TOPIC, 0), Partition(TOPIC, 1)])
        self.group.on_commit = self._look_at_commit
        self.stages: list[Callable[[], object]] = []
        self.in_idle: list[Callable[[], object]] = []
        self.is_stopping = False
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
        for part, key, value in list(changes(before + count, USERS, 2))[before:]:
            offset = len(self.group.log[Partition(TOPIC, part)])
            self.records.append(SourceRecord(TOPIC, part, offset, 1, key, value))
            self.group.send(self.records[-1:])
        return self.records[before:]

    def has_applied(self, wanted: Sequence[SourceRecord]) -> bool:
        """Whether Redis has these changes, or later ones of their users."""
        rows = [_row(record) for record in wanted]
        values = self.client.mget([f"user_balance:live:{user}" for user, _ in rows])
        return all(
            value is not None and float(value) >= number for value, (_, number) in zip(values, rows, strict=True)
        )

    def run(self, linger_s: float = 0.0) -> None:
        """A member that joins, follows until it is told to stop or nothing more comes, and leaves."""
        server = Redis(url=SecretStr(f"redis://{self.gate.address}/0"), tracking=False)
        sink = RedisSink(server, Guard(), RULES, "g")
        self._sinks.append(sink)
        ticks = itertools.count()
        pipeline = Pipeline(
            sink, RULES, commit_interval_s=0, linger_s=linger_s, clock=lambda: next(ticks) * linger_s / 2
        )
        self.source = Member(self, pipeline)
        self.source.subscribe()
        pipeline.run(self.source, lambda: self.is_stopping or self.source.is_dry)
        self.source.close()

    def run_to_the_end(self) -> None:
        """The members that come after."""
        self.gate.open()
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


def _row(record: SourceRecord) -> tuple[int, int]:
    """The user that the record is about, and the change's number, which is the balance that it sets."""
    event = decide(record, RULES).event
    assert event is not None
    assert event.after is not None
    return int(str(event.after["id"])), int(float(str(event.after["wallet_balance"])))


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
