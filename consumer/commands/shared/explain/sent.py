"""The messages of a user that the streams of the mapping keep: what was sent, when, and how many received it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.commands.shared.explain.sent_text import sent_text
from consumer.commands.shared.explain.timeline import SentMessage, Wanted
from consumer.errors import UnreadableStream
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.sink.streams import Ask, Entry, entries

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
    unreadable: dict[str, str] = {}
    since_ms = max(0, wanted.since_ms - clock_ms)
    for channel, event_ids in wanted.event_ids.items():
        stream = rules.streams.key_of(channel)
        try:
            for entry in _until_found(entries(ask, stream, since_ms, _FOREVER_MS, user), event_ids):
                sent = SentMessage(channel, entry.time_ms, entry.receivers, sent_text(entry.message, rules))
                # On a cluster a stream may have a message twice. The first entry has the time at which it was sent.
                found.setdefault(entry.event_id, {}).setdefault(channel, sent)
        except UnreadableStream as error:
            unreadable[stream] = error.problem
    return Sent({name: [*of_channels.values()] for name, of_channels in found.items()}, unreadable)


def _until_found(stream: Iterator[Entry], event_ids: Collection[str]) -> Iterator[Entry]:
    """The entries up to the one with which each of ``event_ids`` was found."""
    missing = set(event_ids)
    for entry in stream:
        yield entry
        missing.discard(entry.event_id)
        if not missing:
            return
