"""The table of failures: complete, and of things that exist."""

from __future__ import annotations

import builtins
import inspect
import socket
import ssl
from collections import Counter
from types import ModuleType

import httpx
import kafka.consumer.fetcher
import kafka.coordinator.base
import kafka.errors
import pytest
import redis
from redis._parsers.base import BaseParser
from redis.sentinel import MasterNotFoundError

from consumer import errors
from consumer.errors import Refused, ServerError, ServerUnavailable, UnknownReply
from consumer.pipeline.policy import TABLE, Action, failure, name_of, rule_for
from consumer.sink.client import translate

# Where a library lets its users see its exceptions: each of these has a row of its own.
MODULES = (kafka.errors, redis.exceptions, httpx, errors)
# Others whose exceptions may come out of a call, and Python's own.
MORE = (kafka.consumer.fetcher, kafka.coordinator.base, ssl, socket, builtins)


def _exceptions(module: ModuleType) -> set[type[Exception]]:
    return {each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, Exception)}


NAMES = [name for rule in TABLE for name in rule.names]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_exception_has_a_row_of_its_own(module: ModuleType) -> None:
    assert {name_of(each) for each in _exceptions(module)} - set(NAMES) == set()


def test_no_row_is_of_something_that_is_not_there() -> None:
    known = {name_of(each) for module in (*MODULES, *MORE) for each in _exceptions(module)}
    assert {name for name in NAMES if ":" not in name} - known == set()


def test_no_name_is_in_two_rows() -> None:
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []


def test_every_row_has_advice() -> None:
    assert [rule.names[0] for rule in TABLE if not rule.advice] == []


def test_every_reply_that_the_client_knows_has_a_row() -> None:
    assert {f"redis:{code}" for code in BaseParser.EXCEPTION_CLASSES} - set(NAMES) == set()


def test_what_kafka_calls_retriable_is_tried_again() -> None:
    retriable = {each for each in _exceptions(kafka.errors) if getattr(each, "retriable", False)}
    assert len(retriable) > 30
    assert {rule_for(each()).action for each in retriable} == {Action.RETRY}


