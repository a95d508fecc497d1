"""A mapping is any text: what it takes is limited, and the API outlives it."""

from __future__ import annotations

import pytest

from consumer.commands.api.console import trial_process
from consumer.commands.api.console.trial import Wish
from consumer.commands.api.console.trial_process import trial_apart
from consumer.errors import ConfigError, ServerError
from consumer.mapping.reference import reference
from consumer.settings.sources import Settings
from tests.unit.commands.console.desk import TOKEN, VIEWER, csrf_of, made

# Nothing listens at port 1.
SETTINGS = Settings.model_validate({"kafka": {"bootstrap_servers": "127.0.0.1:1"}})
REFERENCE = 'extends = "reference"\n'


def tried(text: str) -> str:
    """What is said about a mapping that can't be tried."""
    with pytest.raises(ConfigError) as error:
        trial_apart(SETTINGS, reference(), Wish(text, "1h", "end", is_operators=False))
    return str(error.value)


def test_a_key_of_many_parts_takes_no_more_than_its_memory() -> None:
    """The parser keeps each beginning of a dotted key: 60,000 parts take 14 GB."""
    assert "too large for a trial" in tried(".".join("a" * 60_000) + " = 1")


def test_a_trial_that_is_late_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_process, "_LONGEST_S", 0.0)
    assert "too large for a trial" in tried(REFERENCE)


def test_an_answer_that_is_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_process, "_MOST_BYTES_OF_ANSWER", 1)
    assert "too large for a trial" in tried(REFERENCE)


def test_errors_come_back_as_they_are() -> None:
    assert tried("a = 1").startswith("mapping: a: no such key")
    with pytest.raises(ServerError) as error:
        trial_apart(SETTINGS, reference(), Wish(REFERENCE, "1h", "end", is_operators=False))
    assert error.value.server == "Kafka"
    assert error.value.cause


def test_the_page_says_it() -> None:
    with made() as console, console.browser(VIEWER) as client:
        form = {"csrf": csrf_of(client), "mapping": ".".join("a" * 60_000) + " = 1"}
        answer = client.post("/console/mapping", data=form)
        assert answer.status_code == 400
        assert "too large for a trial" in answer.text
        assert client.get("/console/").status_code == 200


# Whether a value is one of `done` would be told by what is cleared, in one record after the other.
ASKS = """extends = "reference"
[[linked]]
table = "user_transactions"
user_type = "live"
status = "secret"
done = ["x"]
clears = ["x:<type>:<id>"]
"""


@pytest.mark.parametrize(("token", "status"), [(VIEWER, 400), (TOKEN, 503)])
def test_a_viewer_can_not_ask_about_a_column_that_nobody_is_shown(token: str, status: int) -> None:
    with made() as console, console.browser(token) as client:
        answer = client.post("/console/mapping", data={"csrf": csrf_of(client), "mapping": ASKS})
    assert answer.status_code == status
    said = "it reads user_transactions.secret, which the running mapping does not show (fix: an operator may try it)"
    assert (said in answer.text) is (token == VIEWER)
