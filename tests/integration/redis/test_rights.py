"""The rights that an account is said to need, on a real server of each version: enough, and none too many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from consumer.commands.shared.check.redis_findings import has_functions
from consumer.commands.shared.check.redis_survey import Rights, rights, survey
from consumer.commands.shared.explain.sent import Sent, sent_messages
from consumer.commands.shared.explain.timeline import Wanted
from consumer.errors import ConfigError, ServerError
from consumer.events.avro import NO_SCHEMAS
from consumer.events.record import Partition
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.mapping.streams import Streams
from consumer.planning.decision import decide_all
from consumer.settings.sections import Guard, Redis
from consumer.sink.client import ask, connect
from consumer.sink.redis_sink import RedisSink
from consumer.sink.rights import needs, wanted
from consumer.sink.streams import entries
from consumer.sink.view import RedisView
from consumer.source import recording
from tests.integration.redis.conftest import ONE_SERVER
from tests.support.redis_server import RedisServer

pytestmark = [*ONE_SERVER]

RULES = reference()
DEMO = Path(__file__).parents[3] / "demo" / "recordings" / "trading.jsonl.gz"


@pytest.fixture
def version(client: redis.Redis) -> str:
    return ask(client).version


@pytest.fixture
def asking(version: str) -> str:
    """What lets an account ask about itself."""
    return "+acl|whoami +acl|dryrun" if has_functions(version) else "+acl"


@pytest.fixture
def enough(version: str) -> str:
    return wanted(RULES, "g", has_functions=has_functions(version))


@pytest.fixture
def narrow(redis_url: str, client: redis.Redis) -> Iterator[Redis]:
    """An account without any right yet, and how to reach it."""
    client.execute_command("ACL", "SETUSER", "narrow", "reset", "on", ">x")
    yield Redis(url=SecretStr(redis_url.replace("//", "//narrow:x@")))
    client.execute_command("ACL", "DELUSER", "narrow")


def allow(client: redis.Redis, rules: str) -> None:
    client.execute_command("ACL", "SETUSER", "narrow", *rules.split())


def asked(narrow: Redis) -> Rights | None:
    with connect(narrow) as client:
        return rights(client, RULES, "g", has_tracking=True)


def test_enough_is_enough(client: redis.Redis, narrow: Redis, enough: str, asking: str) -> None:
    """The account that `check` recommends does all that the demo's changes need, and `check` says so."""
    allow(client, f"{enough} {asking}")
    assert asked(narrow) == Rights("narrow", [])
    allow(client, "-acl")
    sink = RedisSink(narrow, Guard(), RULES, "g")
    sink.reach()
    decisions = decide_all(list(recording.read(DEMO)), RULES, NO_SCHEMAS)
    plans = list({id(each.plan): each.plan for each in decisions if each.plan is not None}.values())
    assert plans
    client.hset("user:{live:7}:portfolio", "a", "b")
    client.set("financial_summary:live:7:today", "x")
    answers = [answer for _, answer in sink.apply(plans)]
    assert [each for each in answers if isinstance(each, ServerError)] == []
    sink.store_offsets({Partition("t", 0): 5})
    sink.accept_new_connection()
    assert sink.stored_offsets() == {Partition("t", 0): 5}
    assert sink.is_reachable()
    sink.close()


def test_enough_is_enough_with_streams(
    client: redis.Redis, narrow: Redis, version: str, enough: str, asking: str
) -> None:
    streamed = replace(RULES, streams=Streams())
    allow(client, f"{enough} {asking}")
    with connect(narrow) as own:
        found = rights(own, streamed, "g", has_tracking=True)
    assert found is not None
    assert {need.keys for need in found.refused} == {(name,) for name in streamed.stream_keys()}
    assert {need.name for need in found.refused} == {"type", "xadd", "xlen", "xrange"}
    with closing(RedisSink(narrow, Guard(), streamed, "g")) as sink, pytest.raises(ConfigError, match="refused"):
        sink.reach()
    allow(client, f"{wanted(streamed, 'g', has_functions=has_functions(version))} {asking}")
    with connect(narrow) as own:
        assert rights(own, streamed, "g", has_tracking=True) == Rights("narrow", [])
    with closing(RedisSink(narrow, Guard(), streamed, "g")) as sink:
        sink.reach()
        plans = [each.plan for each in decide_all(list(recording.read(DEMO)), streamed, NO_SCHEMAS) if each.plan]
        answers = [answer for _, answer in sink.apply(plans)]
    assert [each for each in answers if isinstance(each, ServerError)] == []
    with closing(RedisView(narrow)) as view:
        counts = {name: len(list(entries(view.ask, name, 0, 2**53))) for name in streamed.stream_keys()}
    assert all(counts.values()), counts


def test_a_stream_that_the_account_may_not_read_is_named(
    client: redis.Redis, narrow: Redis, enough: str, asking: str
) -> None:
    streamed = replace(RULES, streams=Streams())
    client.xadd("cdc:stream:user_updates", {"event_id": "x", "user": "live:7", "message": "{}"})
    client.xadd("cdc:stream:group_updates", {"event_id": "x", "user": "live:7", "message": "{}"})
    looked_for = Wanted({"user_updates": frozenset("x"), "group_updates": frozenset("x")}, 0)

    def found() -> Sent:
        with closing(RedisView(narrow)) as view:
            sent = sent_messages(view.ask_or_refusal, streamed, UserId("live", 7), looked_for, 0)
        assert sent is not None
        return sent

    allow(client, f"{enough} {asking} +xrange ~cdc:stream:user_updates")
    assert [each.channel for each in found().messages["x"]] == ["user_updates"]
    assert found().unreadable.keys() == {"cdc:stream:group_updates"}
    allow(client, "-xrange")
    assert found().unreadable.keys() == {"cdc:stream:group_updates", "cdc:stream:user_updates"}


