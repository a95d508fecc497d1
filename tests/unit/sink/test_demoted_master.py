"""A master that became a replica, and is master again with less: its connection must be reported as new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from consumer.errors import Reconnected
from consumer.settings.sections import Redis
from consumer.sink.cluster import routes
from consumer.sink.cluster.routes import Routes
from consumer.sink.cluster.topology import Node, Topology

M, R = Node("m", 1), Node("r", 2)


class Cluster:
    """One shard of two nodes. ``master``: which one. A node that is down breaks its connections.

    A node that is cut off from the others answers ``refusal``.
    """

    refusal: redis.ResponseError = redis.exceptions.ClusterDownError("The cluster is down")

    def __init__(self) -> None:
        self.master = M
        self.down: set[Node] = set()
        self.cut_off: set[Node] = set()
        self.acknowledged: list[tuple[Node, Any]] = []

    def slots(self) -> list[Any]:
        others = [n for n in (M, R) if n != self.master and n not in self.down]
        return [[0, 16383, *([*n, "id"] for n in (self.master, *others))]]


class FakeScript:
    """Script's contract: the first send over a new connection raises Reconnected, unless it is the first."""

    def __init__(self, cluster: Cluster, server: Redis, node: Node, *, is_first: bool, is_guarded: bool) -> None:
        self.cluster, self.node, self.is_connected, self.may = cluster, node, False, is_first

    def close(self) -> None:
        self.is_connected = False

    def accept_new_connection(self) -> None:
        self.may = True

    def send(self, calls: Sequence[Any]) -> None:
        if self.node in self.cluster.down:
            self.is_connected = False
            raise redis.ConnectionError("down")
        if not self.is_connected:
            if not self.may:
                raise Reconnected("Redis", "new")
            self.is_connected, self.may = True, False
        self.calls = calls

    def receive(self) -> list[Any]:
        if self.node in self.cluster.cut_off:
            return [self.cluster.refusal for _ in self.calls]
        if self.node != self.cluster.master:
            return [redis.exceptions.MovedError(f"1 {self.cluster.master}") for _ in self.calls]
        self.cluster.acknowledged += [(self.node, call) for call in self.calls]
        return [1] * len(self.calls)


def routed(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, slots_told_by: Callable[[Node], list[Any]]
) -> tuple[Topology, Routes]:
    """The connections to the cluster, after the first call was answered. ``slots_told_by``: a node's slot map."""
    monkeypatch.setattr(routes, "Script", partial(FakeScript, cluster))

    class Client:
        def __init__(self, node: Node) -> None:
            self.node = node

        def execute_command(self, *_: Any) -> Any:
            return slots_told_by(self.node)

    server = Redis(url=SecretStr("redis+cluster://m:1,r:2/"))
    topology = Topology(server)
    monkeypatch.setattr(topology, "client", Client)
    plans = Routes(server, topology, is_guarded=True)
    topology.look()
    assert plans.send_to_masters([(1, ("A",))]) == [1]
    return topology, plans


@pytest.mark.parametrize("who_looks", ["the routes", "the index"])
def test_a_master_that_is_master_again_with_less_is_noticed(monkeypatch: pytest.MonkeyPatch, who_looks: str) -> None:
    cluster = Cluster()

    def slots_told_by(node: Node) -> list[Any]:
        if node in cluster.down:
            raise redis.ConnectionError("down")
        return cluster.slots()

    topology, plans = routed(monkeypatch, cluster, slots_told_by)
    cluster.master = R  # CLUSTER FAILOVER: nobody is down, and no connection breaks
    if who_looks == "the index":
        topology.look()  # ClusterIndex.matching does so for each batch, ClusterKeyspace.clients for each probe
    (reply,) = plans.send_to_masters([(1, ("B",))])
    assert isinstance(reply, Reconnected)
    plans.accept_new_connection()  # the pipeline compares the offsets: nothing is lost
    assert plans.send_to_masters([(1, ("B",))]) == [1]
    cluster.down, cluster.master = {R}, M  # R is killed before M has B; M is promoted
    if who_looks == "the index":
        topology.look()
    replies = [plans.send_to_masters([(1, ("C",))])[0] for _ in range(2)]
    assert any(isinstance(reply, Reconnected) for reply in replies), f"B is lost, and C was acknowledged: {replies}"


def test_an_older_slot_map_does_not_lead_to_new_connections_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """M answers that the slot is on R now. R does not tell its slot map in time, and M's is older."""
    cluster = Cluster()

    def slots_told_by(node: Node) -> list[Any]:
        if node == R:
            raise redis.TimeoutError("slow")
        return [[0, 16383, [*M, "id"], [*R, "id"]]]

    _, plans = routed(monkeypatch, cluster, slots_told_by)
    cluster.master = R
    replies = []
    for _ in range(3):
        replies += plans.send_to_masters([(1, ("B",))])
        plans.accept_new_connection()
    assert replies[-1] == 1, f"the first connection to R is new, and no later one: {replies}"


@pytest.mark.parametrize(
    "refusal",
    [
        Cluster.refusal,
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.ResponseError("NOREPLICAS Not enough good slaves to write."),
        redis.ResponseError("Error running script (call to f_1): @user_script:7: -NOREPLICAS Not enough good replicas"),
    ],
)
def test_a_master_that_is_cut_off_from_the_others_is_left(
    monkeypatch: pytest.MonkeyPatch, refusal: redis.ResponseError
) -> None:
    """It still answers us, also that it is the master."""
    cluster = Cluster()
    cluster.refusal = refusal
    topology, plans = routed(
        monkeypatch, cluster, lambda node: [[0, 16383, [*(M if node == M else cluster.master), "id"]]]
    )
    cluster.cut_off, cluster.master = {M}, R
    topology.replicas = frozenset({R})
    replies = []
    for _ in range(3):
        replies += plans.send_to_masters([(1, ("B",))])
        plans.accept_new_connection()
    assert replies[-1] == 1, f"it asks M for ever: {replies}"


ALL, HALF = [[0, 16383, [*R, "id"]]], [[0, 8191, [*M, "id"]]]


@pytest.mark.parametrize(
    ("told", "owners"),
    [
        ({M: [], R: ALL}, (R, R)),
        ({M: HALF, R: ALL}, (R, R)),
        ({M: HALF, R: []}, (M, None)),
        ({M: [], R: HALF}, (M, None)),
    ],
)
def test_the_fullest_slot_map_is_taken(
    monkeypatch: pytest.MonkeyPatch, told: dict[Node, list[Any]], owners: tuple[Node | None, Node | None]
) -> None:
    """A node that was reset knows no slots."""
    topology = Topology(Redis(url=SecretStr("redis+cluster://m:1,r:2/")))

    class Client:
        def __init__(self, node: Node) -> None:
            self.node = node

        def execute_command(self, *_: Any) -> Any:
            return told[self.node]

    monkeypatch.setattr(topology, "client", Client)
    topology.look()
    assert (topology.owner(1), topology.owner(16_000)) == owners
    told.update({M: [], R: []})
    with pytest.raises(redis.exceptions.ClusterDownError, match="no node of the cluster knows a master"):
        topology.look()
    assert (topology.owner(1), topology.owner(16_000)) == owners, "the last one is kept"
