"""Facts about a Redis server and this account, for `check`."""

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
    """``mode`` and ``role``: with Redis' names: standalone, cluster or sentinel; master or slave.

    ``cluster_state``: "" outside a cluster. ``is_logged``: appendonly is on.
    """

    mode: str
    role: str
    cluster_state: str
    is_logged: bool


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights that the program needs and this account lacks."""

    user: str
    refused: Sequence[Need]


def survey(client: redis.Redis) -> Survey | None:
    """Ask the server about itself; None if it refuses INFO.

    Raises:
        ServerError: the server does not answer, or refuses.

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
    """The server's text if it refuses functions, so that the script is called by EVALSHA; None if it accepts them.

    Raises:
        ServerError: the server can't be asked now.

    """
    try:
        return refusal_of_functions(client)
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from None


def _cluster_state(client: redis.Redis) -> str:
    """The state as the node reports it; "" if the account may not ask, because nothing else needs that right."""
    try:
        answer = client.execute_command("CLUSTER INFO")
    except redis.exceptions.NoPermissionError:
        return ""
    return str(answer.get("cluster_state", "")) if isinstance(answer, dict) else ""


def rights(
    client: redis.Redis, rules: Rules, group: str, *, has_tracking: bool, is_cluster: bool = False
) -> Rights | None:
    """The rights that this account lacks; None if the server does not let it ask. No command is executed.

    Raises:
        ServerError: the server went away.

    """
    try:
        user = str(client.execute_command("ACL WHOAMI"))
        checker = _RightsChecker(client, user)
        as_function = checker.may(AS_FUNCTION) and checker.may(FCALL)
        every = [*needs(rules, group, is_cluster=is_cluster), *calls(rules, as_function=as_function)]
        every += [] if as_function else [AS_SCRIPT]
        every += [TRACKING, INFO] if has_tracking else [INFO]
        return Rights(user, [need for need in every if not checker.may(need)])
    except redis.ResponseError:  # not allowed, or a server that has no such command
        return None
    except redis.RedisError as error:
        raise translate(error, is_of_plan=False) from None


class _RightsChecker:
    """Checks each command with ACL DRYRUN (Redis 7), else by the account's rules."""

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
        except redis.ResponseError:  # a renamed or disabled command
            return False

    def _read(self) -> Account:
        # execute_command("ACL GETUSER") would sort the rules, but their order matters.
        answer = self._client.execute_command("ACL", "GETUSER", self._user)
        parts = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        commands = str(parts["commands"]).split()
        names = {rule[2:] for rule in commands if rule[1:2] == "@"} - {"all"}
        categories = {name: [str(each) for each in self._client.execute_command("ACL CAT", name)] for name in names}
        return Account(commands, _patterns(parts["keys"]), _patterns(parts["channels"]), categories)


def _patterns(value: object) -> list[str]:
    """The patterns: a list before Redis 7, one text since."""
    return value.split() if isinstance(value, str) else [str(each) for each in value] if isinstance(value, list) else []