def test_the_account_in_the_docs_is_that_of_the_reference() -> None:
    page = (DEMO.parents[2] / "docs" / "secure.md").read_text()
    streamed = replace(RULES, streams=Streams())
    more = [each for each in needs(streamed, "") if each not in [*needs(RULES, "")]]
    added = [f"+{name}" for name in sorted({need.name for need in more} - {"type"})]
    names = sorted({f"~{key}" for need in more for key in need.keys})
    assert f"`{' '.join([*added, *names])}`" in page
    assert f"ACL SETUSER cdc on >PASSWORD {wanted(RULES, '', has_functions=True)}\n" in page


@pytest.mark.parametrize(
    ("taken", "named"),
    [
        ("-hset", "HSET cdc:{live:1}"),
        ("-hdel", "HDEL cdc:{demo:1}"),
        ("-publish", "PUBLISH user_updates"),
        ("-unlink", "UNLINK user_stats:live:1"),
        ("-persist", "PERSIST cdc:{live:1}"),
        ("-scan", "SCAN"),
        ("-info", "INFO"),
        ("resetchannels &user_updates &balance_updates &admin_user_updates", "PUBLISH group_updates"),
        ("resetkeys ~user:* ~user_* ~cdc:{*", "HSET cdc:offsets:g"),
        ("resetkeys ~cdc:* ~user:*", "SET user_balance:live:1"),
        ("-client", "CLIENT TRACKING"),
        ("-fcall -evalsha", "cdc:{live:1} user:{live:1}:config user_balance:live:1"),
    ],
)
def test_each_right_that_is_missing_is_named(
    client: redis.Redis, narrow: Redis, version: str, enough: str, asking: str, taken: str, named: str
) -> None:
    known = taken if has_functions(version) else taken.replace("-fcall ", "")
    allow(client, f"{enough} {asking} {known}")
    found = asked(narrow)
    assert found is not None
    assert any(str(need).endswith(named) for need in found.refused), [str(need) for need in found.refused]


@pytest.mark.parametrize(
    "rule", ["-@all +@fast +@slow +@scripting", "+@all -@dangerous +info +client|tracking", "+@all"]
)
def test_categories_are_looked_up(client: redis.Redis, narrow: Redis, rule: str, asking: str) -> None:
    allow(client, f"{rule} {asking} ~* &*")
    found = asked(narrow)
    assert found is not None
    assert found.refused == []


def test_where_functions_are_refused_the_script_is_asked_about(
    client: redis.Redis, narrow: Redis, version: str, enough: str, asking: str
) -> None:
    without = " -function -fcall" if has_functions(version) else ""
    allow(client, f"{enough} {asking}{without}")
    assert asked(narrow) == Rights("narrow", [])
    allow(client, "-script")
    found = asked(narrow)
    assert found is not None
    assert [str(need) for need in found.refused] == ["SCRIPT LOAD"]


def test_an_account_that_may_not_ask(client: redis.Redis, narrow: Redis, enough: str) -> None:
    allow(client, enough)
    assert asked(narrow) is None


def test_asking_changes_nothing(client: redis.Redis, narrow: Redis, asking: str) -> None:
    allow(client, f"+@all {asking} ~* &*")
    before = client.execute_command("ACL", "GETUSER", "narrow")
    assert asked(narrow) is not None
    assert client.dbsize() == 0
    assert client.execute_command("ACL", "GETUSER", "narrow") == before


def test_a_server_of_its_own_tells_what_it_is(redis_binary: str, tmp_path: Path) -> None:
    server = RedisServer(redis_binary, tmp_path)
    server.start(appendonly="yes")
    try:
        with server.connect() as client:
            found = survey(client)
            assert found is not None
            assert (found.mode, found.role, found.is_logged) == ("standalone", "master", True)
            client.config_set("appendonly", "no")
            client.replicaof("127.0.0.1", "1")
            found = survey(client)
            assert found is not None
            assert (found.role, found.is_logged) == ("slave", False)
    finally:
        server.end()


def test_a_node_of_a_cluster_tells_so(redis_binary: str, tmp_path: Path) -> None:
    server = RedisServer(redis_binary, tmp_path, settings={"cluster_enabled": "yes"})
    server.start()
    try:
        with connect(Redis(url=SecretStr(server.url))) as client:
            found = survey(client)
            assert found is not None
            assert (found.mode, found.cluster_state) == ("cluster", "fail")
    finally:
        server.end()


def configured(server: RedisServer, line: str) -> None:
    """Start the server with a line that the command line can't carry."""
    path = server.folder / "more.conf"
    path.write_text(f"{line}\n")
    server.start(include=str(path))


def test_a_server_that_hides_its_accounts(redis_binary: str, tmp_path: Path) -> None:
    """Hosted ones do: then nothing is known, which is no failure."""
    server = RedisServer(redis_binary, tmp_path)
    configured(server, 'rename-command ACL ""')
    try:
        with connect(Redis(url=SecretStr(server.url))) as client:
            assert rights(client, RULES, "g", has_tracking=True) is None
    finally:
        server.end()


def test_a_command_that_the_server_does_not_have(redis_binary: str, tmp_path: Path) -> None:
    """A server before Redis 7 can't be asked about a call: there only the account's rules are compared."""
    server = RedisServer(redis_binary, tmp_path)
    configured(server, 'rename-command PERSIST ""')
    try:
        with connect(Redis(url=SecretStr(server.url))) as client:
            found = rights(client, RULES, "g", has_tracking=True)
            can_be_asked = has_functions(ask(client).version)
    finally:
        server.end()
    assert found is not None
    assert {need.name for need in found.refused} == ({"persist"} if can_be_asked else set())