def test_an_unknown_class_has_the_row_of_its_parent() -> None:
    later = type("Hiccup", (kafka.errors.NodeNotReadyError,), {"__module__": "kafka.later"})
    assert rule_for(later()) is rule_for(kafka.errors.NodeNotReadyError())
    assert rule_for(kafka.errors.for_code(9999)()) is rule_for(kafka.errors.UnknownError())
    assert rule_for(ssl.SSLCertVerificationError()) is rule_for(ssl.SSLError())
    assert rule_for(ConnectionResetError()) is rule_for(OSError())
    assert rule_for(ZeroDivisionError()).action is Action.HALT


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (kafka.errors.NoBrokersAvailable(), ServerUnavailable),
        (kafka.errors.MessageSizeTooLargeError(), Refused),
        (kafka.errors.FencedInstanceIdError(), ServerError),
    ],
)
def test_a_failure_is_of_the_class_that_says_what_follows(error: Exception, kind: type[ServerError]) -> None:
    found = failure("Kafka", error, "no")
    assert type(found) is kind
    assert (str(found), found.advice) == ("Kafka: no", rule_for(error).advice)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", ServerUnavailable),
        ("READONLY You can't write against a read only replica.", ServerUnavailable),
        ("OOM command not allowed when used memory > 'maxmemory'.", ServerUnavailable),
        ("BUSY Redis is busy running a script.", ServerUnavailable),
        ("MISCONF Redis is configured to save RDB snapshots", ServerUnavailable),
        ("NOREPLICAS Not enough good replicas to write.", ServerUnavailable),
        ("MASTERDOWN Link with MASTER is down", ServerUnavailable),
        ("CLUSTERDOWN The cluster is down", ServerUnavailable),
        ("TRYAGAIN Multiple keys request during rehashing of slot", ServerUnavailable),
        ("ASK 3999 127.0.0.1:6381", ServerUnavailable),
        ("NOAUTH Authentication required.", ServerUnavailable),
        ("WRONGPASS invalid username-password pair", ServerUnavailable),
        ("NOPERM this user has no permissions", ServerUnavailable),
        ("NOSCRIPT No matching script.", ServerUnavailable),
        ("ERR max number of clients reached", ServerUnavailable),
        ("ERR invalid password", ServerUnavailable),
        # Before Redis 7 the error of a command in a script is wrapped.
        ("ERR Error running script (call to f_1): @user_script:12: -OOM command not allowed", ServerUnavailable),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Refused),
        ("GUARD the version is not readable", Refused),
        ("ERR no upstream host", ServerUnavailable),
        ("ERR upstream failure", ServerUnavailable),
        ("no upstream host", ServerUnavailable),
        ("upstream failure", ServerUnavailable),
        ("upstream protocol error", ServerUnavailable),
        ("ERR Connection refused", ServerUnavailable),
        ("SOMETHING of a later server", UnknownReply),
        ("ERR invalid expire time in 'set' command", UnknownReply),
        ("ERR Error running script (call to f_1): @user_script:12: @user_script: 12: -ERR wrong number", UnknownReply),
        ("MOVED 3999 127.0.0.1:6381", ServerError),
        ("CROSSSLOT Keys in request don't hash to the same slot", ServerError),
        ("EXECABORT Transaction discarded because of previous errors.", ServerError),
        ("UNKILLABLE The script already executed write commands", ServerError),
    ],
)
def test_what_follows_from_an_error_reply(reply: str, kind: type[ServerError]) -> None:
    found = translate(BaseParser.parse_error(reply))
    assert type(found) is kind
    assert found.problem == reply.replace("'set'", "…")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (
            "ERR unknown command 'HSET', with args beginning with: 'user:{live:1}:config' 'wallet_balance' '10000.50",
            "ERR unknown command …, with args beginning with: … … …",
        ),
        ("ERR unknown command `SET`, with args beginning with: `k`, `10000.50`, ", "ERR unknown command …, with args"),
        ('ERR value is "10000.50"', "ERR value is …"),
        (
            "ERR user_script:7: attempt to compare nil with number (local 'offset') script: f_1, on @user_script:7.",
            "ERR user_script:7: attempt to compare nil with number (local 'offset') script: f_1, on @user_script:7.",
        ),
        ("ERR " + "x" * 300, "ERR " + "x" * 196),
    ],
)
def test_an_unknown_reply_is_told_without_what_it_quotes(reply: str, problem: str) -> None:
    found = translate(BaseParser.parse_error(reply))
    assert type(found) is UnknownReply
    assert found.problem.startswith(problem)
    assert "10000" not in found.problem


def test_a_call_that_is_about_no_plan_refuses_no_plan() -> None:
    """Or a key of the wrong type where offsets are remembered would make dead letters of everything."""
    assert type(translate(BaseParser.parse_error("WRONGTYPE no hash"), is_of_plan=False)) is ServerError


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (redis.TimeoutError("no answer"), "TimeoutError"),
        (redis.ResponseError("OOM command not allowed"), "OOM"),
        (redis.OutOfMemoryError("command not allowed"), "OutOfMemoryError"),
        (ConnectionResetError("by the peer"), "ConnectionError"),
    ],
)
def test_a_cause_is_a_name_of_the_table_so_that_there_are_only_so_many(error: Exception, cause: str) -> None:
    found = translate(error)
    assert found.cause == cause
    assert any(name.endswith(cause) for name in NAMES)


def test_sentinels_without_a_master_are_waited_for() -> None:
    error = MasterNotFoundError("No master found for 'trading' : <redis.client.Redis(host=h)> - ConnectionError")
    found = translate(error)
    assert isinstance(found, ServerUnavailable)
    assert found.problem == "No master found for 'trading'"
