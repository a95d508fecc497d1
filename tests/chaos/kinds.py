"""Every kind of fault by name: those of the database, Connect and the broker are here, the others in ``fault.py``."""

from __future__ import annotations

from tests.chaos.fault import (
    CutReplies,
    Fault,
    FillRedis,
    HangRedis,
    JoinAndLeave,
    KillConsumer,
    RestartRedis,
    WrongType,
    Zombie,
)
from tests.chaos.redis_service import FailOverRedis, MoveSlots
from tests.chaos.scene import Scene
from tests.support.stack.replicated import Replicated


class RestartBroker(Fault):
    """Down for a while, by SIGTERM or kill -9."""

    name = "restart-broker"
    subject = "kafka"
    hold_s = (0.0, 3.0)

    def inject(self, scene: Scene) -> str:
        if self.chance.random() < 0.5:
            scene.stack.kafka.kill()
            return "kill -9"
        scene.stack.kafka.stop()
        return "SIGTERM"

    def heal(self, scene: Scene) -> None:
        scene.stack.kafka.start()


class FreezeBroker(Fault):
    """Nobody answers, for longer than the session of the group's members."""

    name = "freeze-broker"
    subject = "kafka"
    hold_s = (4.0, 8.0)

    def inject(self, scene: Scene) -> str:
        scene.stack.kafka.freeze()
        return ""

    def heal(self, scene: Scene) -> None:
        scene.stack.kafka.thaw()


class BreakKafka(Fault):
    """Connections of consumers are reset in the middle of an answer or a request, again and again.

    Some last for a few bytes of the first answer, some for a second of records.
    """

    name = "break-kafka"
    subject = "kafka"
    hold_s = (3.0, 8.0)

    def inject(self, scene: Scene) -> str:
        scene.kafka_gate.break_after(lambda: int(10 ** self.chance.uniform(1, 6)))
        return ""

    def heal(self, scene: Scene) -> None:
        scene.kafka_gate.break_after(None)


class KillConnect(Fault):
    """kill -9: whatever was sent since the offsets were last kept is sent again."""

    name = "kill-connect"
    subject = "kafka"
    hold_s = (0.0, 2.0)

    def inject(self, scene: Scene) -> str:
        scene.stack.connect.kill()
        return ""

    def heal(self, scene: Scene) -> None:
        scene.stack.connect.start()


class FailOver(Fault):
    """The primary is killed and its replica promoted, at one address; the old primary comes back as the new replica.

    Debezium may be behind then, and reads the rest from the other server's log. The writers wait meanwhile, and the
    replica gets everything first: what a primary loses is lost to the database too, and nobody could be told of it.
    """

    name = "failover-database"
    subject = "database"
    hold_s = (1.0, 4.0)

    def inject(self, scene: Scene) -> str:
        servers = _replicated(scene)
        is_lower = self.chance.random() < 0.5
        servers.number_logs(replica_is_lower=is_lower)
        behind = self.chance.choice([0, self.chance.randint(1, 60)])
        if behind:
            servers.gate.shut()
            scene.workload.go_on(behind)
        with scene.workload.paused():
            servers.fail_over()
            scene.write_to(servers.primary)
        servers.gate.open()
        return f"to {'lower' if is_lower else 'higher'} log numbers, Debezium {behind} steps behind"

    def heal(self, scene: Scene) -> None:
        _replicated(scene).rejoin()
        scene.connector.restart_if_failed()


def _replicated(scene: Scene) -> Replicated:
    assert scene.servers is not None, "the database has no replica"
    return scene.servers


_ALL: tuple[type[Fault], ...] = (
    *(KillConsumer, Zombie, JoinAndLeave),
    *(RestartRedis, HangRedis, FillRedis, CutReplies, WrongType),
    *(RestartBroker, FreezeBroker, BreakKafka, KillConnect),
    *(FailOver, FailOverRedis, MoveSlots),
)
FAULTS = {kind.name: kind for kind in _ALL}


def kinds_for(database: str, redis: str) -> dict[str, type[Fault]]:
    """The faults that these servers can have; MySQL alone has a replica here."""
    missing = {
        FailOver.name: database != "mysql",
        FailOverRedis.name: redis == "standalone",
        MoveSlots.name: redis != "cluster",
    }
    return {name: kind for name, kind in FAULTS.items() if not missing.get(name)}
