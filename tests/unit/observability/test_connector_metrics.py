"""Connectors as `run` and `connect watch` see them, on answers of Connect's that a test makes up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from consumer.commands.connectors.watch import ConnectorWatch, once, watch
from consumer.commands.run.connector_readiness import ConnectorReadiness
from consumer.errors import ConfigError
from consumer.observability.connector_metrics import WatchMetrics
from consumer.source.connect.client import ConnectApi
from consumer.source.connect.failure import Kind
from consumer.source.connect.status import ConnectorStatus
from tests.unit.source.test_connector_failure import MYSQL_IS_AWAY, MYSQL_LOGIN, MYSQL_LOST

PASSWORD = "hunter2"
OURS = {"topic.prefix": "trading", "connector.class": "X", "database.password": PASSWORD}


class _Connect:
    """Answers as Connect's REST API. ``parts`` are the connector's state, its task's, and the task's trace."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[str, str, str]] = {"trading-mysql": ("RUNNING", "RUNNING", "")}
        self.is_away = self.is_refusing = False
        self.restarts: list[str] = []
        self.api = ConnectApi("http://connect:8083", transport=httpx.MockTransport(self._answer))
        self.now = 1000.0

    def fail(self, trace: str, state: str = "FAILED") -> None:
        self.parts["trading-mysql"] = ("RUNNING", state, trace)

    def run(self) -> None:
        self.parts["trading-mysql"] = ("RUNNING", "RUNNING", "")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_away:
            raise httpx.ConnectError("refused", request=request)
        if self.is_refusing:
            return httpx.Response(401, json={"message": "who are you?"})
        if request.url.path.startswith("/connector-plugins/"):
            return httpx.Response(404, json={"message": "none"})
        if request.method == "POST":
            self.restarts.append(request.url.path.split("/")[2])
            return httpx.Response(202, json={})
        assert request.url.path == "/connectors"
        return httpx.Response(200, json={name: self._told(name, *parts) for name, parts in self.parts.items()})

    def _told(self, name: str, connector: str, task: str, trace: str) -> dict[str, Any]:
        config = OURS if name.startswith("trading") else {**OURS, "topic.prefix": "other"}
        tasks = [{"id": 0, "state": task, "trace": trace}]
        return {"info": {"config": config}, "status": {"connector": {"state": connector}, "tasks": tasks}}


@pytest.fixture
def connect() -> Iterator[_Connect]:
    found = _Connect()
    yield found
    found.api.close()


class _Run:
    """What `run` has of it."""

    def __init__(self, connect: _Connect) -> None:
        self.connect = connect
        self.watch = ConnectorReadiness(connect.api, "trading", lambda: connect.now)
        self.registry = CollectorRegistry()
        self.registry.register(self.watch.states)

    def look(self) -> list[dict[str, Any]]:
        self.connect.now += 2
        with capture_logs() as lines:
            self.watch.look()
        assert PASSWORD not in json.dumps(lines)
        return [dict(line) for line in lines]

    def state(self, state: str) -> float | None:
        labels = {"connector": "trading-mysql", "state": state}
        return self.registry.get_sample_value("cdc_connector_state", labels)

    def failures(self) -> float | None:
        return self.registry.get_sample_value("cdc_connector_failures_total", {"connector": "trading-mysql"})


def test_run_tells_of_a_failure_when_it_begins_and_when_it_ends(connect: _Connect) -> None:
    run = _Run(connect)
    assert run.look() == []
    assert (run.state("RUNNING"), run.state("FAILED"), run.failures()) == (1, 0, 0)
    connect.fail(f"{MYSQL_IS_AWAY}\nCaused by: it said {PASSWORD}: Connection refused")
    (line,) = run.look()
    assert (line["action"], line["connector"], line["state"]) == ("connector.down", "trading-mysql", "FAILED")
    assert line["cause"] == "it said ***: Connection refused"
    assert run.look() == []
    assert run.watch.unready() == "the connector trading-mysql is FAILED"
    assert (run.state("RUNNING"), run.state("FAILED"), run.failures()) == (0, 1, 1)
    connect.run()
    (line,) = run.look()
    assert (line["action"], line["down_s"]) == ("connector.up", 4.0)
    assert run.watch.unready() == ""
    assert run.failures() == 1


def test_run_is_not_ready_while_somebody_holds_the_connector(connect: _Connect) -> None:
    run = _Run(connect)
    connect.parts["trading-mysql"] = ("PAUSED", "PAUSED", "")
    (line,) = run.look()
    assert line["state"] == "PAUSED"
    assert run.watch.unready() == "the connector trading-mysql is PAUSED"
    del connect.parts["trading-mysql"]
    assert [line["action"] for line in run.look()] == ["connector.absent"]
    assert run.watch.unready() == ""
    assert run.state("PAUSED") is None


def test_run_says_once_that_connect_is_away_and_stays_ready(connect: _Connect) -> None:
    run = _Run(connect)
    connect.is_away = True
    assert [line["action"] for line in run.look()] == ["connect.waiting"]
    assert run.look() == []
    assert run.watch.unready() == ""
    connect.is_away = False
    assert [line["action"] for line in run.look()] == ["connect.resumed"]


