"""What stands in Redis: of the users of plans, of all users there are; and whether it is still the same Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import redis

from consumer.effect import Plan
from consumer.keys import UserId
from consumer.redis_client import ask, connect, translate
from consumer.replay.drift import Standing
from consumer.rules import Rules
from consumer.sections import Redis

_SCAN_COUNT = 1000
# Longer than an interruption should be: a replay that is gone on with later begins again.
_CANARY_S = 7 * 86400


class RedisView:
    """One server, looked at."""

    def __init__(self, server: Redis) -> None:
        self._client = connect(server)

    def run(self) -> str:
        """The run of the server: another after each start.

        Raises:
            ServerUnavailable, ConfigError: as :func:`consumer.redis_client.ask`.
        """
        return ask(self._client).run

    def plant(self, canary: str) -> None:
        """Make the key that tells whether Redis has kept all since: emptied, or another one, it has not.

        Raises:
            ServerError: as :meth:`standings`.
        """
        self._canary("SET", canary, "", "EX", str(_CANARY_S))

    def lives(self, canary: str) -> bool:
        """Whether that key is there; it is kept for longer then.

        Raises:
            ServerError: as :meth:`standings`.
        """
        return bool(self._canary("EXPIRE", canary, str(_CANARY_S)))

    def uproot(self, canary: str) -> None:
        """Remove it.

        Raises:
            ServerError: as :meth:`standings`.
        """
        self._canary("UNLINK", canary)

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def standings(self, plans: Sequence[Plan]) -> list[Standing]:
        """What stands there of each plan's keys.

        Raises:
            ServerError: Redis can't answer.
        """
        questions = [question for plan in plans for question in _questions(plan)]
        replies = iter(self._asked(questions))
        return [_standing(plan, [next(replies) for _ in _questions(plan)]) for plan in plans]

    def users(self, rules: Rules) -> Iterator[UserId]:
        """Every user who has a config hash or a balance, some of them twice.

        Raises:
            ServerError: as :meth:`standings`.
        """
        types = "|".join(sorted({table.user_type for table in rules.tables}))
        for template in (rules.names.config, rules.names.balance):
            pattern = (
                re.escape(template).replace("<type>", f"(?P<type>{types})").replace("<id>", "(?P<id>0|[1-9][0-9]*)")
            )
            found = re.compile(pattern)
            glob = re.sub(r"([\\*?\[\]])", r"\\\1", template).replace("<type>", "*").replace("<id>", "*")
            try:
                for key in self._client.scan_iter(match=glob, count=_SCAN_COUNT):
                    if match := found.fullmatch(key):
                        yield UserId(match["type"], int(match["id"]))
            except redis.RedisError as error:
                raise translate(error, is_of_plan=False) from error

    def _canary(self, command: str, canary: str, *arguments: str) -> Any:
        (reply,) = self._asked([(command, f"cdc:replay:{canary}", *arguments)])
        if isinstance(reply, redis.RedisError):
            raise translate(reply, is_of_plan=False)
        return reply

    def _asked(self, questions: Sequence[tuple[str, ...]]) -> list[Any]:
        pipeline: Any = self._client.pipeline(transaction=False)
        for question in questions:
            pipeline.execute_command(*question)
        try:
            return list(pipeline.execute(raise_on_error=False))
        except redis.RedisError as error:
            raise translate(error, is_of_plan=False) from error


def _questions(plan: Plan) -> list[tuple[str, ...]]:
    asked: list[tuple[str, ...]] = [("HGET", plan.guard, plan.table)]
    if plan.config is not None:
        asked += [("TYPE", plan.config.key), ("HMGET", plan.config.key, *plan.config.changed, *plan.config.gone)]
    if plan.balance is not None:
        asked += [("TYPE", plan.balance.key), ("GET", plan.balance.key)]
    if plan.update is not None:
        asked += [("TYPE", plan.update.key), ("HMGET", plan.update.key, *plan.update.fields)]
    asked += [("EXISTS", key) for key in (plan.removed.keys if plan.removed is not None else ())]
    return asked


def _standing(plan: Plan, replies: list[Any]) -> Standing:
    answers = iter(replies)
    others: list[str] = []
    version = next(answers)
    config = balance = update = None
    if plan.config is not None:
        names = (*plan.config.changed, *plan.config.gone)
        config = _hash(plan.config.key, names, next(answers), next(answers), others)
    if plan.balance is not None:
        kind, value = next(answers), next(answers)
        balance = value if kind == "string" else None
        others += [plan.balance.key] if kind not in ("string", "none") else []
    if plan.update is not None:
        update = _hash(plan.update.key, tuple(plan.update.fields), next(answers), next(answers), others)
    keys = plan.removed.keys if plan.removed is not None else ()
    present = tuple(key for key in keys if next(answers) == 1)
    text = version if isinstance(version, str) else ""
    return Standing(text, config, balance, update, present, tuple(others))


def _hash(key: str, names: Sequence[str], kind: str, values: Any, others: list[str]) -> dict[str, str | None] | None:
    if kind == "hash":
        return dict(zip(names, values, strict=True))
    if kind != "none":
        others.append(key)
    return None
