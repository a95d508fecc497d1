"""Redis emptied: noticed also where nothing comes, nothing applied until it is whole again, and nobody told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import pytest
import redis
from msgspec import structs
from pydantic import SecretStr
from structlog.testing import capture_logs

from benchmarks.envelopes import changes
from consumer.commands.replay.partition import Folding, PartitionFold
from consumer.events.record import Partition, SourceRecord
from consumer.mapping.reference import reference
from consumer.pipeline.loop import Pipeline
from consumer.pipeline.protocols import Observer
from consumer.pipeline.recovery import REBUILD
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from consumer.sink.view import RedisView
from tests.integration.pipeline.test_resume import Memory
from tests.integration.redis.test_sink import apply
from tests.support.group import Group, GroupSource
from tests.support.redis_view import Listener
from tests.unit.commands.test_fold import Memory as Store

RULES = reference()
REPLAY_KEY = "a key of the test"
TOPIC, OTHER = Partition("t.trading.live_users", 0), Partition("t.trading.live_users", 1)
RECORDS = [
    SourceRecord(TOPIC.topic, 0, offset, 1, key, value) for offset, (_, key, value) in enumerate(changes(5, 2, 1))
]
Act = Callable[[], object]


class Told(Observer):
    """Whether Redis was said to be emptied, each time that this changed."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def emptied(self, reason: str) -> None:
        if [reason] != self.reasons[-1:]:
            self.reasons.append(reason)


class Member(GroupSource):
    """A member; before each poll, and in each pause, the next act of its own is done."""

    def __init__(self, group: Group, on_revoked: Callable[[Sequence[Partition]], None]) -> None:
        super().__init__(group, on_revoked, 100)
        self.acts: list[Act] = []
        self.pauses: list[Act] = []
        self._turns = 0
        self.pauses_done = 0

    @property
    def is_done(self) -> bool:
        return self._turns > 6 and not self.acts

    def poll(self, timeout_s: float) -> Sequence[SourceRecord]:
        found = super().poll(timeout_s)
        self._turns = 0 if self.acts or found else self._turns + 1
        if self.acts:
            self.acts.pop(0)()
        return found

    def idle(self, seconds: float) -> None:
        self.pauses_done += 1
        if self.pauses:
            self.pauses.pop(0)()
        super().idle(seconds)


class Folded:
    """A rebuild that is done at once, from the records of the group; or in as many pauses as ``waits`` says."""

    def __init__(self, scene: Scene, waits: int = 0) -> None:
        self._scene = scene
        self._waits = waits
        self._left = 0
        self.starts: list[Mapping[Partition, int]] = []
        self.during: list[Act] = []
        self.stops = 0

    def start(self, ends: Mapping[Partition, int]) -> None:
        self.starts.append(dict(ends))
        self._left = self._waits
        with_view = RedisView(self._scene.settings)
        with_view.create_replay_key(REPLAY_KEY)
        with_view.close()
        for number in {part.number for part in ends}:
            fold = PartitionFold(number, {part.topic: () for part in ends}, Folding(RULES, earlier=None), Store)
            for part, end in ends.items():
                if part.number == number:
                    fold.add(part.topic, self._scene.group.log[part][:end])
            apply(self._scene.other, *fold.plans())

    def finished(self) -> tuple[str, Collection[int]]:
        if self.during:
            self.during.pop(0)()
        if self._left:
            self._left -= 1
            return REPLAY_KEY, ()
        return REPLAY_KEY, {part.number for part in self.starts[-1]}

    def stop(self) -> None:
        self.stops += 1