def test_a_connector_of_another_prefix_is_none_of_ours(connect: _Connect) -> None:
    connect.parts["other-mysql"] = ("RUNNING", "FAILED", MYSQL_IS_AWAY)
    run = _Run(connect)
    assert run.look() == []
    assert once_done(connect) == ([], {})
    connect.parts = {"other-mysql": connect.parts["other-mysql"]}
    assert [line["action"] for line in run.look()] == ["connector.absent"]
    assert run.look() == []


def once_done(connect: _Connect, *names: str) -> tuple[list[str], dict[str, Kind]]:
    metrics = WatchMetrics()
    once(ConnectorWatch(connect.api, "trading", names, metrics))
    return connect.restarts, dict(metrics.refused)


def test_once_starts_again_what_may_and_answers_what_may_not(connect: _Connect) -> None:
    connect.fail(MYSQL_IS_AWAY)
    assert once_done(connect) == (["trading-mysql"], {})
    connect.fail(MYSQL_LOGIN)
    assert once_done(connect) == (["trading-mysql"], {"trading-mysql": Kind.LOGIN})


def test_named_connectors_are_watched_whatever_their_prefix(connect: _Connect) -> None:
    connect.parts["other-mysql"] = ("RUNNING", "FAILED", MYSQL_IS_AWAY)
    assert once_done(connect, "other-mysql") == (["other-mysql"], {})


def test_a_refusal_is_one_sentence_with_the_runbook_and_without_secrets(connect: _Connect) -> None:
    connect.fail(f"{MYSQL_LOGIN} {PASSWORD}")
    metrics = WatchMetrics()
    watched = ConnectorWatch(connect.api, "trading", (), metrics)
    with capture_logs() as lines:
        for now in range(5):
            watched.look(float(now), float)
    (line,) = lines
    assert line["action"] == "connector.refused"
    assert line["event"] == ("the connector is not restarted: the database refuses the connector's account or password")
    assert "docs/runbooks.md, The connector failed, 1" in line["advice"]
    assert PASSWORD not in json.dumps(lines, default=str)
    labels = {"connector": "trading-mysql", "cause": "login"}
    assert metrics.registry.get_sample_value("cdc_connector_refused", labels) == 1
    assert connect.restarts == []


def test_a_lost_log_is_refused_with_its_own_runbook(connect: _Connect) -> None:
    connect.fail(MYSQL_LOST)
    metrics = WatchMetrics()
    watched = ConnectorWatch(connect.api, "trading", (), metrics)
    with capture_logs() as lines:
        for now in range(5):
            watched.look(float(now), float)
    (line,) = lines
    assert (line["action"], line["reason"]) == ("connector.refused", Kind.LOST)
    assert "docs/runbooks.md, The connector failed, 2" in line["advice"]
    labels = {"connector": "trading-mysql", "cause": "lost"}
    assert metrics.registry.get_sample_value("cdc_connector_refused", labels) == 1
    assert once_done(connect) == ([], {"trading-mysql": Kind.LOST})


def test_restarts_are_counted_and_told(connect: _Connect) -> None:
    metrics = WatchMetrics()
    watched = ConnectorWatch(connect.api, "trading", (), metrics)
    with capture_logs() as lines:
        for now in range(12):
            connect.fail(MYSQL_IS_AWAY) if now < 5 else connect.run()
            watched.look(float(now), float)
    assert [line["action"] for line in lines] == [
        *("connector.failed", "connector.restarted", "connector.restarted", "connector.runs")
    ]
    count = metrics.registry.get_sample_value("cdc_connector_restarts_total", {"connector": "trading-mysql"})
    assert count == len(connect.restarts) == 2


def test_connect_away_is_waited_for_and_said_once(connect: _Connect) -> None:
    metrics = WatchMetrics()
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            assert "ConnectError" in metrics.unready()
            connect.is_away = False

    connect.is_away = True
    with capture_logs() as lines:
        watch(ConnectorWatch(connect.api, "trading", (), metrics), metrics, sleep, lambda: len(pauses) == 5)
    assert [line["action"] for line in lines] == ["connect.waiting", "connect.resumed"]
    assert pauses[0] < pauses[2]
    assert metrics.unready() == ""


def test_a_wrong_password_for_connect_ends_it_at_the_start_only(connect: _Connect) -> None:
    metrics = WatchMetrics()
    watched = ConnectorWatch(connect.api, "trading", (), metrics)
    connect.is_refusing = True
    with pytest.raises(ConfigError, match="CDC_CONNECT__"):
        watch(watched, metrics, lambda _: None, lambda: False)
    connect.is_refusing = False
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        connect.is_refusing = len(pauses) < 3

    with capture_logs() as lines:
        watch(watched, metrics, sleep, lambda: len(pauses) == 5)
    assert [line["action"] for line in lines] == ["connect.waiting", "connect.resumed"]


@pytest.mark.parametrize(
    ("connector", "tasks", "state"),
    [
        ("RUNNING", ("RUNNING", "FAILED"), "FAILED"),
        ("FAILED", ("RUNNING",), "FAILED"),
        ("RUNNING", ("UNASSIGNED",), "UNASSIGNED"),
        ("PAUSED", ("PAUSED",), "PAUSED"),
        ("RUNNING", ("RUNNING",), "RUNNING"),
    ],
)
def test_one_word_for_all_of_it(connector: str, tasks: tuple[str, ...], state: str) -> None:
    assert ConnectorStatus(connector, tasks).state == state
