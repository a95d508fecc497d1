"""Durable events on each kind of Redis: an entry for each message, none for a refused record, and reading them."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import redis
from jsonschema import Draft202012Validator

from consumer.commands.shared.check.run import check
from consumer.commands.shared.finding import Finding, Level
from consumer.errors import ConfigError, Reconnected, ServerError, ServerUnavailable, UnreadableStream
from consumer.guard.version import Verdict
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.mapping.streams import Streams
from consumer.planning.decision import decide
from consumer.planning.effect import Plan
from consumer.planning.shape import Mode
from consumer.planning.stream_entry import entry_schema
from consumer.settings.sections import Guard
from consumer.settings.sources import Settings
from consumer.sink.redis_sink import RedisSink
from consumer.sink.script import Script
from consumer.sink.streams import Entry, entries, other_kinds
from consumer.sink.view import RedisView
from tests.docs.markdown import PROJECT
from tests.integration.redis.conftest import WITHOUT_CLUSTER, is_cluster, keys_of, settings_of
from tests.integration.redis.test_cluster import Crash, at_step, crash
from tests.integration.redis.test_sink import CONFIG, apply, scenario
from tests.support.redis_view import Listener, dump

RULES = replace(reference(), streams=Streams(maxlen_of={"group_updates": 7}))
GUARD = "cdc:{live:123}"
USER_UPDATES, BALANCE_UPDATES = "cdc:stream:user_updates", "cdc:stream:balance_updates"
EVERY = 2**53


@pytest.fixture(params=["as the server allows", "by EVALSHA"])
def called(request: pytest.FixtureRequest, client: redis.Redis) -> str:
    """The account of the sink: one that may not use functions calls the script by EVALSHA.

    A server without functions has no such right, and any account calls the script by EVALSHA.
    """
    if request.param == "as the server allows":
        return ""
    rules = ("on", ">x", "~*", "&*", "+@all", "-fcall", "-function")
    try:
        everywhere(client, "ACL", "SETUSER", "scripts", *rules)
    except redis.ResponseError as error:
        if "Unknown command" not in str(error):
            raise
        return ""
    return "scripts:x"


@pytest.fixture
def sink(redis_url: str, client: redis.Redis, called: str) -> Iterator[RedisSink]:
    with closing(RedisSink(settings_of(redis_url, called, tracking=False), Guard(), RULES, "g")) as sink:
        sink.reach()
        yield sink


@pytest.fixture
def view(redis_url: str) -> Iterator[RedisView]:
    with closing(RedisView(settings_of(redis_url))) as view:
        yield view


def everywhere(client: Any, *command: str) -> None:
    if isinstance(client, redis.RedisCluster):
        client.execute_command(*command, target_nodes=redis.RedisCluster.ALL_NODES)
    else:
        client.execute_command(*command)


def plan_of(beginning: str, offset: int, user_id: int = 123) -> Plan:
    change = scenario(beginning).changes[0]
    images = {
        name: image and image | {"id": user_id} for name, image in (("before", change.before), ("after", change.after))
    }
    plan = decide(replace(change, **images).record(offset), RULES).plan  # type: ignore[arg-type]
    assert plan is not None
    return plan


def streamed(client: redis.Redis) -> Mapping[str, list[Entry]]:
    """All entries of each stream that has any."""
    keys = keys_of(client)
    found = {name: list(entries(keys.ask, name, 0, EVERY)) for name in RULES.stream_keys()}
    if is_cluster(client):
        keys.close()
    return {name: several for name, several in found.items() if several}


def test_each_message_is_an_entry_of_its_channels_stream(sink: RedisSink, client: redis.Redis) -> None:
    plan = plan_of("Money and profile", 1)
    before_ms = int(time.time() * 1000) - 1000
    with closing(Listener(client)) as listener:
        (answer,) = apply(sink, plan)
        heard = listener.heard()
    found = streamed(client)
    assert sorted(found) == sorted(f"cdc:stream:{channel}" for channel, _ in heard)
    for channel, body in heard:
        (entry,) = found[f"cdc:stream:{channel}"]
        assert msgspec.json.decode(entry.message) == body
        assert entry.message in [message.body for message in plan.messages if message.channel == channel]
        assert entry.event_id == body["event_id"]
        assert entry.user == "live:123"
        assert entry.receivers == (None if is_cluster(client) else 1)
        assert before_ms <= entry.time_ms < before_ms + 120_000
    if not is_cluster(client):
        assert answer.receivers == 4
    assert client.hkeys(GUARD) == ["live_users"]
    raw: Any = [client.xrange(name) for name in found]
    for fields in (fields for page in raw for _, fields in page):
        Draft202012Validator(entry_schema()).validate(fields)
        assert list(fields) == ["event_id", "user", "message", *([] if is_cluster(client) else ["receivers"])]


@pytest.mark.parametrize("beginning", ["A new live user", "A deleted user", "The group", "A deposit"])
def test_whatever_publishes_adds(sink: RedisSink, client: redis.Redis, beginning: str) -> None:
    plan = plan_of(beginning, 1)
    apply(sink, plan)
    found = {name: [entry.message for entry in several] for name, several in streamed(client).items()}
    assert found == {f"cdc:stream:{each.channel}": [each.body] for each in plan.messages} != {}


@pytest.mark.parametrize("beginning", ["A snapshot read", "An incremental"])
def test_what_is_not_published_is_not_added(sink: RedisSink, client: redis.Redis, beginning: str) -> None:
    apply(sink, plan_of(beginning, 1))
    assert client.hgetall(CONFIG)
    assert streamed(client) == {}


def test_without_streams_there_are_none(redis_url: str, client: redis.Redis) -> None:
    with closing(RedisSink(settings_of(redis_url, tracking=False), Guard(), reference(), "g")) as sink:
        sink.reach()
        plan = decide(scenario("A deposit").changes[0].record(1), reference()).plan
        assert plan is not None
        apply(sink, plan)
    assert client.hgetall(CONFIG)
    assert streamed(client) == {}


def test_a_record_that_was_applied_adds_nothing(sink: RedisSink, client: redis.Redis) -> None:
    old, new = plan_of("The group", 1), plan_of("A deposit", 2)
    apply(sink, old, new)
    before = dump(client)
    assert [each.verdict for each in apply(sink, old, new)] == [Verdict.STALE, Verdict.DUPLICATE]
    assert dump(client) == before
    rebuilt = new.publishing(()).in_mode(Mode.REBUILD)
    client.hset(CONFIG, "wallet_balance", "0.00")
    assert apply(sink, rebuilt)[0].differed
    assert streamed(client).keys() == {
        "cdc:stream:group_updates",
        "cdc:stream:admin_user_updates",
        USER_UPDATES,
        BALANCE_UPDATES,
    }
    assert sum(len(several) for several in streamed(client).values()) == 5


def test_the_entries_of_a_user_have_the_order_of_the_changes(sink: RedisSink, client: redis.Redis) -> None:
    apply(sink, *(plan_of("A deposit", offset, user_id) for offset, user_id in enumerate([1, 2, 1, 1, 2, 3], start=1)))
    for user in ("live:1", "live:2", "live:3"):
        sent = [entry.event_id for entry in streamed(client)[USER_UPDATES] if entry.user == user]
        assert sent == [entry.event_id for entry in streamed(client)[BALANCE_UPDATES] if entry.user == user]
    assert Counter(entry.user for entry in streamed(client)[USER_UPDATES]) == {"live:1": 3, "live:2": 2, "live:3": 1}


def test_a_stream_keeps_about_so_many_entries(sink: RedisSink, client: redis.Redis) -> None:
    plans = [plan_of("The group", offset, user_id=offset) for offset in range(1, 301)]
    apply(sink, *plans)
    # Redis removes whole nodes of a stream: at most 100 entries each.
    assert 7 <= client.xlen("cdc:stream:group_updates") <= 107
    assert client.xlen(USER_UPDATES) == 300
    last = streamed(client)["cdc:stream:group_updates"][-1]
    assert last.event_id == streamed(client)[USER_UPDATES][-1].event_id


@WITHOUT_CLUSTER
def test_an_entry_comes_behind_its_message(sink: RedisSink, client: redis.Redis) -> None:
    """So the number of its receivers is known."""
    with client.monitor() as monitor:
        apply(sink, plan_of("A deposit", 1))
        client.echo("end")
        given = []
        while (line := monitor.next_command())["command"] != "ECHO end":
            if line["client_type"] == "lua":
                given.append(str(line["command"]).split()[0].upper())
    assert [name for name in given if name in ("HSET", "PUBLISH", "XADD")] == [
        *("HSET", "HSET"),
        *("PUBLISH", "XADD") * 2,
    ]


@pytest.mark.parametrize("kind", ["text", "hash"])
def test_a_key_of_another_type_fails_the_plan_and_the_start(
    sink: RedisSink, client: redis.Redis, redis_url: str, kind: str
) -> None:
    client.set(BALANCE_UPDATES, "x") if kind == "text" else client.hset(BALANCE_UPDATES, "a", "x")
    with closing(Listener(client)) as listener:
        answer = dict(sink.apply([plan_of("A deposit", 1)]))[0]
        assert isinstance(answer, ServerError)
        assert not isinstance(answer, ServerUnavailable)
        assert "WRONGTYPE" in answer.problem
        assert listener.heard() == []
    if not is_cluster(client):
        assert client.keys("*") == [BALANCE_UPDATES], "nothing of the plan is written"
    named = "string" if kind == "text" else "hash"
    assert other_kinds(keys_of(client), RULES) == {BALANCE_UPDATES: named}
    with (
        closing(RedisSink(settings_of(redis_url, tracking=False), Guard(), RULES, "g")) as another,
        pytest.raises(ConfigError, match=f"{BALANCE_UPDATES} in Redis is a {named}"),
    ):
        another.reach()


@WITHOUT_CLUSTER
def test_a_retry_after_a_lost_answer_adds_nothing(
    sink: RedisSink, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State, message, entry and version are one step: if the server did it, the retry is a duplicate."""
    plan = plan_of("A deposit", 1)

    apply(sink, plan_of("A new live user", 0))
    receive = Script.receive

    def lost(self: Script) -> list[Any]:
        receive(self)
        self._client.connection_pool.disconnect()
        raise redis.TimeoutError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Script, "receive", lost)
        with pytest.raises(ServerUnavailable):
            list(sink.apply([plan]))
    with pytest.raises(Reconnected):
        list(sink.apply([plan]))
    sink.accept_new_connection()
    assert apply(sink, plan)[0].verdict is Verdict.DUPLICATE
    of_plan = [[each for each in several if each.message in plan.bodies] for several in streamed(client).values()]
    assert [len(several) for several in of_plan] == [1, 1]