class Scene:
    """A group of one member in memory, and a real Redis."""

    def __init__(self, url: str, client: redis.Redis) -> None:
        self.client = client
        self.settings = Redis(url=SecretStr(url), tracking=False)
        self.sink, self.other = (RedisSink(self.settings, Guard(), RULES, "g") for _ in range(2))
        self.listener = Listener(client)
        self.group = Group(partitions=[TOPIC])
        self.told = Told()
        self.clock_s, self.step_s = 0.0, 0.4
        self.is_stopped = False

    def close(self) -> None:
        self.sink.close()
        self.other.close()
        self.listener.close()

    def clock(self) -> float:
        self.clock_s += self.step_s
        return self.clock_s

    def run(
        self, *acts: Act, pauses: Sequence[Act] = (), rebuild: Folded | None = None, repeat_s: float = 60.0
    ) -> list[dict[str, object]]:
        """What was said by a member that follows until nothing comes any more, or it is told to stop."""
        pipeline = Pipeline(
            self.sink,
            RULES,
            observer=self.told,
            rebuild=rebuild,
            repeat_s=repeat_s,
            commit_interval_s=0,
            clock=self.clock,
        )
        self.member = Member(self.group, pipeline.revoked)
        self.member.acts, self.member.pauses = list(acts), list(pauses)
        self.member.subscribe()
        with capture_logs() as lines:
            pipeline.run(self.member, lambda: self.is_stopped or self.member.is_done)
        self.member.close()
        return [dict(line) for line in lines]

    def send(self, count: int) -> Act:
        """The next records come."""

        def act() -> None:
            at = len(self.group.log[TOPIC])
            self.group.send(RECORDS[at : at + count])

        return act

    def stop(self) -> None:
        self.is_stopped = True

    def ids(self) -> Counter[tuple[str, object]]:
        return Counter((channel, message["event_id"]) for channel, message in self.listener.heard())

    def state(self) -> dict[str, object]:
        """Every key but those that say how far the group is."""
        every = [str(key) for key in self.client.scan_iter()]
        keys = [key for key in every if not key.startswith(("cdc:offsets", "cdc:replay"))]
        read = {"hash": self.client.hgetall, "string": self.client.get}
        return {key: read[str(self.client.type(key))](key) for key in keys}


def nothing() -> None:
    """A turn, or a pause, in which nothing happens."""


@pytest.fixture
def scene(redis_url: str, client: redis.Redis) -> Iterator[Scene]:
    scene = Scene(redis_url, client)
    yield scene
    scene.close()


def said(lines: Sequence[Mapping[str, object]], *actions: str) -> list[object]:
    wanted = actions or ("redis.emptied", "redis.rebuilt", "redis.waiting", "redis.reread")
    return [line["action"] for line in lines if line.get("action") in wanted]


@pytest.fixture
def whole(scene: Scene) -> dict[str, object]:
    """What all records leave in Redis, which is empty again afterwards."""
    scene.send(5)()
    scene.run()
    state = scene.state()
    assert state
    scene.client.flushall()
    scene.group.log[TOPIC].clear()
    scene.group.committed.clear()
    scene.told.reasons.clear()
    scene.listener.heard()
    return state


def test_it_is_noticed_without_any_change_and_nothing_is_applied_until_an_operator_has_rebuilt(
    scene: Scene, whole: dict[str, object]
) -> None:
    """A Redis that was emptied under a running consumer was not noticed, also not by the next change."""
    before = scene.ids()
    operator = Folded(scene)
    seen: list[object] = []

    def rebuilt() -> None:
        """As ``replay --rebuild`` does: up to where the member waits, known to Redis only then."""
        seen.append((scene.client.hgetall("cdc:offsets:g:stopped"), scene.state()))
        operator.start({TOPIC: 3})
        assert scene.other.store_offsets({TOPIC: 3}, REPLAY_KEY)

    lines = scene.run(
        *(scene.send(3), nothing, nothing, scene.client.flushall, nothing, nothing, nothing, nothing),
        pauses=[scene.send(2), nothing, rebuilt],
    )
    assert said(lines) == ["redis.emptied", "redis.rebuilt"]
    (line,) = (each for each in lines if each["action"] == "redis.emptied")
    assert (line["log_level"], line["advice"]) == ("error", REBUILD)
    assert seen == [({f"{TOPIC.topic}:0": "3"}, {})]
    assert scene.state() == whole
    assert scene.group.committed == {TOPIC: 5}
    assert set((scene.ids() - before).values()) == {1}
    assert scene.told.reasons == [f"Redis was emptied, waiting for {REBUILD}", ""]
    assert not scene.client.exists("cdc:offsets:g:stopped")


