"""A server that can't serve is waited for, whatever keeps it: nothing is half written, and nothing doubled after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from consumer.errors import Reconnected, ServerUnavailable
from consumer.mapping.reference import reference
from consumer.pipeline.protocols import Applied
from consumer.planning.effect import Plan
from consumer.settings.sections import Guard, Redis
from consumer.sink.redis_sink import RedisSink
from tests.integration.redis.states import ACCOUNTS, PASSWORD, STATES, USER, State, with_another_password
from tests.integration.redis.test_sink import planned, scenario
from tests.support.redis_server import RedisServer
from tests.support.redis_view import Listener, dump, eventually

DEPOSITED, CREATED, DELETED = 123, 7, 8
"""Three users, so that each way of writing meets each state."""


def plan_for(user_id: int, beginning: str, offset: int) -> Plan:
    """What the scenario's first change would be of another user."""
    change = scenario(beginning).changes[0]
    before, after = (row and row | {"id": user_id} for row in (change.before, change.after))
    return planned(replace(change, user_id=user_id, before=before, after=after), offset)


BEFORE = [plan_for(DEPOSITED, "A new live user", 1), plan_for(DELETED, "A new live user", 2)]
PLANS = [
    plan_for(DEPOSITED, "A deposit", 3),
    plan_for(CREATED, "A new live user", 4),
    plan_for(DELETED, "A deleted user", 5),
    plan_for(DEPOSITED, "The group", 6),
]


def fill(client: redis.Redis) -> None:
    """What stands in Redis before the plans: derived keys, a portfolio, a hash with a field of somebody else's."""
    client.flushall()
    client.hset(f"user:{{live:{DEPOSITED}}}:portfolio", "positions", "3")
    client.hset(f"user:{{live:{DEPOSITED}}}:config", "extra", "kept")
    for user_id in (DEPOSITED, CREATED, DELETED):
        client.mset({f"user_stats:live:{user_id}": "x", f"financial_summary:live:{user_id}:day": "x"})


