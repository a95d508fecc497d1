"""What a test wrote to the database, in the order of commit: which states a user had, and which messages must be heard.

Each change of a user has a number, which rises over the user's lives. It stands in ``net_profit``, and with a quarter
more in ``wallet_balance``: so a message, a hash and a balance each say which change they come from.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias

from tests.chaos.script import DELETED, GENERAL, MONEY, Told, change, created
from tests.support.stack.trading import Trading

TABLE = "live_users"
GONE = "gone"
State: TypeAlias = str
"""The number of the change that made it, as text; GONE where there is no row."""


def columns(number: int) -> dict[str, object]:
    """What change ``number`` writes."""
    return {"net_profit": number, "wallet_balance": f"{number}.25"}


def state_of(money: str) -> State:
    """The state that an amount of one of these columns comes from."""
    return money.partition(".")[0]


class Ledger:
    """Writes changes of live users and keeps them. ``told`` are the messages by user and channel."""

    def __init__(self) -> None:
        self.states: dict[int, list[State]] = defaultdict(list)
        self.told: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._numbers: dict[int, int] = defaultdict(int)

    @property
    def users(self) -> list[int]:
        """Everybody who ever was."""
        return sorted(self.states)

    def last(self, user_id: int) -> State:
        return self.states[user_id][-1]

    def living(self) -> list[int]:
        return [user_id for user_id in self.users if self.last(user_id) != GONE]

    def insert(self, trading: Trading, user_id: int, *, is_told: bool = True) -> None:
        """``is_told`` is false before the first snapshot, which tells nobody."""
        number = self._next(user_id)
        trading.insert(TABLE, id=user_id, **columns(number))
        self._keep(user_id, str(number), {GENERAL: created(f"{number}.25")} if is_told else {})

    def update(self, trading: Trading, user_id: int, *, is_told: bool = True) -> None:
        """``is_told`` is false where Debezium can learn of it by a snapshot alone."""
        number = self._next(user_id)
        trading.update(TABLE, user_id, **columns(number))
        token = change(net_profit=f"{number}.00", wallet_balance=f"{number}.25")
        self._keep(user_id, str(number), {GENERAL: token, MONEY: token} if is_told else {})

    def delete(self, trading: Trading, user_id: int) -> None:
        trading.delete(TABLE, user_id)
        self._keep(user_id, GONE, {GENERAL: DELETED})

    def restored(self, states: dict[int, State]) -> None:
        """The database itself went back: each user is again in the state that is given. Nobody is told."""
        for user_id in self.users:
            self.states[user_id].append(states.get(user_id, GONE))

    def _next(self, user_id: int) -> int:
        self._numbers[user_id] += 1
        return self._numbers[user_id]

    def _keep(self, user_id: int, state: State, told: dict[str, str]) -> None:
        self.states[user_id].append(state)
        for channel, token in told.items():
            self.told[Told(f"live:{user_id}", channel, token).user, channel].append(token)