def test_a_channel_that_is_refused_gets_no_second_entry_when_it_is_tried_again(
    redis_url: str, client: redis.Redis
) -> None:
    def allow(*channels: str) -> None:
        everywhere(client, "ACL", "SETUSER", "narrow", "on", ">x", "~*", "+@all", "resetchannels", *channels)

    allow("&user_updates")
    plan = plan_of("A deposit", 1)
    with closing(RedisSink(settings_of(redis_url, "narrow:x", tracking=False), Guard(), RULES)) as sink:
        sink.reach()
        for _ in range(3):
            assert isinstance(dict(sink.apply([plan]))[0], ServerUnavailable)
        allow("&user_updates", "&balance_updates")
        assert apply(sink, plan)[0].verdict is Verdict.NEWER
    assert {name: len(several) for name, several in streamed(client).items()} == {USER_UPDATES: 1, BALANCE_UPDATES: 1}
    assert client.hkeys(GUARD) == ["live_users"]
    everywhere(client, "ACL", "DELUSER", "narrow")


def test_a_stream_that_is_refused_publishes_no_second_time_when_it_is_tried_again(
    redis_url: str, client: redis.Redis
) -> None:
    def allow(*keys: str) -> None:
        everywhere(client, "ACL", "SETUSER", "narrow", "on", ">x", "allchannels", "+@all", "resetkeys", "~user*", *keys)
        everywhere(client, "ACL", "SETUSER", "narrow", "~cdc:{*", "~{user*", "~margin*", "~spread*", "~financial*")

    everything = [f"~{name}" for name in RULES.stream_keys()]
    allow(*everything)
    plan = plan_of("A deposit", 1)
    with (
        closing(RedisSink(settings_of(redis_url, "narrow:x", tracking=False), Guard(), RULES)) as sink,
        closing(Listener(client)) as listener,
    ):
        sink.reach()
        everywhere(client, "ACL", "SETUSER", "narrow", "-xadd")
        for _ in range(3):
            assert isinstance(dict(sink.apply([plan]))[0], ServerUnavailable)
        assert [channel for channel, _ in listener.heard()] == ([] if is_cluster(client) else ["user_updates"])
        everywhere(client, "ACL", "SETUSER", "narrow", "+xadd")
        assert apply(sink, plan)[0].verdict is Verdict.NEWER
        assert [channel for channel, _ in listener.heard()] == ["user_updates", "balance_updates"]
    found = streamed(client)
    assert [len(found[name]) for name in (USER_UPDATES, BALANCE_UPDATES)] == [1, 1]
    if not is_cluster(client):
        assert found[USER_UPDATES][0].receivers == found[BALANCE_UPDATES][0].receivers == 1
    assert client.hkeys(GUARD) == ["live_users"]
    everywhere(client, "ACL", "DELUSER", "narrow")


