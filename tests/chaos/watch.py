"""Looks at Redis while changes and faults go on: no balance goes back, no deleted user returns with what it had.

Redis equals the database only in calm. But each change of a balance writes the number of its step, and numbers only
grow: so an older change that is applied after a newer one is seen at any time, even if a later change hides it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import redis

_PAUSE_S = 0.02


@dataclass
class Watermarks:
    """The newest balance that was seen of each user; ``is_gone``: its key was missing after that."""

    newest: dict[str, float] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def problem(self, user: str, balance: str | None) -> str | None:
        """What is wrong with this balance, after those that were seen before it."""
        seen = self.newest.get(user)
        if balance is None:
            if seen is not None:
                self.gone.add(user)
            return None
        number = float(balance)
        self.newest[user] = max(number, seen or 0.0)
        if seen is not None and number < seen:
            return f"{user}: its balance went back from {seen} to {balance}"
        if user in self.gone:
            self.gone.discard(user)
            if number == seen:
                return f"{user}: was deleted with the balance {balance}, and is there again with it"
        return None

    def forget(self, users: Collection[str] | None = None) -> None:
        """Begin anew with these users, or with all: a fault took what they had."""
        for user in list(self.newest) if users is None else users:
            self.newest.pop(user, None)
            self.gone.discard(user)


class Watch:
    """A thread that looks at all users after every ``every`` changes. A server that does not answer is passed over."""

    def __init__(
        self,
        connect: Callable[[], redis.Redis],
        count: Callable[[], int],
        users: Callable[[], Collection[str]],
        spoiled: Callable[[], Collection[str]],
        every: int = 1000,
    ) -> None:
        """``count``: changes until now; ``users``: all that ever were; ``spoiled``: users that are not looked at."""
        self.looks = 0
        self.problems: list[str] = []
        self._connect, self._count, self._users, self._spoiled = connect, count, users, spoiled
        self._every = every
        self._seen = Watermarks()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """Begin anew: Redis has lost what it had, as it may."""
        with self._lock:
            self._seen.forget()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        client, due = None, 0
        while not self._is_over.wait(_PAUSE_S):
            if self._count() < due:
                continue
            try:
                client = client or self._connect()
                self._look(client)
            except (redis.RedisError, redis.RedisClusterException, OSError):
                client = None  # of a cluster or of sentinels another server may answer for it
            except Exception as error:  # else nobody would notice that the thread is gone
                self.problems.append(f"the watch ended: {error!r}")
                return
            due = self._count() + self._every

    def _look(self, client: redis.Redis) -> None:
        users = sorted(self._users())
        with self._lock:
            balances = _balances(client, users)
            spoiled = set(self._spoiled())
            self._seen.forget(spoiled)
            found = [
                self._seen.problem(user, balance)
                for user, balance in zip(users, balances, strict=True)
                if user not in spoiled
            ]
            self.problems += [problem for problem in found if problem]
            self.looks += 1


def _balances(client: redis.Redis, users: Sequence[str]) -> list[str | None]:
    """Of each user what its config holds; none for a key of another type."""
    pipe = client.pipeline(transaction=False)
    for user in users:
        pipe.hget(f"user:{{{user}}}:config", "wallet_balance")
    try:
        answers = pipe.execute(raise_on_error=False)
    except AttributeError as error:  # redis-py's pipeline does so if a node of a cluster has just left
        raise redis.ConnectionError(str(error)) from None
    for answer in answers:
        if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
            raise answer
    return [None if isinstance(answer, Exception) else answer for answer in answers]