def test_it_is_noticed_within_two_seconds(scene: Scene) -> None:
    """By the loop's own clock, while nothing comes: a poll without records takes 0.2 s."""
    scene.step_s = 0.0
    moments: list[float] = []

    def turn() -> None:
        scene.clock_s += 0.2

    def emptied() -> None:
        turn()
        scene.client.flushall()
        moments.append(scene.clock_s)

    def noticed() -> None:
        moments.append(scene.clock_s)
        scene.stop()

    scene.run(scene.send(3), *[turn] * 6, emptied, *[turn] * 30, pauses=[noticed])
    began, ended = moments
    assert ended - began < 2


def test_a_rebuild_leaves_to_the_member_what_it_has_not_told_of_its_other_partitions(scene: Scene) -> None:
    """They have lost nothing, but stand still too: what comes is told when it goes on."""
    scene.group.log[OTHER] = []
    seen: list[object] = []
    acts = (scene.send(3), nothing, nothing, scene.client.flushall, nothing)
    scene.run(*acts, pauses=[nothing, lambda: seen.append(scene.client.hgetall("cdc:offsets:g:stopped")), scene.stop])
    assert seen == [{f"{TOPIC.topic}:0": "3", f"{TOPIC.topic}:1": "0"}]


def test_a_change_right_behind_it_does_not_hide_it(scene: Scene, whole: dict[str, object]) -> None:
    """The next commit wrote its offset into the emptied Redis, as if nothing were lost."""
    rebuild, heard = Folded(scene), scene.ids()

    def emptied() -> None:
        scene.client.flushall()
        scene.send(1)()

    lines = scene.run(scene.send(3), nothing, nothing, emptied, nothing, scene.send(1), rebuild=rebuild)
    assert said(lines) == ["redis.emptied", "redis.rebuilt"]
    assert scene.state() == whole
    assert set((scene.ids() - heard).values()) == {1}
    assert scene.group.committed == {TOPIC: 5}


def test_the_member_rebuilds_what_is_its_own_and_tells_nobody(scene: Scene, whole: dict[str, object]) -> None:
    rebuild = Folded(scene)
    heard = scene.ids()
    lines = scene.run(
        scene.send(5), nothing, nothing, scene.client.flushall, nothing, nothing, nothing, rebuild=rebuild
    )
    assert said(lines) == ["redis.emptied", "redis.rebuilt"]
    assert rebuild.starts == [{TOPIC: 5}]
    assert scene.state() == whole
    assert max((scene.ids() - heard).values()) == 1
    assert scene.told.reasons[-2:] == ["Redis was emptied, it is rebuilt from the topics", ""]


def test_emptied_once_more_while_it_is_rebuilt(scene: Scene, whole: dict[str, object]) -> None:
    """What the rebuild wrote before is gone too, so it begins again and nothing of it counts."""
    rebuild = Folded(scene, waits=2)
    rebuild.during = [nothing, scene.client.flushall]
    scene.run(scene.send(5), nothing, nothing, scene.client.flushall, nothing, nothing, nothing, rebuild=rebuild)
    assert rebuild.starts == [{TOPIC: 5}, {TOPIC: 5}]
    assert scene.state() == whole


def test_emptied_while_nobody_runs(scene: Scene, whole: dict[str, object]) -> None:
    """Whoever comes next finds it, before anything is applied."""
    scene.run(scene.send(4))
    scene.client.flushall()
    heard = scene.ids()
    rebuild = Folded(scene)
    lines = scene.run(scene.send(1), rebuild=rebuild)
    assert said(lines) == ["redis.emptied", "redis.rebuilt"]
    assert rebuild.starts == [{TOPIC: 4}]
    assert scene.state() == whole
    assert set((scene.ids() - heard).values()) == {1}, "of the one record that nobody had read"