@pytest.fixture
def own_redis(redis_binary: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A real server of this test alone, which may do to it what it likes."""
    server = RedisServer(redis_binary, tmp_path, ACCOUNTS)
    server.start()
    yield server
    server.end()


@pytest.fixture(params=["tracking", "scan"])
def own_sink(request: pytest.FixtureRequest, own_redis: RedisServer) -> Iterator[RedisSink]:
    """A sink that has reached a server of its own, by an account of its own."""
    sink = make_sink(own_redis, PASSWORD, request.param == "tracking")
    sink.reach()
    yield sink
    sink.close()


def make_sink(server: RedisServer, password: str, tracking: bool = False) -> RedisSink:
    url = server.url.replace("//", f"//{USER}:{password}@")
    return RedisSink(Redis(url=SecretStr(url), timeout_ms=300, tracking=tracking), Guard(), reference())


def stored(client: redis.Redis) -> dict[str, bytes]:
    """All but the wildcard keys: those are cleared too where an answer was lost, for the plan may have been applied."""
    return {key: value for key, value in dump(client).items() if not key.startswith("financial_summary:")}


def refusals(sink: RedisSink, plans: list[Plan]) -> list[object]:
    """Each plan's answer, or what was raised for all of them."""
    try:
        return [answer for _, answer in sink.apply(plans)]
    except ServerUnavailable as error:
        return [error]
    except Reconnected:
        sink.accept_new_connection()
        return refusals(sink, plans)


def apply_until_done(sink: RedisSink, plans: list[Plan]) -> list[Applied]:
    """Each plan's answer; a connection that broke meanwhile is found out by the first attempt."""
    answers: dict[int, Applied] = {}

    def is_done() -> bool:
        left = [at for at in range(len(plans)) if at not in answers]
        try:
            for number, answer in sink.apply([plans[at] for at in left]):
                if isinstance(answer, Applied):
                    answers[left[number]] = answer
                else:
                    assert isinstance(answer, ServerUnavailable), answer
        except ServerUnavailable:
            return False
        except Reconnected:
            sink.accept_new_connection()
            return False
        return len(answers) == len(plans)

    eventually(is_done)
    return [answers[at] for at in range(len(plans))]


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_waited_for_and_then_exactly_once(own_redis: RedisServer, own_sink: RedisSink, state: State) -> None:
    with own_redis.connect() as client, ExitStack() as exits:
        fill(client)
        apply_until_done(own_sink, [*BEFORE, *PLANS])
        eventually(lambda: not client.keys(f"financial_summary:live:[^{CREATED}]*"))
        expected = dump(client)
        fill(client)
        apply_until_done(own_sink, BEFORE)
        before = stored(client)
        listener = None if state.is_restarted else exits.enter_context(closing(Listener(client)))
        with state.enter(own_redis, client):
            for _ in range(2):
                answers = refusals(own_sink, PLANS)
                refused = [each for each in answers if isinstance(each, ServerUnavailable)]
                others = [each for each in answers if each not in refused]
                assert refused
                assert all(state.stops_inside and isinstance(each, Applied) for each in others), others
            assert not (state.serves_nothing and own_sink.is_reachable())
        listener = listener or exits.enter_context(closing(Listener(client)))
        if not state.may_write_late and not state.stops_inside:
            assert stored(client) == before
        answers_after = apply_until_done(own_sink, PLANS)
        if not state.may_write_late and not state.stops_inside:
            assert all(answer.is_accepted for answer in answers_after)
        eventually(lambda: dump(client) == expected, 3)
        count = sum(len(plan.messages) for plan in PLANS)
        eventually(lambda: len(listener.heard()) >= count, 3)
        heard = listener.heard()
        for plan in PLANS:
            told = [channel for channel, body in heard if body["event_id"] in plan.messages[0].body]
            assert told == [message.channel for message in plan.messages]
        assert len(heard) == count


@pytest.mark.parametrize("name", ["down", "hung", "busy with another's script", "full of clients"])
def test_at_the_start_it_is_waited_for_too(own_redis: RedisServer, name: str) -> None:
    with own_redis.connect() as client:
        sink = make_sink(own_redis, PASSWORD)
        with STATES[name].enter(own_redis, client), pytest.raises(ServerUnavailable):
            sink.reach()
        sink.reach()
        sink.close()


def test_scripts_flushed_all_the_time(own_redis: RedisServer, own_sink: RedisSink) -> None:
    """By a client that flushes as fast as it can, so that it also happens between the loading and the call."""
    plans = [plan_for(user_id, "A new live user", user_id) for user_id in range(1, 400)]
    done = threading.Event()

    def flush() -> None:
        with own_redis.connect() as other:
            has_functions = int(other.info("server")["redis_version"].split(".")[0]) >= 7
            while not done.is_set():
                other.script_flush()
                if has_functions:
                    other.function_flush()

    with own_redis.connect() as client, closing(Listener(client)) as listener:
        thread = threading.Thread(target=flush)
        thread.start()
        try:
            answers = apply_until_done(own_sink, plans)
        finally:
            done.set()
            thread.join()
        assert all(answer.is_accepted for answer in answers)
        assert len(client.keys("user:*:config")) == len(plans)
        eventually(lambda: len(listener.heard()) == len(plans))
        assert len({body["user_id"] for _, body in listener.heard()}) == len(plans)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        (f"redis://{USER}:hunter2@127.0.0.1:{{port}}/0", ["hunter2"]),
        (f"redis://{USER}:hunter%402@127.0.0.1:{{port}}/0", ["hunter%402", "hunter@2"]),
        ("redis://:hunter2@127.0.0.1:{port}/0", ["hunter2"]),
        ("redis://127.0.0.1:{port}/0", []),
    ],
    ids=["another password", "a password with an @", "the default user's", "none"],
)
def test_credentials_refused_at_the_start_end_it_with_one_sentence(
    own_redis: RedisServer, url: str, secrets: list[str]
) -> None:
    with own_redis.connect() as client:
        client.config_set("requirepass", "another")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CDC_")}
    settings = {"CDC_REDIS__URL": url.format(port=own_redis.port), "CDC_METRICS__PORT": "0"}
    command = [str(Path(sys.executable).with_name("cdc-consumer")), "run"]
    ended = subprocess.run(command, env=clean | settings, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith("cdc-consumer: CDC_REDIS__URL: Redis refused: ")
    assert not [secret for secret in secrets if secret in sentence]


def test_a_password_that_changes_while_it_waits_is_none_of_the_message(own_redis: RedisServer) -> None:
    with own_redis.connect() as client:
        sink = make_sink(own_redis, PASSWORD)
        sink.reach()
        with with_another_password(own_redis, client), pytest.raises(ServerUnavailable) as refusal:
            list(sink.apply(PLANS))
        assert not any(secret in str(refusal.value) for secret in ("another", PASSWORD))
        sink.close()
