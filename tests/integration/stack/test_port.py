"""Ports for servers: each once, and for workers that run side by side each from a share of its own."""

from __future__ import annotations

import pytest

from tests.support.stack.port import BUS, Ports


@pytest.fixture(autouse=True)
def _of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests take is not taken from others of this process."""
    monkeypatch.setattr(Ports, "_taken", set())


def taken(monkeypatch: pytest.MonkeyPatch, worker: int, workers: int) -> set[int]:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{worker}")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(workers))
    ports = Ports()
    found = {ports.take("server") for _ in range(100)}
    for distance in (1, BUS):
        firsts = {ports.take("pair", distance) for _ in range(100)}
        found |= firsts | {each + distance for each in firsts}
    assert len(found) == 500, "each once"
    return found


def test_workers_never_take_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [taken(monkeypatch, worker, 3) for worker in range(3)]
    assert len(set.union(*shares)) == 1500


def test_alone_it_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    ports = Ports({"kafka": 9092})
    assert ports.take("kafka") == 9092
    assert len({ports.take("other") for _ in range(100)}) == 100


def test_two_objects_never_hand_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes of a cluster had one port: the second could not listen, and the first answered in its place."""
    monkeypatch.setattr("random.sample", lambda choices, _: list(choices))
    assert Ports().take("node", BUS) != Ports().take("node", BUS)
