"""No page shows a value of a column that the mapping does not use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from consumer.commands.api.console.letters import Letters
from consumer.commands.shared.explain.columns import differences
from consumer.errors import Place
from consumer.events.avro import NO_SCHEMAS
from consumer.events.envelope import parse
from consumer.events.event import ChangeEvent
from consumer.guard.state import GuardState
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.pipeline.letter_state import Letter, Unapplied
from consumer.sink.view import StoredUser
from tests.support.scenario import load_all
from tests.unit.commands.console.desk import TOKEN, VIEWER, made

HIDDEN = {"email": "mark-9f1c@example.org", "password": "pw-9f1c-hash", "view_password": "vp-9f1c"}
DEPOSIT = next(each for each in load_all() if each.title.startswith("A deposit")).changes[0].record(7)
USER = UserId("live", 123)


def row(**columns: object) -> dict[str, Any]:
    """The row after the deposit, with columns that nobody may see."""
    return {**json.loads(DEPOSIT.value or b"")["after"], **HIDDEN, **columns}


def letter() -> Unapplied:
    value = {**json.loads(DEPOSIT.value or b""), "after": row(wallet_balance="77.25"), "before": row()}
    record = structs.replace(DEPOSIT, value=json.dumps(value).encode(), headers=(("trace", b"pw-9f1c-hash"),))
    found = Letter(record, Place("dlq", 0, 1), 1_760_000_000_000, "g", "r", "s", "", (USER,), "p", "a", ("live_users",))
    return Unapplied((found,))


class _Redis:
    """What Redis holds: another program has written hidden columns into the hash."""

    def __init__(self, *_: object) -> None:
        pass

    def run(self) -> None:
        pass

    def close(self) -> None:
        pass

    def stored_user(self, *_: object) -> StoredUser:
        return StoredUser({"group": "ours-41", **HIDDEN}, {"group": "ours-42", **HIDDEN}, "7.00", 60, GuardState())


class _Database:
    """What the database holds."""

    def __init__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    def rows(self, *_: object) -> list[Mapping[str, Any]]:
        return [row(group="theirs-43")]


@pytest.mark.parametrize("token", [TOKEN, VIEWER])
def test_a_letter_shows_values_of_columns_of_the_mapping_alone(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr(Letters, "one", lambda *_: letter())
    with made() as console, console.browser(token) as client:
        answer = client.get("/console/letters/one", params={"place": "t[0]@7"})
    assert answer.status_code == 200
    assert "77.25" in answer.text
    assert answer.text.count('<em class="none">hidden</em>') >= 2 * len(HIDDEN)
    assert [each for each in HIDDEN.values() if each in answer.text] == []


@pytest.mark.parametrize("token", [TOKEN, VIEWER])
def test_a_user_shows_values_of_columns_of_the_mapping_alone(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr("consumer.commands.shared.explain.present_values.RedisView", _Redis)
    monkeypatch.setattr("consumer.database.reader.Database", _Database)
    with made() as console, console.browser(token) as client:
        answer = client.get("/console/user", params={"user": str(USER)})
    assert answer.status_code == 200
    assert [each for each in ("ours-41", "ours-42", "theirs-43") if each not in answer.text] == []
    assert f"Fields of other programs in the config hash: {len(HIDDEN)}." in answer.text
    assert [each for each in HIDDEN.values() if each in answer.text] == []


def test_a_user_is_shown_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.commands.shared.explain.present_values.RedisView", _Redis)
    with made() as console, console.browser(TOKEN) as client:  # nothing listens at its database's port
        answer = client.get("/console/user", params={"user": str(USER)})
    assert answer.status_code == 200
    assert "ours-41" in answer.text
    assert "The database can't answer now" in answer.text
    assert "Redis has what the database has" not in answer.text
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(("operation", "before"), [("c", None), ("r", None), ("u", row(email="other@example.org"))])
def test_a_timeline_shows_values_of_columns_of_the_mapping_alone(operation: str, before: object) -> None:
    value = {
        **json.loads(DEPOSIT.value or b""),
        "op": operation,
        "before": before,
        "after": row(wallet_balance="77.25"),
    }
    event = parse(structs.replace(DEPOSIT, value=json.dumps(value).encode()), NO_SCHEMAS)
    assert isinstance(event, ChangeEvent)
    found = differences(event, reference())
    assert found.fields["wallet_balance"].new == "77.25"
    assert [each for each in (*HIDDEN.values(), "other@example.org") if each in repr(found)] == []
    assert HIDDEN.keys().isdisjoint(found.fields)
