"""A core set of the scenario files from SQL to Redis, on each real database, in JSON and Avro."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import WITNESS, System
from tests.support.redis_view import eventually
from tests.support.scenario import Scenario, load_all
from tests.support.scenario_record import FORMATS, lines_of
from tests.support.scenario_sql import play, seed
from tests.support.stack import Stack
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import TABLES, Trading

pytestmark = [
    pytest.mark.stack,
    pytest.mark.registry,
    pytest.mark.parametrize("database", DATABASES, indirect=True),
    pytest.mark.parametrize("wire", FORMATS),
]

CORE = (
    "A money request approved: three tables, one message a channel",
    "An admin deposit: one message a channel, and it names the transaction",
    "A deposit changes only money; if the hash was evicted it comes back whole",
    "The balance becomes zero: zero is a value",
    "The group changes",
    "Money and profile in one change: one message a channel",
    "A new live user",
    "A completed transaction is cancelled: what was computed from it goes",
    "A deleted user",
    "A key change is a delete of the old user and an insert of the new",
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def overrides(stack: Stack, wire: str) -> dict[str, str]:
    """One partition, so that what was through is known of every user by one."""
    partitions = {f"topic.creation.{group}.partitions": "1" for group in ("default", "users")}
    return partitions | lines_of(stack, wire)


@pytest.fixture
def linked_rows(trading: Trading) -> None:
    """Rows that the snapshot finds, so that the linked tables' topics exist from the beginning."""
    row = {"id": WITNESS, "user_id": WITNESS, "type": "deposit", "amount": 1}
    trading.insert("money_requests", request_id="R", **row)
    trading.insert("user_transactions", transaction_id="T", **row)


@pytest.fixture
def running(linked_rows: None, system: System, wire: str) -> Iterator[System]:
    """The consumer at work: it waits for what belongs to one database transaction."""
    settings = {"CDC_KAFKA__LINGER_MS": "500"}
    if wire == "avro":
        settings["CDC_REGISTRY__URL"] = system.stack.registry.url
    with system.running(**settings):
        eventually(lambda: system.config(WITNESS) and system.config(WITNESS, "demo"), 30)
        yield system


def test_the_core_set(running: System, wire: str) -> None:
    scenarios = {each.title: each for each in load_all()}
    for title in CORE:
        # No row but the witnesses', and so no key of another user.
        for table in TABLES:
            running.trading.execute(f"DELETE FROM {table} WHERE id <> {WITNESS}")
        seed(running.trading, scenarios[title])
        _through(running)
        _check(running, scenarios[title])


def _through(system: System) -> None:
    """Wait until everything that was committed has been applied: by a change behind it in each topic that has plans,
    and one in a later batch, for within a batch users overtake each other.
    """
    number = int(system.field(WITNESS, "country_id") or 0) + 1
    said = {"transaction_id": f"T{number}", "type": "swap", "status": "completed"}
    with system.trading.transaction():
        for table in ("live_users", "demo_users"):
            system.trading.update(table, WITNESS, country_id=number)
        system.trading.insert("user_transactions", id=number, user_id=WITNESS, amount=1, **said)
    eventually(lambda: system.field(WITNESS, "last_transaction_id") == f"T{number}", 30)
    eventually(lambda: {system.field(WITNESS, "country_id", each) for each in ("live", "demo")} == {str(number)})
    system.trading.update("live_users", WITNESS, country_id=number + 1)
    eventually(lambda: system.field(WITNESS, "country_id") == str(number + 1))


def _check(system: System, scenario: Scenario) -> None:
    """Make the changes, and hold every line of the plans against Redis and what was heard.

    Where a plan says what to write if there is no hash, there is none.
    """
    lines = [tuple(line.split(" ", 1)) for outcome in scenario.outcomes for line in outcome]
    system.listener.heard()
    system.listener._heard.clear()
    owned: set[str] = set()
    for verb, what in lines:
        if verb == "if" and ":portfolio" in what:
            key, fields = _written(what.removeprefix("exists "))
            system.redis.hset(key, mapping=dict.fromkeys(fields, "old"))
        elif verb == "or":
            system.redis.delete(_written(what.removeprefix("whole "))[0])
        elif verb in ("clear", "remove") and not what.endswith(":config"):
            owned.add(what.replace("*", "day"))
    for key in owned:
        system.redis.delete(key)
        system.redis.set(key, "old")
    play(system.trading, scenario)
    published = [what for verb, what in lines if verb == "publish"]
    eventually(lambda: len(_heard(system)) >= len(published), what=f"{scenario.title}: {_heard(system)}")
    _through(system)
    assert _heard(system) == [_publication(line) for line in published], scenario.title
    for verb, what in lines:
        _check_line(system, verb, what)


def _check_line(system: System, verb: str, what: str) -> None:
    if verb in ("write", "if", "or"):
        key, fields = _written(what.removeprefix("exists ").removeprefix("whole "))
        found = {name: _TIME.sub("TIME", str(value)) for name, value in system.redis.hgetall(key).items()}
        assert {name: found.get(name) for name in fields} == fields, what
    elif verb == "set":
        key, _, rest = what.partition("=")
        value, _, seconds = rest.removesuffix(" s").partition(" for ")
        assert system.redis.get(key) == value
        assert int(seconds) - 100 < system.redis.ttl(key) <= int(seconds)
    elif verb in ("clear", "remove"):
        assert not system.redis.exists(what.replace("*", "day")), what


def _written(what: str) -> tuple[str, dict[str, str]]:
    """A key and the fields written to it."""
    key, _, pairs = what.partition(" ")
    return key, _pairs(pairs)


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split()]
    return {name: _TIME.sub("TIME", "" if value == "''" else value) for name, _, value in pairs}


def _publication(line: str) -> tuple[str, str, dict[str, str], dict[str, str]]:
    """Channel, event type, fields, and what a row of another table says."""
    said, _, details = line.partition(" with ")
    channel, event_type, *fields = re.sub(r" (\(\S+) -> (\S+\))", r"\1->\2", said).split(" ", 2)
    return channel, event_type, _pairs(" ".join(fields)), _pairs(details)


def _heard(system: System) -> list[tuple[str, str, dict[str, str], dict[str, str]]]:
    names = ("transaction_id", "transaction_type", "amount", "admin_id", "request_id")
    return [
        (
            channel,
            body["event_type"] + (f"({body['old_group']}->{body['new_group']})" if body["group_changed"] else ""),
            {name: _TIME.sub("TIME", value) for name, value in body["updated_fields"].items()},
            {name: str(body[name]) for name in names if name in body},
        )
        for channel, body in system.listener.heard()
        if body["user_id"] != WITNESS
    ]
