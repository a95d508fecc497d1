"""A subscriber as the trading services are: what it hears is what was really published."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import redis

_FENCE = "demo:fence"
_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A message. ``at`` is when it came in, as :func:`time.perf_counter` counts."""

    channel: str
    body: Mapping[str, Any]
    at: float

    @property
    def kind(self) -> tuple[str, str]:
        """Channel and event type."""
        return self.channel, str(self.body["event_type"])

    @property
    def user(self) -> str:
        """Such as ``live:7``."""
        return f"{self.body['user_type']}:{self.body['user_id']}"


class Subscriber:
    """One SUBSCRIBE connection."""

    def __init__(self, client: redis.Redis, names: Sequence[str]) -> None:
        self._client = client
        commands: Any = client  # its annotations are incomplete
        self._pubsub = commands.pubsub()
        self._pubsub.subscribe(*names, _FENCE)
        for _ in range(len(names) + 1):
            self._pubsub.get_message(timeout=_TIMEOUT_S)

    def next(self, timeout_s: float) -> Heard | None:
        """The next message, None if none comes in time."""
        deadline = time.perf_counter() + timeout_s
        while (left := deadline - time.perf_counter()) > 0:
            raw = self._pubsub.get_message(timeout=left)
            if raw is not None and raw["type"] == "message" and raw["channel"] != _FENCE:
                return Heard(raw["channel"], msgspec.json.decode(raw["data"]), time.perf_counter())
        return None

    def until_now(self) -> list[Heard]:
        """Everything that was published up to this call: a message of our own, sent behind it, marks the end."""
        token = secrets.token_hex(8)
        self._client.publish(_FENCE, token)
        heard: list[Heard] = []
        deadline = time.perf_counter() + _TIMEOUT_S
        while time.perf_counter() < deadline:
            raw = self._pubsub.get_message(timeout=_TIMEOUT_S)
            if raw is None or raw["type"] != "message":
                continue
            if raw["channel"] == _FENCE and raw["data"] == token:
                return heard
            if raw["channel"] != _FENCE:
                heard.append(Heard(raw["channel"], msgspec.json.decode(raw["data"]), time.perf_counter()))
        raise TimeoutError("a subscriber did not hear its own message")

    def close(self) -> None:
        """Hang up."""
        self._pubsub.close()