@WITHOUT_CLUSTER
def test_a_message_that_was_published_is_not_published_again_after_streams_were_turned_off(
    redis_url: str, client: redis.Redis
) -> None:
    everywhere(client, "ACL", "SETUSER", "narrow", "on", ">x", "allchannels", "allkeys", "+@all", "-xadd")
    plan = decide(scenario("A deposit").changes[0].record(1), reference()).plan
    assert plan is not None
    with closing(Listener(client)) as listener:
        with closing(RedisSink(settings_of(redis_url, "narrow:x", tracking=False), Guard(), RULES)) as sink:
            sink.reach()
            assert isinstance(dict(sink.apply([plan_of("A deposit", 1)]))[0], ServerUnavailable)
        with closing(RedisSink(settings_of(redis_url, tracking=False), Guard(), reference())) as sink:
            sink.reach()
            assert apply(sink, plan)[0].verdict is Verdict.NEWER
        assert [channel for channel, _ in listener.heard()] == ["user_updates", "balance_updates"]
    assert client.hkeys(GUARD) == ["live_users"]
    everywhere(client, "ACL", "DELUSER", "narrow")


def test_what_redis_lost_is_added_again_and_not_published_again(sink: RedisSink, client: redis.Redis) -> None:
    """Redis came back without its last writes: the version is gone, and so are the entries."""
    plan = plan_of("A deposit", 1)
    apply(sink, plan)
    client.flushall()
    with closing(Listener(client)) as listener:
        assert apply(sink, plan.repeated())[0].verdict is Verdict.NEWER
        assert listener.heard() == []
    found = streamed(client)
    assert {name: [each.message for each in several] for name, several in found.items()} == {
        USER_UPDATES: [plan.bodies[0]],
        BALANCE_UPDATES: [plan.bodies[0]],
    }
    assert found[USER_UPDATES][0].receivers is None


