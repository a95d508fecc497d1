"""What ``check`` says of Redis, and what an account needs, without a server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files

import pytest

from consumer.commands.shared.check.redis_findings import (
    has_functions,
    of_persistence,
    of_place,
    of_redis,
    of_rights,
    of_streams,
    of_unknown_rights,
)
from consumer.commands.shared.finding import Finding, Level
from consumer.mapping.reference import reference
from consumer.mapping.streams import Streams
from consumer.sink.rights import TRACKING, Account, Need, calls, channels, is_of_reports, needs, wanted

RULES = reference()
STREAMED = replace(RULES, streams=Streams())


def levels(found: Iterable[Finding]) -> list[Level]:
    return [each.level for each in found]


@pytest.mark.parametrize(
    ("version", "policy", "level"),
    [
        ("7.2.4", "noeviction", Level.OK),
        ("6.0", "", Level.OK),
        ("unstable", "", Level.OK),
        ("7.2.4", "allkeys-lru", Level.WARNING),
        ("5.0.14", "noeviction", Level.FAILURE),
    ],
)
def test_versions_and_eviction(version: str, policy: str, level: Level) -> None:
    assert levels(of_redis(version, policy)) == [level]


def test_functions_came_with_seven() -> None:
    assert [has_functions(version) for version in ("6.2.5", "7.0.15", "10.0", "unstable")] == [False, True, True, True]


@pytest.mark.parametrize(
    ("mode", "role", "state", "is_cluster", "subjects"),
    [
        ("standalone", "master", "", False, []),
        ("cluster", "master", "ok", False, ["redis cluster"]),
        ("cluster", "master", "fail", True, ["redis cluster"]),
        ("sentinel", "sentinel", "", False, ["redis mode", "redis role"]),
        ("standalone", "slave", "", False, ["redis role"]),
    ],
)
def test_where_it_can_be_written(mode: str, role: str, state: str, is_cluster: bool, subjects: list[str]) -> None:
    found = list(of_place(mode, role, state, is_cluster=is_cluster))
    assert [each.subject for each in found] == subjects
    assert set(levels(found)) <= {Level.FAILURE}


def test_a_cluster_that_is_one() -> None:
    assert levels(of_place("cluster", "master", "ok", is_cluster=True)) == [Level.OK]
    assert levels(of_place("cluster", "master", "", is_cluster=True)) == [Level.WARNING]


def test_persistence() -> None:
    assert levels([of_persistence(True), of_persistence(False)]) == [Level.OK, Level.WARNING]


def test_what_an_account_may_not_do_is_named() -> None:
    every = list(needs(RULES, "g"))
    found, unreported = of_rights("narrow", every, "+hset")
    assert (found.level, unreported.level) == (Level.FAILURE, Level.WARNING)
    assert unreported.found.startswith("may not: HSET cdc:member:g, EXPIRE cdc:member:g, ")
    assert "`cdc-consumer status` lacks" in unreported.found
    assert found.found.startswith("may not: PING, HMGET cdc:{live:1}, HSET cdc:{live:1}")
    stops = [need for need in every if not is_of_reports(need)]
    assert found.found.endswith(f" and {len(stops) - 6} more")
    assert found.advice.endswith(": ACL SETUSER NAME +hset")
    (found,) = of_rights("narrow", [TRACKING], "+hset")
    assert (found.level, found.found) == (
        Level.WARNING,
        "may not: CLIENT TRACKING; wildcard keys are found by SCAN passes instead",
    )
    assert levels(of_rights("narrow", [], "")) == [Level.OK]
    assert of_unknown_rights("+hset").level is Level.WARNING


def test_the_rights_are_those_of_the_mapping() -> None:
    rules = replace(RULES, names=replace(RULES.names, guard="v[1]/{<type>:<id>}", group_channel="tiers"))
    rights = wanted(rules, "g", has_functions=True).split()
    assert {r"~v\[1\]/{*:*}", "~user:{*:*}:config", "~financial_summary:*:*:*", "~cdc:offsets:*"} <= set(rights)
    assert [right[1:] for right in rights if right[0] == "&"] == channels(rules)
    assert "tiers" in channels(rules)
    assert {"+fcall", "+evalsha", "+function|load", "+script|load", "+client|tracking"} <= set(rights)
    assert not {"+fcall", "+function|load"} & set(wanted(rules, "g", has_functions=False).split())
    assert "+@all" not in rights
    assert {key for need in needs(rules, "g") for key in need.keys if key.startswith("v[")} == {
        "v[1]/{live:1}",
        "v[1]/{demo:1}",
    }


def test_every_command_of_the_script_is_asked_about() -> None:
    script = files("consumer.sink").joinpath("apply.lua").read_text()
    named = {name.lower() for name in re.findall(r"\b(?:call|attempt)\(['\"](\w+)", script)}
    assert len(named) > 10
    assert named <= {need.name for need in needs(STREAMED, "g")}
    assert named - {need.name for need in needs(RULES, "g")} == {"xadd", "xlen"}


def test_streams_need_rights_only_if_there_are_any() -> None:
    more = set(needs(STREAMED, "g")) - set(needs(RULES, "g"))
    assert {need.keys for need in more} == {(f"cdc:stream:{channel}",) for channel in channels(RULES)}
    assert {need.name for need in more} == {"xadd", "xlen", "xrange", "type"}
    account = wanted(STREAMED, "g", has_functions=True).split()
    added = set(account) - set(wanted(RULES, "g", has_functions=True).split())
    assert added == {"+xadd", "+xlen", "+xrange", *(f"~cdc:stream:{channel}" for channel in channels(RULES))}


def test_a_stream_that_is_none_is_a_failure() -> None:
    names, limits = STREAMED.stream_keys(), [100_000] * 4
    (good,) = of_streams(names, limits, {})
    assert (good.level, good.found) == (
        Level.OK,
        "4: 400,000 entries when full, about 300 MB of memory (streams.maxlen in the mapping)",
    )
    (bad,) = of_streams(names, limits, {"cdc:stream:group_updates": "hash"})
    assert (bad.level, bad.subject) == (Level.FAILURE, "redis stream cdc:stream:group_updates")
    assert list(of_streams((), (), {})) == []


def test_streams_may_be_evicted() -> None:
    told = [next(of_redis("7.2.4", "allkeys-lru", has_streams=each)).found for each in (True, False)]
    assert ["a stream may be evicted" in each for each in told] == [True, False]


def test_a_need_names_its_command_as_rules_do() -> None:
    assert [Need(("HSET", "k", "f", "v")).name, Need(("SCRIPT", "LOAD", "x")).name] == ["hset", "script|load"]
    assert str(Need(("SCRIPT", "LOAD", "x"))) == "SCRIPT LOAD"
    assert str(Need(("HSET", "k", "f", "v"), ("k",))) == "HSET k"
    (call, *_) = calls(RULES, as_function=False)
    assert call.command[:3] == ("EVALSHA", "f", "3")


@pytest.mark.parametrize(
    ("commands", "may"),
    [
        ("+@all", True),
        ("-@all", False),
        ("-@all +hset", True),
        ("+@all -hset", False),
        ("-@all +@hash", True),
        ("-@all +hset -@hash", False),
        ("+@all -@hash +hset", True),
        ("+@all -@admin", True),
        ("", False),
    ],
)
def test_rules_count_in_their_order(commands: str, may: bool) -> None:
    account = Account(commands.split(), ["*"], ["*"], {"hash": ["hset", "hget"], "admin": ["acl"]})
    assert account.may(Need(("HSET", "k", "f", "v"), ("k",))) is may


@pytest.mark.parametrize(("commands", "may"), [("+script", True), ("+script|load", True), ("+script|flush", False)])
def test_a_subcommand_goes_with_its_command(commands: str, may: bool) -> None:
    assert Account([commands], [], [], {}).may(Need(("SCRIPT", "LOAD", "x"))) is may


def test_keys_and_channels_by_pattern() -> None:
    account = Account(["+@all"], ["~cdc:*", "user:*"], ["&user_*"], {})
    assert account.may(Need(("HSET", "cdc:{live:1}", "f", "v"), ("cdc:{live:1}",)))
    assert account.may(Need(("HSET", "user:1", "f", "v"), ("user:1",)))
    assert not account.may(Need(("FCALL", "f", "2", "cdc:1", "x"), ("cdc:1", "x")))
    assert account.may(Need(("PUBLISH", "user_updates", "m"), channel="user_updates"))
    assert not account.may(Need(("PUBLISH", "group_updates", "m"), channel="group_updates"))
