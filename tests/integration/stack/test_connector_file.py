"""connect/*.json and the REST client without any server: files, placeholders, failures."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from consumer.errors import ConfigError, ServerError, ServerUnavailable
from consumer.source.connect.client import POLL_S, ConnectApi, Connector, load_connector
from tests.support.stack.login import PROJECT

MYSQL = PROJECT / "connect" / "mysql.json"
VALUES = {
    "CDC_MYSQL_HOST": "db",
    "CDC_MYSQL_PASSWORD": "p'$\"\\",
    "CDC_MASK_SALT": "salt-1",
    "CDC_CONNECT_BOOTSTRAP_SERVERS": "kafka:9092",
}


def _api(answer: httpx.Response | Exception) -> ConnectApi:
    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ConnectApi("http://connect:8083", transport=httpx.MockTransport(respond))


def test_placeholders_are_filled_in_keys_and_values() -> None:
    connector = load_connector(MYSQL, VALUES)
    assert connector.name == "trading-mysql"
    assert connector.config["database.password"] == VALUES["CDC_MYSQL_PASSWORD"]
    assert "column.mask.hash.v2.SHA-256.with.salt.salt-1" in connector.config
    assert not any("${" in text for item in connector.config.items() for text in item)


@pytest.mark.parametrize("kind", ["mysql", "mariadb", "postgres"])
def test_the_connectors_differ_only_where_their_databases_do(kind: str) -> None:
    """What is captured, masked, how it is keyed and written, and which topics it makes, is one decision."""
    values = {name.replace("MYSQL", kind.upper()): value for name, value in VALUES.items()}
    values |= {"CDC_POSTGRES_SCHEMA": "trading"}
    own: tuple[str, ...] = (
        "connector.class",
        "database.",
        "schema.",
        "slot.",
        "plugin.",
        "publication.",
        "snapshot.locking",
    )
    own += ("include.schema.changes", "inconsistent.schema")
    again = {"mysql": "connect.keep.alive.interval.ms", "postgres": "retriable.restart.connector.wait.ms"}
    own += tuple(again.values())

    def shared(connector: Connector) -> dict[str, str]:
        return {name: value for name, value in connector.config.items() if not name.startswith(own)}

    found = load_connector(MYSQL.with_name(f"{kind}.json"), values)
    assert found.name == f"trading-{kind}"
    assert found.config[again.get(kind, again["mysql"])] == "1000", "how soon a lost database is tried again"
    assert shared(found) == shared(load_connector(MYSQL, VALUES))


@pytest.mark.parametrize("name", VALUES)
def test_a_missing_value_names_the_placeholder_and_the_file(name: str) -> None:
    rest = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(ConfigError, match=rf"{name}.*mysql\.json"):
        load_connector(MYSQL, rest)


@pytest.mark.parametrize("text", ["{", '{"name": "n"}', '{"name": "n", "config": {"a": 1}}'])
def test_a_file_that_is_no_connector_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"wrong\.json"):
        load_connector(path, {})


def test_a_connector_shows_no_secret() -> None:
    connector = load_connector(MYSQL, VALUES)
    assert VALUES["CDC_MYSQL_PASSWORD"] not in f"{connector!r} {connector}"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.ConnectError("refused"), ServerUnavailable),
        (httpx.ReadTimeout("slow"), ServerUnavailable),
        (httpx.Response(409, json={"message": "rebalance"}), ServerUnavailable),
        (httpx.Response(503, text="starting"), ServerUnavailable),
        (httpx.Response(400, json={"message": "bad password hunter2, salt pepper"}), ServerError),
    ],
)
def test_every_failure_is_one_of_ours_and_shows_no_secret(
    answer: httpx.Response | Exception, kind: type[ServerError]
) -> None:
    secret = Connector(name="n", config={"database.password": "hunter2", "x.with.salt.pepper": "y"})
    with _api(answer) as api, pytest.raises(ServerError) as failure:
        api.apply(secret)
    assert type(failure.value) is kind
    assert "hunter2" not in str(failure.value)
    assert "pepper" not in str(failure.value)


def test_a_failed_task_shows_the_first_lines_of_its_trace() -> None:
    trace = "org.X: stopped\n\tat a.b(C.java:1)\nCaused by: Access denied\n\tat d.e(F.java:2)\n"
    status = {"connector": {"state": "RUNNING"}, "tasks": [{"state": "FAILED", "trace": trace}]}
    with _api(httpx.Response(200, content=json.dumps(status))) as api, pytest.raises(ServerError) as failure:
        api.wait_running("n", timeout_s=0)
    assert str(failure.value) == "connector n: failed: org.X: stopped / Caused by: Access denied"


def test_a_connector_that_never_runs_is_given_up() -> None:
    status = {"connector": {"state": "RUNNING"}, "tasks": []}
    with _api(httpx.Response(200, content=json.dumps(status))) as api, pytest.raises(ServerUnavailable):
        api.wait_running("n", timeout_s=0)


def test_a_state_counts_once_it_has_lasted() -> None:
    """What Connect tells just after a change may be of the time before it."""
    states = iter(["FAILED", "FAILED", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING", "RUNNING"])
    asked = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(state := next(states))
        return httpx.Response(
            200, json={"connector": {"state": state, "trace": "old"}, "tasks": [{"state": "RUNNING"}]}
        )

    with ConnectApi("http://connect:8083", transport=httpx.MockTransport(respond)) as api:
        api.wait_running("n", steady_s=2.5 * POLL_S)
    assert asked[:3] == ["FAILED", "FAILED", "RUNNING"]
    assert len(asked) > 4


def test_one_that_somebody_paused_is_not_waited_for() -> None:
    status = {"connector": {"state": "PAUSED"}, "tasks": [{"state": "PAUSED"}]}
    with _api(httpx.Response(200, json=status)) as api, pytest.raises(ServerError, match="is PAUSED") as failure:
        api.wait_running("n")
    assert "/connectors/n/resume" in failure.value.advice


@pytest.mark.parametrize("answer", [{"error": 1}, ["x"], {"connector": {}}, "x", None])
def test_another_server_is_told_from_connect(answer: object) -> None:
    with _api(httpx.Response(200, json=answer)) as api:
        for ask in (api.status, api.connector):
            with pytest.raises(ServerError, match="answers, but is not Kafka Connect"):
                ask("n")


def test_what_the_plugin_calls_secret_is_secret() -> None:
    """Whatever the setting is called; and Connect may quote the whole configuration."""

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=[{"name": "wallet.pin", "type": "PASSWORD"}])
        return httpx.Response(400, json={"message": "Connector config {wallet.pin=8713,\n a=1} is wrong"})

    with ConnectApi("http://u:hunter2@connect:8083", transport=httpx.MockTransport(respond)) as api:
        with pytest.raises(ServerError) as failure:
            api.apply(Connector(name="n", config={"connector.class": "X", "wallet.pin": "8713"}))
        assert str(failure.value).endswith("400 Connector config {wallet.pin=***, a=1} is wrong")
        assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("name", ["a/b", "a b", "a?x=1"])
def test_a_name_is_one_part_of_the_path(name: str) -> None:
    paths = []

    def respond(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={})

    with ConnectApi("http://connect:8083", transport=httpx.MockTransport(respond)) as api:
        api.config(name)
    assert paths == [f"/connectors/{quote(name, safe='')}/config".encode()]
