"""Connectors without Connect: what is secret, what differs, how one is."""

from __future__ import annotations

import json

import msgspec
import pytest

from consumer.commands.connectors import diff as connector_diff
from consumer.commands.connectors.diff import Difference, differences
from consumer.source.connect import status as connector_status
from consumer.source.connect.redaction import Redaction
from consumer.source.connect.status import ConnectorStatus, first_causes, read_status

SALT = "column.mask.hash.v2.SHA-256.with.salt."


def redaction(*configs: dict[str, str], names: tuple[str, ...] = ()) -> Redaction:
    found = Redaction()
    for config in configs:
        found.learn(config, names)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "database.password",
        "signal.consumer.sasl.jaas.config",
        "value.converter.basic.auth.user.info",
        "ssl.keystore.key",
        "database.ssl.truststore.password",
        "aws.secret.access.key",
    ],
)
def test_secret_settings(name: str) -> None:
    assert redaction().is_secret(name)


@pytest.mark.parametrize("name", ["database.user", "message.key.columns", "snapshot.mode", f"{SALT}x", "topic.prefix"])
def test_settings_that_may_be_shown(name: str) -> None:
    assert not redaction().is_secret(name)


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter2", "Access denied (hunter2)"),
        ('a"b', r'{"password": "a\"b"}'),
        ("a b@c", "jdbc:mysql://h/?password=a%20b%40c"),
        ("two\nlines", "wrong: two\nlines"),
    ],
)
def test_a_secret_is_found_in_every_spelling(secret: str, text: str) -> None:
    shown = redaction({"database.password": secret})(text)
    assert "***" in shown
    assert secret not in shown
    assert json.dumps(secret)[1:-1] not in shown


def test_the_login_in_a_url_is_never_shown() -> None:
    assert redaction()("can't reach http://u:p@h:1/x") == "can't reach http://***@h:1/x"


def test_the_longer_secret_goes_first() -> None:
    assert redaction({"a.password": "abc", "b.password": "abcdef"})("abcdef") == "***"


def test_what_differs() -> None:
    running = {"name": "n", "a": "1", "b": "2", "database.password": "hunter1", "gone": "x", "same": "s"}
    file = {"a": "1", "b": "3", "database.password": "hunter2", "new": "y", "same": "s"}
    found = list(differences("n", running, file, redaction(running, file)))
    assert found == [
        Difference("b", "2", "3"),
        Difference("database.password", "***", "***"),
        Difference("gone", "x", None),
        Difference("new", None, "y"),
    ]
    assert [connector_diff.to_text(each) for each in found] == [
        "  ~ b: Connect has '2'; the file has '3'",
        "  ~ database.password: differs, ***",
        "  - gone: Connect has 'x'; not set in the file",
        "  + new: not set in Connect; the file has 'y'",
    ]
    assert "hunter" not in connector_diff.to_json("n", True, found)
    assert list(differences("n", running, {**running}, redaction(running))) == []


def test_another_salt_is_one_difference_and_not_shown() -> None:
    running, file = {f"{SALT}pepper": "x"}, {f"{SALT}cumin": "x"}
    (found,) = differences("n", running, file, redaction(running, file))
    assert found == Difference(f"{SALT}***", "***", "***")


def test_another_list_under_the_same_salt_is_shown() -> None:
    running, file = {f"{SALT}pepper": "x"}, {f"{SALT}pepper": "x,y"}
    (found,) = differences("n", running, file, redaction(running, file))
    assert found == Difference(f"{SALT}***", "x", "x,y")


def test_a_connector_that_could_not_be_started_has_no_version() -> None:
    failed = {"connector": {"state": "FAILED", "trace": "boom", "version": None}, "tasks": []}
    assert read_status(failed).version == ""
    assert read_status({"connector": {"state": "RUNNING", "version": "3.5.0"}, "tasks": []}).version == "3.5.0"


def test_the_state_of_a_connector() -> None:
    trace = "org.X: stopped\n\tat a.b(C.java:1)\n\t... 2 more\nCaused by: no hunter2\n"
    status = read_status(
        {
            "name": "n",
            "connector": {"state": "RUNNING", "worker_id": "w"},
            "tasks": [{"id": 0, "state": "FAILED", "trace": trace}, {"id": 1, "state": "RUNNING"}],
        }
    )
    assert status.failed
    assert not status.running
    causes = status.causes(redaction({"database.password": "hunter2"}))
    assert causes == ["org.X: stopped / Caused by: no ***"]
    text = connector_status.to_text("n", status, causes)
    assert text == "n: RUNNING, task 0 FAILED, task 1 RUNNING\n  org.X: stopped / Caused by: no ***"
    assert json.loads(connector_status.to_json("n", status, causes)) == {
        "connector": "n",
        "state": "RUNNING",
        "tasks": ["FAILED", "RUNNING"],
        "causes": causes,
    }
    assert "hunter2" not in repr(status)


@pytest.mark.parametrize(
    ("status", "is_running", "is_held"),
    [
        (ConnectorStatus("RUNNING", ("RUNNING",)), True, False),
        (ConnectorStatus("RUNNING", ()), False, False),
        (ConnectorStatus("RUNNING", ("RUNNING", "UNASSIGNED")), False, False),
        (ConnectorStatus("PAUSED", ("PAUSED",)), False, True),
        (ConnectorStatus("STOPPED", ()), False, True),
    ],
)
def test_what_runs(status: ConnectorStatus, is_running: bool, is_held: bool) -> None:
    assert (status.running, status.is_stopped) == (is_running, is_held)


def test_what_is_no_status() -> None:
    with pytest.raises(msgspec.ValidationError):
        read_status({"connector": "RUNNING"})


def test_as_many_causes_as_asked_for() -> None:
    assert first_causes("a\n\tat x\nCaused by: b\nCaused by: c", str, 2) == "a / Caused by: b"
