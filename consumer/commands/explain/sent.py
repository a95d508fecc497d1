"""The messages of a user that the streams of the mapping keep: what was sent, when, and how many received it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.commands.explain.timeline import SentMessage, Wanted
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.mapping.streams import Streams
from consumer.sink.streams import Ask, entries

_FOREVER_MS = 2**53


@dataclass(frozen=True, slots=True)
class Sent:
    """``messages``: by ``event_id``. ``unreadable``: the streams that can't be read, each with Redis' reply."""

    messages: Mapping[str, Sequence[SentMessage]]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def sent_messages(ask: Ask, rules: Rules, user: UserId, wanted: Wanted, clock_ms: int) -> Sent | None:
    """What the streams keep of the ``wanted`` messages of ``user``; None if the mapping has no streams.

    ``clock_ms``: how far Redis' clock and Kafka's may differ. A stream is read from the first wanted change on, until
    all messages are found. Other messages of the user that are met on the way are in the answer too.

    Raises:
        ServerError: Redis can't answer.
    """
    if rules.streams is None:
        return None
    found: dict[str, dict[str, SentMessage]] = {}
    reader = _Reader(ask)
    for channel, event_ids in wanted.event_ids.items():
        _read(reader, rules.streams, channel, set(event_ids), user, max(0, wanted.since_ms - clock_ms), found)
    return Sent({name: [*of_channels.values()] for name, of_channels in found.items()}, reader.refused)


def _read(
    reader: _Reader,
    streams: Streams,
    channel: str,
    missing: set[str],
    user: UserId,
    since_ms: int,
    found: dict[str, dict[str, SentMessage]],
) -> None:
    for entry in entries(reader.ask, streams.key_of(channel), since_ms, _FOREVER_MS, user):
        # On a cluster a stream may have a message twice. The first entry has the time at which it was sent.
        found.setdefault(entry.event_id, {}).setdefault(channel, SentMessage(channel, entry.time_ms, entry.receivers))
        missing.discard(entry.event_id)
        if not missing:
            return


class _Reader:
    """Asks Redis, and notes which streams it refused to read."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.refused: dict[str, str] = {}

    def ask(self, questions: Sequence[tuple[str, ...]]) -> list[Any]:
        replies = self._ask(questions)
        for question, reply in zip(questions, replies, strict=True):
            if isinstance(reply, Exception):
                self.refused[question[1]] = str(reply)
        return replies
