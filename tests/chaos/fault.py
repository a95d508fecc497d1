"""What can go wrong, each as something that begins and ends. While it lasts, changes go on.

A fault's ``subject`` is what it happens to: two of one subject do not overlap, others may. ``hold_s`` is how long it
lasts, at least and at most.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar

from tests.chaos.scene import Scene
from tests.chaos.script import OF_PROFILE, Told, change


class Fault(ABC):
    """``chance`` is its own: what it does depends on the seed and its place in the schedule alone."""

    name: ClassVar[str]
    subject: ClassVar[str]
    hold_s: ClassVar[tuple[float, float]]

    def __init__(self, chance: Random) -> None:
        self.chance = chance

    @abstractmethod
    def inject(self, scene: Scene) -> str:
        """Begin; the answer says more, for whoever watches."""

    @abstractmethod
    def heal(self, scene: Scene) -> None:
        """End it."""


class KillConsumer(Fault):
    """kill -9, and another one is started in its place; or of one of its workers, which it starts again itself."""

    name = "kill-consumer"
    subject = "consumer"
    hold_s = (0.0, 1.5)

    def inject(self, scene: Scene) -> str:
        self._is_worker = False
        if scene.fleet.members:
            member = self.chance.choice(scene.fleet.members)
            self._is_worker = self.chance.random() < 0.5 and scene.fleet.kill_worker(member, self.chance)
            if not self._is_worker:
                scene.fleet.kill(member)
        return "a worker" if self._is_worker else ""

    def heal(self, scene: Scene) -> None:
        if not self._is_worker:
            scene.fleet.start()


class Zombie(Fault):
    """Frozen until the group has given its partitions to a successor, and then awake beside it."""

    name = "zombie"
    subject = "consumer"
    hold_s = (4.5, 7.0)

    def inject(self, scene: Scene) -> str:
        self._frozen = self.chance.choice(scene.fleet.members)
        scene.fleet.freeze(self._frozen)
        scene.fleet.start()
        return self._frozen.log.name

    def heal(self, scene: Scene) -> None:
        scene.fleet.thaw(self._frozen)


class JoinAndLeave(Fault):
    """Members come, and the oldest leave, every few seconds."""

    name = "join-and-leave"
    subject = "consumer"
    hold_s = (8.0, 12.0)

    def inject(self, scene: Scene) -> str:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._rotate, args=(scene,), name=self.name, daemon=True)
        self._thread.start()
        return ""

    def heal(self, scene: Scene) -> None:
        self._is_over.set()
        self._thread.join()

    def _rotate(self, scene: Scene) -> None:
        while not self._is_over.is_set():
            scene.fleet.start()
            self._is_over.wait(self.chance.uniform(0.5, 2.5))
            scene.fleet.stop(scene.fleet.members[0])


class RestartRedis(Fault):
    """Down for a while, by SIGTERM or kill -9, and back with its append-only file."""

    name = "restart-redis"
    subject = "redis"
    hold_s = (0.0, 2.0)

    def inject(self, scene: Scene) -> str:
        scene.gates.shut()
        scene.ear.rest()
        if self.chance.random() < 0.5:
            scene.stack.redis.kill()
            return "kill -9"
        scene.stack.redis.stop()
        return "SIGTERM"

    def heal(self, scene: Scene) -> None:
        scene.stack.redis.start()
        scene.ear.listen()
        scene.gates.open()


class HangRedis(Fault):
    """Connections stay open and nobody answers, for longer than the consumers wait for an answer."""

    name = "hang-redis"
    subject = "redis"
    hold_s = (1.5, 4.0)

    def inject(self, scene: Scene) -> str:
        nodes = scene.gates.nodes
        self._frozen = nodes if self.chance.random() < 0.5 else [self.chance.choice(nodes)]
        for node in self._frozen:
            node.freeze()
        return f"{len(self._frozen)} of {len(nodes)}"

    def heal(self, scene: Scene) -> None:
        for node in self._frozen:
            node.thaw()


class FillRedis(Fault):
    """Every write is refused for want of memory."""

    name = "fill-redis"
    subject = "redis"
    hold_s = (1.0, 4.0)

    def inject(self, scene: Scene) -> str:
        _limit_memory(scene, "1mb")
        return ""

    def heal(self, scene: Scene) -> None:
        _limit_memory(scene, "0")


class CutReplies(Fault):
    """Replies that end in the middle: it was applied, and the consumer does not know."""

    name = "cut-replies"
    subject = "redis"
    hold_s = (1.0, 3.0)

    def inject(self, scene: Scene) -> str:
        count = self.chance.randint(3, 12)
        scene.gates.cut_replies(count)
        return f"{count} replies"

    def heal(self, scene: Scene) -> None:
        scene.gates.cut_replies(0)


class WrongType(Fault):
    """A user's key is of another type: the changes of that time may be refused, and the next one makes all right."""

    name = "wrong-type"
    subject = "redis"
    hold_s = (1.0, 3.0)

    def inject(self, scene: Scene) -> str:
        self._user = f"live:{self.chance.choice(scene.script.living['live'])}"
        self._key = f"user:{{{self._user}}}:{self.chance.choice(['config', 'portfolio'])}"
        scene.spoiled.add(self._user)
        with scene.redis() as client:
            client.set(self._key, "of another type")
        self._heard = {each.told for each in scene.ear.heard() if each.told.user == self._user}
        return self._key

    def heal(self, scene: Scene) -> None:
        with scene.redis() as client:
            client.delete(self._key)
        meant = {
            Told(self._user, channel, token)
            for (user, channel), tokens in list(scene.workload.expected.items())
            if user == self._user
            for token in list(tokens)
        }
        scene.excused |= meant - self._heard
        # A change without fields reads as any other, and as part of the one that heals.
        scene.excused |= {Told(self._user, channel, change()) for channel in OF_PROFILE}


def _limit_memory(scene: Scene, size: str) -> None:
    # Each node by itself: a cluster tells its clients nothing of a replica that has not found its master yet, and that
    # replica may be a master later.
    for node in scene.gates.nodes:
        with node.connect() as client:
            client.config_set("maxmemory", size)
