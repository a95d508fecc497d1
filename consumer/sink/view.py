"""Reads what Redis holds: the keys of plans, all users, offsets; and checks whether Redis was emptied or replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from consumer.events.record import Partition
from consumer.guard.state import GuardState
from consumer.mapping.keys import UserId, glob, pattern, render
from consumer.mapping.rules import Rules, UserTable
from consumer.planning.effect import Plan
from consumer.settings.sections import Redis
from consumer.sink import group_offsets
from consumer.sink.client import at_start, translate
from consumer.sink.comparison import StoredKeys
from consumer.sink.keyspace import keyspace, runs

# Longer than an interruption of a replay should be. A replay that is continued later starts again.
_REPLAY_KEY_S = 7 * 86400


class RedisView:
    """Reads one server or a cluster."""

    def __init__(self, server: Redis) -> None:
        self._keys = keyspace(server)

    def run(self) -> str:
        """The run id of the server, or of each master; it changes at each start.

        Raises:
            ServerUnavailable, ConfigError: as :func:`consumer.sink.client.ask`.
        """
        try:
            return runs(self._keys)
        except redis.RedisError as error:
            raise at_start(error) from error

    def create_replay_key(self, replay_key: str) -> None:
        """Create the keys of a replay, one for each part of the slots.

        If one is gone later, Redis was emptied since, or is another server.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        self._replay_key("SET", replay_key, "", "EX", str(_REPLAY_KEY_S))

    def replay_key_exists(self, replay_key: str) -> bool:
        """Whether all keys of the replay still exist. Their TTL starts again.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        return all(self._replay_key("EXPIRE", replay_key, str(_REPLAY_KEY_S)))

    def remove_replay_key(self, replay_key: str) -> None:
        """Remove the keys of the replay.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        self._replay_key("UNLINK", replay_key)

    def close(self) -> None:
        """Close the connections."""
        self._keys.close()

    def stored_keys(self, plans: Sequence[Plan]) -> list[StoredKeys]:
        """What Redis holds at the keys of each plan.

        Raises:
            ServerError: Redis can't answer.
        """
        questions = [question for plan in plans for question in _questions(plan)]
        replies = iter(self.ask(questions))
        return [_stored(plan, [next(replies) for _ in _questions(plan)]) for plan in plans]

    def guards(self, users: Sequence[UserId], rules: Rules) -> list[GuardState]:
        """The guard of each user.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        asked = [("HGETALL", render(rules.names.guard, user)) for user in users]
        return [GuardState.read(_pairs(reply) or {}) for reply in self.ask(asked)]

    def version(self, table: UserTable, number: int, rules: Rules) -> str:
        """The version in the guard of one user of ``table``, as text; "" if there is none.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        guard = render(rules.names.guard, UserId(table.user_type, number))
        (reply,) = self.ask([("HGET", guard, table.table)])
        return reply if isinstance(reply, str) else ""

    def stored_user(self, user: UserId, rules: Rules) -> StoredUser:
        """Everything that Redis holds of one user.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        names = rules.names
        config, portfolio, balance, guard = (
            render(each, user) for each in (names.config, names.portfolio, names.balance, names.guard)
        )
        asked = [("HGETALL", config), ("HGETALL", portfolio), ("HGETALL", guard), ("GET", balance), ("TTL", balance)]
        in_config, in_portfolio, in_guard, text, ttl_s = self.ask(asked)
        found = {config: in_config, portfolio: in_portfolio, guard: in_guard, balance: text}
        return StoredUser(
            _pairs(in_config),
            _pairs(in_portfolio),
            text if isinstance(text, str) else None,
            ttl_s if isinstance(ttl_s, int) and ttl_s >= 0 else None,
            GuardState.read(_pairs(in_guard) or {}),
            tuple(key for key, reply in found.items() if isinstance(reply, Exception)),
        )

    def users(self, rules: Rules) -> Iterator[UserId]:
        """Every user who has a config hash, a balance or a portfolio. A user may appear several times.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        types = {table.user_type for table in rules.tables}
        for template in (rules.names.config, rules.names.balance, rules.names.portfolio):
            found = pattern(template, types)
            try:
                for key in self._keys.scan(glob(template)):
                    if match := found.fullmatch(key):
                        yield UserId(match["type"], int(match["id"]))
            except redis.RedisError as error:
                raise translate(error, is_of_plan=False) from error

    def _replay_key(self, command: str, replay_key: str, *arguments: str) -> list[Any]:
        """The replies for all parts of the slots, because one part may be emptied alone."""
        keys = [group_offsets.replay_key_of(replay_key, part) for part in self._keys.parts]
        replies = self.ask([(command, key, *arguments) for key in keys])
        for reply in replies:
            if isinstance(reply, redis.RedisError):
                raise translate(reply, is_of_plan=False)
        return replies

    def offsets(self, group: str) -> Mapping[Partition, int]:
        """The offsets of ``group`` that Redis holds.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        keys = [group_offsets.hash_of(group, part) for part in self._keys.parts]
        return group_offsets.known([_pairs(reply) or {} for reply in self.ask([("HGETALL", key) for key in keys])])

    def stopped(self, group: str) -> Mapping[Partition, int]:
        """The offsets at which members of ``group`` resume that wait now, because Redis was emptied.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        (reply,) = self.ask([("HGETALL", group_offsets.stopped_of(group))])
        return {group_offsets.partition_of(field): int(at) for field, at in (_pairs(reply) or {}).items()}

    def ask(self, questions: Sequence[tuple[str, ...]]) -> list[Any]:
        """The replies to commands that only read. The error for a key of another type counts as a reply.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        return self._asked(questions, _is_of_other_type)

    def ask_or_refusal(self, questions: Sequence[tuple[str, ...]]) -> list[Any]:
        """As :meth:`ask`. The error for a right that the account lacks counts as a reply too.

        Raises:
            ServerError: as :meth:`stored_keys`.
        """
        return self._asked(questions, _is_refusal)

    def _asked(self, questions: Sequence[tuple[str, ...]], is_reply: Callable[[Exception], bool]) -> list[Any]:
        """The replies. An error is raised unless ``is_reply`` says that it counts as a reply."""
        try:
            replies = self._keys.ask(questions)
            for reply in replies:
                if isinstance(reply, Exception) and not is_reply(reply):
                    raise reply
        except redis.RedisError as error:
            raise translate(error, is_of_plan=False) from error
        return [_readable(reply) for reply in replies]


def _is_of_other_type(error: Exception) -> bool:
    return str(error).startswith("WRONGTYPE")


def _is_refusal(error: Exception) -> bool:
    return _is_of_other_type(error) or isinstance(error, redis.exceptions.NoPermissionError)


def _readable(reply: Any) -> Any:
    """The reply, with bytes of other programs that are not UTF-8 as text that can be compared, printed and sent."""
    if isinstance(reply, str):
        return reply if reply.isascii() else reply.encode(errors="surrogateescape").decode(errors="backslashreplace")
    if isinstance(reply, list):
        return [_readable(each) for each in reply]
    if isinstance(reply, dict):
        return {_readable(name): _readable(value) for name, value in reply.items()}
    return reply


def _pairs(reply: Any) -> dict[str, str] | None:
    """The hash in an answer to HGETALL; None if there is no such key, or if it has another type."""
    if isinstance(reply, list):  # a flat list, as a cluster's nodes answer
        reply = dict(zip(reply[::2], reply[1::2], strict=True))
    return reply if isinstance(reply, dict) and reply else None


def _questions(plan: Plan) -> list[tuple[str, ...]]:
    asked: list[tuple[str, ...]] = [("HGET", plan.guard, plan.table)]
    if (config := plan.config) is not None:
        asked += [("TYPE", config.key), ("HMGET", config.key, *config.changed, *config.gone)]
    if (balance := plan.balance) is not None:
        asked += [("TYPE", balance.key), ("GET", balance.key)]
    if (update := plan.update) is not None:
        asked += [("TYPE", update.key), ("HMGET", update.key, *update.fields)]
    return asked + [("EXISTS", key) for key in _removed(plan)]


def _stored(plan: Plan, replies: list[Any]) -> StoredKeys:
    answers = iter(replies)
    others: list[str] = []
    version = next(answers)
    if isinstance(version, Exception):
        others.append(plan.guard)
    config = balance = update = None
    if (upsert := plan.config) is not None:
        config = _hash(upsert.key, (*upsert.changed, *upsert.gone), next(answers), next(answers), others)
    if (put := plan.balance) is not None:
        kind, value = next(answers), next(answers)
        balance = value if kind == "string" else None
        others += [put.key] if kind not in ("string", "none") else []
    if (changed := plan.update) is not None:
        update = _hash(changed.key, tuple(changed.fields), next(answers), next(answers), others)
    present = tuple(key for key in _removed(plan) if next(answers) == 1)
    text = version if isinstance(version, str) else ""
    return StoredKeys(text, config, balance, update, present, tuple(others))


def _removed(plan: Plan) -> tuple[str, ...]:
    return plan.removed.keys if plan.removed is not None else ()


def _hash(key: str, names: Sequence[str], kind: str, values: Any, others: list[str]) -> dict[str, str | None] | None:
    if kind == "hash":
        return dict(zip(names, values, strict=True))
    if kind != "none":
        others.append(key)
    return None


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What Redis holds of one user.

    ``config``, ``portfolio``, ``balance``: None if there is no such key, or if it has another type. ``others``: the
    keys of another type. ``ttl_s``: the TTL of the balance in seconds; None without a TTL.
    """

    config: Mapping[str, str] | None
    portfolio: Mapping[str, str] | None
    balance: str | None
    ttl_s: int | None
    guard: GuardState
    others: tuple[str, ...] = ()
