"""What a Redis server tells of itself and of this account, for `check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from consumer.mapping.rules import Rules
from consumer.sink.client import info, translate
from consumer.sink.rights import AS_FUNCTION, AS_SCRIPT, FCALL, INFO, TRACKING, Account, Need, calls, needs
from consumer.sink.script import refusal_of_functions


@dataclass(frozen=True, slots=True)
class Survey:
    """``mode`` and ``role`` as Redis names them: standalone, cluster or sentinel; master or slave.

    ``cluster_state`` is "" outside a cluster. ``is_logged``: writes go to an append-only file.
    """

    mode: str
    role: str
    cluster_state: str
    is_logged: bool


@dataclass(frozen=True, slots=True)
class Rights:
    """What this account may not do, though the program does it."""

    user: str
    refused: Sequence[Need]


def survey(client: redis.Redis) -> Survey | None:
    """The server behind ``client``; None where it does not tell.

    Raises:
        ServerError: it does not answer, or refuses.

    """
    try:
        server = info(client, "server")
        if not server:
            return None
        mode = str(server.get("redis_mode", "standalone"))
        role = str(info(client, "replication").get("role", "master"))
        is_logged = bool(info(client, "persistence").get("aof_enabled"))
        state = _cluster_state(client) if mode == "cluster" else ""
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from None
    return Survey(mode, role, state, is_logged)


def refusal(client: redis.Redis) -> str | None:
    """In which words functions are refused, so that the script is called by EVALSHA; None where they are not.

    Raises:
        ServerError: it can't be asked now.

    """
    try:
        return refusal_of_functions(client)
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from None


def _cluster_state(client: redis.Redis) -> str:
    """As the node says; "" where the account may not ask, for nothing else needs that right."""
    try:
        told = client.execute_command("CLUSTER INFO")
    except redis.exceptions.NoPermissionError:
        return ""
    return str(told.get("cluster_state", "")) if isinstance(told, dict) else ""


def rights(
    client: redis.Redis, rules: Rules, group: str, *, has_tracking: bool, is_cluster: bool = False
) -> Rights | None:
    """What this account may not do; None where the server does not let it ask. Nothing is carried out.

    Raises:
        ServerError: the server went away.

    """
    try:
        user = str(client.execute_command("ACL WHOAMI"))
        ask = _Asked(client, user)
        as_function = ask.may(AS_FUNCTION) and ask.may(FCALL)
        every = [*needs(rules, group, is_cluster=is_cluster), *calls(rules, as_function=as_function)]
        every += [] if as_function else [AS_SCRIPT]
        every += [TRACKING, INFO] if has_tracking else [INFO]
        return Rights(user, [need for need in every if not ask.may(need)])
    except redis.ResponseError:  # not allowed, or a server that has no such command
        return None
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from None


class _Asked:
    """Asks about each call (Redis 7), or else about the account's rules."""

    def __init__(self, client: redis.Redis, user: str) -> None:
        self._client = client
        self._user = user
        self._account: Account | None = None
        try:
            client.execute_command("ACL DRYRUN", user, "PING")
        except redis.exceptions.NoPermissionError:
            raise
        except redis.ResponseError:
            self._account = self._read()

    def may(self, need: Need) -> bool:
        if self._account is not None:
            return self._account.may(need)
        try:
            return str(self._client.execute_command("ACL DRYRUN", self._user, *need.command)) == "OK"
        except redis.exceptions.NoPermissionError:
            raise
        except redis.ResponseError:  # a command that was renamed, or taken away
            return False

    def _read(self) -> Account:
        # The client's own reading of the answer sorts the rules, and their order counts.
        answer = self._client.execute_command("ACL", "GETUSER", self._user)
        told = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        commands = str(told["commands"]).split()
        names = {rule[2:] for rule in commands if rule[1:2] == "@"} - {"all"}
        categories = {name: [str(each) for each in self._client.execute_command("ACL CAT", name)] for name in names}
        return Account(commands, _patterns(told["keys"]), _patterns(told["channels"]), categories)


def _patterns(told: object) -> list[str]:
    """A list before Redis 7, one text from then on."""
    return told.split() if isinstance(told, str) else [str(each) for each in told] if isinstance(told, list) else []