@WITHOUT_CLUSTER
def test_what_redis_kept_is_not_added_again(sink: RedisSink, client: redis.Redis) -> None:
    plan = plan_of("A deposit", 1)
    apply(sink, plan)
    assert apply(sink, plan.repeated())[0].verdict is Verdict.DUPLICATE
    assert [len(several) for several in streamed(client).values()] == [1, 1]


def test_entries_are_read_between_two_times_of_one_user_and_page_by_page(
    sink: RedisSink, client: redis.Redis, view: RedisView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.sink.streams._PAGE", 7)
    apply(sink, *(plan_of("A deposit", offset, user_id=offset % 3) for offset in range(1, 41)))
    everything = list(entries(view.ask, USER_UPDATES, 0, EVERY))
    assert len({each.id for each in everything}) == 40
    assert [each.id for each in everything] == sorted(
        (each.id for each in everything), key=lambda name: [*map(int, name.split("-"))]
    )
    of_one = list(entries(view.ask, USER_UPDATES, 0, EVERY, UserId("live", 2)))
    assert of_one == [each for each in everything if each.user == "live:2"]
    assert len(of_one) == 13
    first, last = everything[0].time_ms, everything[-1].time_ms
    assert list(entries(view.ask, USER_UPDATES, first, last)) == everything
    assert list(entries(view.ask, USER_UPDATES, last + 1, EVERY)) == []
    assert list(entries(view.ask, USER_UPDATES, 0, first - 1)) == []


def test_a_key_that_is_no_stream_can_t_be_read(client: redis.Redis, view: RedisView) -> None:
    client.set("cdc:stream:text", "x")
    assert list(entries(view.ask, "cdc:stream:nothing", 0, EVERY)) == []
    with pytest.raises(UnreadableStream, match="WRONGTYPE"):
        list(entries(view.ask, "cdc:stream:text", 0, EVERY))


def test_an_entry_of_another_program_is_read_too(client: redis.Redis, view: RedisView) -> None:
    name = client.xadd("cdc:stream:x", {"what": "ever", "receivers": "many"})
    assert list(entries(view.ask, "cdc:stream:x", 0, EVERY)) == [Entry(str(name), "", "", "")]


@pytest.mark.usefixtures("redis_kind")
@pytest.mark.parametrize("redis_kind", ["cluster"], indirect=True, scope="session")
@pytest.mark.parametrize("step", range(1, 7))
@pytest.mark.parametrize("is_done", [False, True])
def test_a_cluster_adds_at_least_once_and_publishes_once(
    redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, step: int, is_done: bool
) -> None:
    """State, at first without the whole image; balance; derived keys; entries; messages. Another process finishes."""
    plan = plan_of("A deposit", 2)

    def make() -> RedisSink:
        return RedisSink(settings_of(redis_url, tracking=False), Guard(), RULES, "g")

    with closing(Listener(client)) as listener:
        with closing(make()) as sink, monkeypatch.context() as patch:
            at_step(patch, step, is_done=is_done, act=crash)
            with pytest.raises(Crash):
                list(sink.apply([plan]))
        with closing(make()) as sink:
            apply(sink, plan)
            apply(sink, plan)
        assert [channel for channel, _ in listener.heard()] == ["user_updates", "balance_updates"]
    found = streamed(client)
    is_repeated = (step, is_done) in ((5, True), (6, False))
    for name in (USER_UPDATES, BALANCE_UPDATES):
        assert len(found[name]) == 1 + is_repeated
        assert len({entry.event_id for entry in found[name]}) == 1


def test_check_says_what_holds_the_name_of_a_stream(redis_url: str, client: redis.Redis) -> None:
    settings = Settings(redis=settings_of(redis_url))

    def found() -> Finding:
        return next(each for each in check(settings, RULES) if each.subject.startswith("redis stream"))

    assert found().level is Level.OK
    client.hset(USER_UPDATES, "a", "b")
    assert (found().level, found().subject) == (Level.FAILURE, f"redis stream {USER_UPDATES}")


class Enough(Exception):
    """A reader without an end has read what there is."""


@pytest.mark.parametrize("redis_kind", ["machine", "bundled"], indirect=True, scope="session")
def test_the_readers_in_the_docs_read_each_event_once(
    sink: RedisSink, client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are stopped after each event, and go on where they were."""
    apply(sink, *(plan_of("A deposit", offset, user_id=offset) for offset in range(1, 251)))
    page = (PROJECT / "docs" / "events.md").read_text()
    alone, grouped = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "client." in code)
    one_server = redis.Redis
    monkeypatch.setattr(redis, "Redis", lambda **options: one_server.from_url(redis_url, **options))
    last: list[str | None] = [None]
    for code in (alone, grouped):
        events: list[str] = []

        def handle(message: Mapping[str, Any], event_id: str, place: str | None = None) -> None:
            assert message["event_id"] == event_id
            events.append(event_id)  # noqa: B023  # called within this round
            last[0] = place
            if len(events) % 50 == 0:  # noqa: B023
                raise Enough

        names = {
            "load_last_id": lambda: last[0],
            "is_handled": lambda event_id: event_id in events,  # noqa: B023
            "handle": handle,
            "json": json,
            "redis": redis,
            "client": client,
        }
        # What a reader was given and did not acknowledge is taken over at once, not after a minute.
        for _ in range(5):
            with pytest.raises(Enough):
                exec(compile(code.replace("60_000", "0"), "docs/events.md", "exec"), names)  # noqa: S102
        assert events == [entry.event_id for entry in streamed(client)[USER_UPDATES]]
