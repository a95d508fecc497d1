"""Faults that only a Redis of several servers has: a master that fails over, slots that move."""

from __future__ import annotations

import time

from consumer.sink.cluster.plan_slots import slot
from tests.chaos.fault import Fault
from tests.chaos.scene import Scene
from tests.support.moving_slot import MovingSlot
from tests.support.redis_view import eventually
from tests.support.stack.redis import Redis
from tests.support.stack.redis_cluster import RedisCluster, node_id, nodes_of
from tests.support.stack.redis_replicas import is_caught_up, is_master
from tests.support.stack.redis_sentinel import RedisSentinel

_CAUGHT_UP_S = 30.0
_WHOLE_S = 120.0


class FailOverRedis(Fault):
    """A master is killed and its replica promoted; the old master comes back as the new replica.

    Half of the time the replica has everything. Otherwise it was cut off before, and what the master did meanwhile
    is lost: the program reads it again, and may tell again what it told then.
    """

    name = "failover-redis"
    subject = "redis"
    hold_s = (1.0, 4.0)

    def inject(self, scene: Scene) -> str:
        service = _service(scene)
        self._master, _ = pair = self.chance.choice(service.pairs())
        is_lossy = self.chance.random() < 0.5
        if is_lossy:
            before = scene.ear.count()
            scene.gates.part(self._master)
            scene.workload.go_on(self.chance.randint(1, 60))
        scene.cut.append(time.time())
        scene.gates.shut()
        scene.ear.rest()
        if is_lossy:
            lost = scene.ear.heard()[before:]
            scene.repeatable |= {each.event_id for each in lost}
            # Lost on one shard, and known as done on another: it stays so if the consumer is killed too.
            scene.spoiled |= {each.told.user for each in lost}
        else:
            eventually(lambda: is_caught_up(pair), _CAUGHT_UP_S, "the replica does not follow")
        self._master.kill()
        if is_lossy:
            scene.watch.forget()  # not before: it would look at the old master again
        service.promote(pair)
        scene.gates.join(self._master)
        scene.ear.listen()
        scene.gates.open()
        return f"{self._master.name}{', its last writes are lost' if is_lossy else ''}"

    def heal(self, scene: Scene) -> None:
        self._master.start()
        eventually(_service(scene).is_whole, _WHOLE_S, "the old master does not follow the new one")


class MoveSlots(Fault):
    """The slot of a user moves key by key to another node: for a while the two nodes have some of its keys each."""

    name = "move-slots"
    subject = "redis"
    hold_s = (0.5, 2.0)

    def inject(self, scene: Scene) -> str:
        cluster = scene.stack.redis
        assert isinstance(cluster, RedisCluster), "only the slots of a cluster move"
        user = self.chance.choice(scene.script.living["live"])
        number = slot(f"user:{{live:{user}}}:config")
        masters = [node for node in cluster.nodes if is_master(node)]
        source = next(node for node in masters if _has_slot(node, number))
        target = self.chance.choice([node for node in masters if node is not source])
        self._moving = MovingSlot(number, source, target)
        self._moving.move(1)
        return f"slot {number} from {source.name} to {target.name}"

    def heal(self, scene: Scene) -> None:
        while self._moving.move(10):
            pass
        self._moving.end()


def _service(scene: Scene) -> RedisSentinel | RedisCluster:
    service = scene.stack.redis
    assert isinstance(service, RedisSentinel | RedisCluster), "a single server has no replica"
    return service


def _has_slot(node: Redis, number: int) -> bool:
    mine = node_id(node)
    (of_node,) = (each for each in nodes_of(node).values() if each["node_id"] == mine)
    return any(int(each[0]) <= number <= int(each[-1]) for each in of_node["slots"])
