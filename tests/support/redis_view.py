"""What a test sees of Redis: every key's exact content, and every message that a subscriber gets."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import redis

from consumer.sink.cluster.plan_slots import tags
from consumer.sink.rights import AUDIT, MEMBERS
from tests.schemas.validation import Invalid, validate

Client: TypeAlias = redis.Redis | redis.RedisCluster
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _LONGER = 0.005, 0.05, 1.1


def dump(client: Client, pattern: str = "*") -> dict[str, bytes]:
    """The exact content of every key that matches, without the reports for `status`, which come and go with time."""
    found = client.scan_iter(match=pattern, count=1000)
    return {key: client.dump(key) or b"" for key in found if not key.startswith((MEMBERS, AUDIT))}


def offset_keys(client: Client, group: str) -> list[str]:
    """The keys under which a group's offsets are remembered: on a cluster one in each part of the slots."""
    if isinstance(client, redis.RedisCluster):
        return [f"cdc:offsets:{{{tag}}}:{group}" for tag in tags(64)]
    return [f"cdc:offsets:{group}"]


def eventually(holds: Callable[[], object], seconds: float = 15.0, what: str = "") -> None:
    """Wait until ``holds`` answers something true. It is asked less and less often: to ask works, also for Redis."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE_S
    while not holds():
        assert time.monotonic() < deadline, what or "it did not happen in time"
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE_S, pause * _LONGER)


MARK = "listener.mark"
"""The channel of :func:`publish_marks`."""
OF_SENTINELS = "__sentinel__:"
"""How channels begin on which sentinels talk to each other."""


def publish_marks(client: Client) -> set[str]:
    """Publish a new text on :data:`MARK`, and answer it. Who heard it has heard everything that was published before.

    In a cluster there is a text for each master, because each passes messages on by a link of its own.
    """
    masters = client.get_primaries() if isinstance(client, redis.RedisCluster) else [None]
    marks = set()
    for master in masters:
        mark = secrets.token_hex(8)
        marks.add(mark)
        whither = {} if master is None else {"target_nodes": master}
        client.execute_command("PUBLISH", MARK, mark, **whither)  # type: ignore[no-untyped-call]
    return marks


class Listener:
    """A subscriber of every channel, in a thread of its own, which checks messages against their channel's schema."""

    def __init__(self, client: Client) -> None:
        self._heard: list[tuple[str, dict[str, Any]]] = []
        self._invalid: list[str] = []
        self._client = client
        self._marks: set[str] = set()
        self._pubsub = client.pubsub()  # type: ignore[no-untyped-call]
        self._pubsub.psubscribe("*")
        assert self._pubsub.get_message(timeout=5)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.caught_up()
        self._heard.clear()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=0.05)
            except redis.ConnectionError:  # a server that a test stopped: subscribed again as soon as it is back
                time.sleep(0.05)
                continue
            if message and message["channel"] == MARK:
                self._marks.add(message["data"])
            elif message and not message["channel"].startswith(OF_SENTINELS):
                body = json.loads(message["data"])
                self._heard.append((message["channel"], body))
                try:
                    validate(message["channel"], body)
                except Invalid as problem:
                    self._invalid.append(f"{problem} in {body}")

    def heard(self, user_id: int | None = None, user_type: str = "live") -> list[tuple[str, dict[str, Any]]]:
        """(channel, message) in the order of arrival, of all users or of one."""
        self.caught_up()
        assert not self._invalid, "; ".join(self._invalid)
        wanted = (user_type, user_id)
        return [
            (channel, body)
            for channel, body in self._heard
            if user_id is None or (body["user_type"], body["user_id"]) == wanted
        ]

    def caught_up(self) -> None:
        """Return when everything that was published before this call has arrived."""
        marks = publish_marks(self._client)
        eventually(lambda: marks <= self._marks, 60, "the listener does not hear")

    def take(self) -> list[tuple[str, dict[str, Any]]]:
        """What has arrived since the last time."""
        assert not self._invalid, "; ".join(self._invalid)
        count = len(self._heard)
        taken = self._heard[:count]
        del self._heard[:count]
        return taken

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._pubsub.close()
