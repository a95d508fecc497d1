"""Incremental snapshots by signal, on every database, with the program as a person starts it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import System
from tests.e2e.process import command
from tests.e2e.test_databases import each_database
from tests.support.redis_view import eventually
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading

USERS = range(1, 21)
SIGNALS_SEEN_SOON = {"signal.poll.interval.ms": "100"}
pytestmark = pytest.mark.stack


@pytest.fixture
def overrides() -> Mapping[str, str]:
    return SIGNALS_SEEN_SOON


def asked(system: System, *arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, what was told, and what a person reads."""
    own = {**system.environment, "CDC_CONNECT__URL": system.stack.connect.url, **environment}
    ran = command(own, "snapshot", "--json", *arguments, seconds=150)
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


def read_at_last(system: System, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What was told last, and everything a person reads. Under writes Debezium's task fails now and then: it is
    restarted, and asked again as the advice says.
    """
    everything, name = "", system.registration.connector.name
    for attempt in range(6):
        again = [each for each in arguments if not (attempt and each == "--authoritative")]
        code, told, said = asked(system, *again)
        everything += said
        if code == 0:
            return told, everything
        restart(system)
        with system.stack.connect.api() as api:
            eventually(lambda: api.status(name).running, 60)
    raise AssertionError(everything)


def restart(system: System) -> None:
    name = system.registration.connector.name
    url = f"{system.stack.connect.url}/connectors/{name}/restart?includeTasks=true&onlyFailed=true"
    httpx.post(url).raise_for_status()


def scanned(told: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {each["table"]: each["status"] for each in told if each["event"] == "table_scan_completed"}


@pytest.fixture
def filled(live: System) -> System:
    """Twenty users in Redis, and a connector that has looked at its signals."""
    for user in USERS:
        live.trading.insert("live_users", id=user, wallet_balance=0)
    eventually(lambda: all(live.config(user) for user in USERS), 60)
    time.sleep(1.0)
    return live


class Changing:
    """Updates of every user, one after the other, each with a higher balance; and what Redis shows meanwhile."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.rounds = 0
        self.backwards: list[str] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        done = threading.Event()
        threads = [threading.Thread(target=each, args=(done,)) for each in (self._change, self._watch)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            done.set()
            for each in threads:
                each.join()

    def _change(self, done: threading.Event) -> None:
        database = self.system.database
        with database.connect(database.logins.app) as connection:
            trading = Trading(connection, database.quote)
            while not done.is_set():
                self.rounds += 1
                for user in USERS:
                    trading.update("live_users", user, wallet_balance=self.rounds)
                time.sleep(0.05)

    def _watch(self, done: threading.Event) -> None:
        seen: dict[int, Decimal] = {}
        while not done.is_set():
            for user in USERS:
                now = Decimal(self.system.field(user, "wallet_balance") or "0")
                if now < seen.get(user, now):
                    self.backwards.append(f"live:{user} from {seen[user]} to {now}")
                seen[user] = now


def told_in_order(system: System) -> bool:
    """Whether every user's balances were published in the order in which they were changed."""
    for user in USERS:
        heard = system.heard(user)
        told = [Decimal(body["updated_fields"]["wallet_balance"]) for name, body in heard if name == "balance_updates"]
        if told != sorted(told):
            return False
    return True


def ends_like_the_database(system: System) -> None:
    """Under writes Debezium's task may fail once more after it has read, and is restarted again."""
    name = system.registration.connector.name

    def holds() -> bool:
        with system.stack.connect.api() as api:
            if not api.status(name).running:
                restart(system)
        return is_like_the_database(system)

    eventually(holds, 120)


def is_like_the_database(system: System) -> bool:
    for user in USERS:
        (balance,) = system.trading.row("live_users", user, "wallet_balance")
        if Decimal(system.field(user, "wallet_balance") or "-1") != Decimal(balance):
            return False
    return True


@pytest.mark.timeout(900)  # it is asked again, up to six times, when Debezium's task fails under the writes
@pytest.mark.parametrize(
    ("database", "arguments"),
    [
        *((each, ("live_users",)) for each in DATABASES),
        ("mysql", ("--user", "live:41", "--user", "live:42")),
    ],
    ids=[*DATABASES, "two users"],
    indirect=["database"],
)
def test_it_fills_what_is_missing_and_redis_never_goes_back(filled: System, arguments: tuple[str, ...]) -> None:
    """Of users who do not change meanwhile: of those who do, Debezium sends the change and leaves the read out."""
    for user in (41, 42):
        filled.trading.insert("live_users", id=user, wallet_balance=user)
    eventually(lambda: filled.config(41) and filled.config(42), 60)
    filled.redis.hset("user:{live:41}:config", "leverage", "999")
    filled.redis.hdel("user:{live:41}:config", "group")
    filled.redis.delete("user:{live:42}:config")
    changing = Changing(filled)
    with changing.going_on():
        eventually(lambda: changing.rounds > 3, 60)
        told, _ = read_at_last(filled, *arguments)
        eventually(lambda: changing.rounds > 10, 60)
    assert scanned(told) == {"trading.live_users": "SUCCEEDED"}
    assert told[-1]["event"] == "completed"
    ends_like_the_database(filled)
    eventually(lambda: filled.field(41, "group") is not None, 60)
    eventually(lambda: filled.field(42, "wallet_balance") == "42.00", 60)
    assert filled.field(41, "leverage") == "999", "nothing that stands is overwritten"
    assert changing.backwards == []
    assert told_in_order(filled)


@each_database
def test_it_overwrites_only_what_it_was_told_to_and_redis_never_goes_back(filled: System) -> None:
    """Users 3 and 5 have drifted, and so has 7, for whom nobody asked. All three change meanwhile, so that most of what
    puts them right is not a read, but the change that Debezium sends in its place.
    """
    for user in (3, 5, 7):
        filled.redis.hset(f"user:{{live:{user}}}:config", "leverage", "999")
    changing = Changing(filled)
    with changing.going_on():
        eventually(lambda: changing.rounds > 3, 60)
        _, said = read_at_last(filled, "--user", "live:3", "--user", "live:5", "--authoritative")
        eventually(lambda: changing.rounds > 10, 60)
    assert "2 users are marked" in said
    eventually(lambda: filled.field(3, "leverage") != "999" and filled.field(5, "leverage") != "999", 60)
    ends_like_the_database(filled)
    assert filled.field(7, "leverage") == "999"
    assert changing.backwards == []
    assert told_in_order(filled)


def test_a_whole_table_of_a_quiet_database_is_put_right(filled: System) -> None:
    """MySQL takes up to 45 s to see that nothing is written."""
    for user in USERS:
        filled.redis.hset(f"user:{{live:{user}}}:config", "leverage", "999")
    filled.redis.delete(f"cdc:{{live:{USERS[0]}}}")
    before = len(filled.listener.heard())
    code, told, said = asked(filled, "trading.live_users", "--authoritative", CDC_DATABASE__URL=filled.database.url)
    assert code == 0, said
    assert f"{len(USERS) + 1} users are marked" in said
    audit = told.pop()
    assert (audit["wrong"], audit["causes"]) == (0, {}), "an audit of the table follows"
    assert scanned(told) == {"trading.live_users": "SUCCEEDED"}
    eventually(lambda: all(filled.field(user, "leverage") != "999" for user in USERS), 60)
    assert len(filled.listener.heard()) == before, "reads are no news"
    assert list(filled.redis.hgetall("cdc:{live:3}")) == ["live_users"], "no mark is left"


def test_a_table_that_was_not_read_is_said_although_debezium_completes(filled: System) -> None:
    code, told, said = asked(filled, "live_users", "--where", "no_such_column = 4")
    assert code == 1
    assert scanned(told) == {"trading.live_users": "SQL_EXCEPTION"}
    assert told[-1]["event"] == "completed"
    assert "trading.live_users was not read to its end: SQL_EXCEPTION" in said
    code, told, said = asked(filled, "elsewhere.live_users")
    assert (code, told) == (2, [])
    assert "rows of elsewhere are not applied" in said


@pytest.mark.parametrize("overrides", [{**SIGNALS_SEEN_SOON, "incremental.snapshot.chunk.size": "1"}])
def test_it_is_stopped(filled: System) -> None:
    values = ", ".join(f"({user}, 'Someone', 'someone@example.org', 'secret')" for user in range(1000, 11_000))
    filled.trading.execute(f"INSERT INTO live_users (id, name, email, password) VALUES {values}")
    heard: list[tuple[int, list[dict[str, Any]], str]] = []
    changing = Changing(filled)
    with changing.going_on():
        follower = threading.Thread(target=lambda: heard.append(asked(filled, "live_users")))
        follower.start()
        while follower.is_alive():
            asked(filled, "--stop")
        follower.join()
    ((code, told, said),) = heard
    assert code == 1
    assert scanned(told).get("trading.live_users") != "SUCCEEDED"
    assert "trading.live_users was not read to its end: stopped before its end" in said


def test_silence_is_explained(filled: System) -> None:
    """A signal that no connector reads."""
    environment = {"CDC_SNAPSHOT__SIGNAL_TOPIC": f"{filled.registration.prefix}.elsewhere"}
    code, told, said = asked(filled, "live_users", CDC_SNAPSHOT__SILENCE_S="12", **environment)
    assert (code, told) == (1, [])
    assert "up to 45 s, or until the next write" in said
    assert "sent no notification of the snapshot for 12 s" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nothing",),
        ("demo_users", "--user", "live:1"),
        ("--user", "robot:1"),
        ("--user", "1"),
        ("--where", "id = 1"),
        ("live_users", "--where", "id = 1", "--authoritative"),
        ("user_transactions",),
        ("trading.user_transactions", "--authoritative"),
        ("--stop", "--user", "live:1"),
    ],
)
def test_what_makes_no_sense_is_refused(system: System, arguments: tuple[str, ...]) -> None:
    """The topic of the transactions is not there yet: without its database its table can't be named."""
    code, told, said = asked(system, *arguments)
    assert (code, told) == (2, [])
    assert "(allowed: " in said or "(fix: " in said
    assert system.redis.keys("cdc:{*") == [], "nobody is marked"
