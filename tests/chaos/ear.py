"""Everything that Redis published, over restarts of the server, in as few words as the judgement needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.chaos.script import DELETED, Told, change, created
from tests.chaos.subscription import Subscription
from tests.support.stack.stack import AnyRedis


@dataclass(frozen=True, slots=True)
class Heard:
    """One message that arrived, at ``at`` (UTC seconds); ``is_whole``: of a healing change, which tells every field."""

    told: Told
    event_id: str
    is_whole: bool = False
    at: float = 0.0


def token(message: dict[str, Any]) -> str:
    """What a message speaks of: equal for two messages if and only if they tell the same change."""
    fields = message["updated_fields"]
    if message["event_type"] == "user_created":
        return created(fields["wallet_balance"])
    return DELETED if message["event_type"] == "user_deleted" else change(**fields)


def heard_of(channel: str, message: dict[str, Any], at: float = 0.0) -> Heard:
    """A message in the words of the judgement; ``at`` are the UTC seconds of its arrival."""
    told = Told(f"{message['user_type']}:{message['user_id']}", channel, token(message))
    return Heard(told, message["event_id"], message["group_changed"] and message["old_group"] is None, at)


class Ear:
    """A subscriber that is deaf only between :meth:`rest` and :meth:`listen`, when nobody may publish."""

    def __init__(self, server: AnyRedis, check_every: int = 1) -> None:
        """``check_every``: one of so many messages is checked against its schema, which takes most of the time."""
        self._server = server
        self._check_every = check_every
        self._heard: list[Heard] = []
        self.listen()

    def listen(self) -> None:
        self._subscription: Subscription | None = Subscription(self._server, self._check_every)

    def rest(self) -> None:
        """Take what was published, to the last message, and let the connection go."""
        if self._subscription is None:
            return
        self.caught_up()
        self._collect()
        self._subscription.close()
        self._subscription = None

    def caught_up(self) -> None:
        """Return when everything that was published before this call has arrived."""
        if self._subscription is not None:
            self._subscription.caught_up()

    def heard(self) -> list[Heard]:
        """Everything since the last :meth:`forget`."""
        self._collect()
        return list(self._heard)

    def count(self) -> int:
        """How many messages :meth:`heard` has."""
        self._collect()
        return len(self._heard)

    def forget(self) -> None:
        self._heard.clear()

    def _collect(self) -> None:
        taken = self._subscription.take() if self._subscription is not None else ()
        self._heard += [heard_of(*each) for each in taken]