def test_a_server_that_comes_back_empty(scene: Scene, whole: dict[str, object]) -> None:
    memory, rebuild = Memory(scene.client), Folded(scene)
    lines = scene.run(scene.send(5), nothing, nothing, memory.lose, nothing, nothing, nothing, rebuild=rebuild)
    assert said(lines) == ["redis.emptied", "redis.rebuilt"]
    assert scene.state() == whole


def test_told_to_stop_in_the_middle_and_the_next_one_does_it(scene: Scene, whole: dict[str, object]) -> None:
    rebuild = Folded(scene, waits=99)
    acts = (scene.send(5), nothing, nothing, scene.client.flushall, nothing)
    lines = scene.run(*acts, pauses=[nothing, scene.stop], rebuild=rebuild)
    assert said(lines) == ["redis.emptied"]
    assert rebuild.stops == 1
    assert not scene.client.exists("cdc:offsets:g"), "who comes next must not take it for whole"
    scene.is_stopped = False
    lines = scene.run(rebuild=Folded(scene))
    assert said(lines) == ["redis.emptied", "redis.rebuilt"]
    assert scene.state() == whole


def test_a_rebalance_in_the_middle(scene: Scene, whole: dict[str, object]) -> None:
    """The partition goes and comes back: the rebuild begins again for the assignment that holds now."""
    rebuild = Folded(scene, waits=4)
    acts = (scene.send(5), nothing, nothing, scene.client.flushall, nothing, nothing, nothing)
    lines = scene.run(*acts, pauses=[nothing, scene.group.rebalance], rebuild=rebuild)
    assert said(lines, "redis.emptied", "redis.rebuilt")[-1] == "redis.rebuilt"
    assert scene.state() == whole
    assert scene.group.committed == {TOPIC: 5}


def test_the_partition_goes_while_it_is_waited_for(scene: Scene) -> None:
    """Another member's matter then: this one goes on with what it has."""
    scene.group.log[OTHER] = []
    scene.send(4)()
    scene.run()
    scene.client.hdel("cdc:offsets:g", f"{TOPIC.topic}:0")

    def leave_one() -> None:
        scene.group.rebalance({scene.member: [OTHER]})
        scene.group.send([structs.replace(RECORDS[4], partition=1, offset=0)])

    scene.run(nothing, nothing, nothing, pauses=[nothing, leave_one])
    assert scene.group.committed == {TOPIC: 4, OTHER: 1}


def test_what_is_still_waited_for_is_said_again(scene: Scene) -> None:
    scene.send(4)()
    scene.run()
    scene.client.flushall()
    lines = scene.run(pauses=[nothing] * 5 + [scene.stop], repeat_s=1e-9)
    assert len(said(lines, "redis.emptied")) == 6
    assert len({str(line["since"])[:16] for line in lines if line.get("action") == "redis.emptied"}) == 1


def test_partitions_in_which_nothing_was_read_are_nothing_to_lose(scene: Scene) -> None:
    lines = scene.run(nothing, nothing, nothing, scene.client.flushall, nothing, nothing, nothing, nothing)
    assert said(lines) == []
    lines = scene.run(scene.send(4), nothing, nothing)
    assert said(lines) == []
    assert len(scene.state()) == 6, "hash, balance and version of two users"


def test_offsets_that_were_set_back_to_the_beginning_lose_nothing_either(scene: Scene) -> None:
    """As the runbook for lost topics says: the offsets of both are reset, and all is read."""
    scene.send(4)()
    scene.run()
    scene.client.flushall()
    scene.group.committed[TOPIC] = 0
    assert said(scene.run()) == []
    assert len(scene.state()) == 6, "hash, balance and version of two users"


def test_the_first_offsets_are_said_only_where_there_never_were_any(scene: Scene) -> None:
    scene.send(4)()
    assert said(scene.run(), "offset.first", "offset.lost") == ["offset.first"]
    assert said(scene.run(), "offset.first", "offset.lost") == []
    scene.group.committed.clear()
    assert said(scene.run(), "offset.first", "offset.lost") == ["offset.lost"]
