"""The entries of streams: how the program writes them on a cluster, and how they are read, a page at a time.

On one server ``apply.lua`` writes the same fields, in the step that publishes. ``docs/events.md`` describes them for
other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
import redis

from consumer.errors import ConfigError, UnreadableStream
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules
from consumer.planning.effect import Plan
from consumer.planning.message import event_id_of
from consumer.sink.client import at_start
from consumer.sink.keyspace import Keyspace
from consumer.sink.replies import raise_first_error
from consumer.sink.script import Command

_PAGE = 500

Ask: TypeAlias = Callable[[Sequence[tuple[str, ...]]], list[Any]]
"""Answers the replies to commands that only read. An error reply is an exception in the list.

:meth:`consumer.sink.view.RedisView.ask_or_refusal` is one.
"""


class Entry(msgspec.Struct, frozen=True):
    """A message in a stream.

    ``id``: as Redis gave it. ``message``: the JSON text as it was published. ``user``: "live:7". ``receivers``: how
    many subscribers PUBLISH reached; None if that is not known: on a cluster, and for an entry that was written again
    after Redis had lost it. A field that an entry of another program lacks is "".
    """

    id: str
    event_id: str
    user: str
    message: str
    receivers: int | None = None

    @property
    def time_ms(self) -> int:
        """When the entry was added, by Redis' clock: UTC milliseconds."""
        return _parts(self.id)[0]


def entries(ask: Ask, stream: str, since_ms: int, until_ms: int, user: UserId | None = None) -> Iterator[Entry]:
    """The entries that were added from ``since_ms`` to ``until_ms``, both included, the oldest first.

    ``user``: only this user's. Reads page by page, so a caller may stop at any time. A key that does not exist has no
    entries.

    Raises:
        UnreadableStream: Redis refuses.
        ServerError: Redis can't answer.
    """
    wanted, start = None if user is None else str(user), str(since_ms)
    while True:
        (reply,) = ask([("XRANGE", stream, start, str(until_ms), "COUNT", str(_PAGE))])
        if isinstance(reply, Exception):
            raise UnreadableStream("Redis", str(reply))
        page = read_page(reply)
        yield from (each for each in page if wanted is None or each.user == wanted)
        if len(page) < _PAGE:
            return
        start = next_id(page[-1].id)


def read_page(reply: Iterable[Any]) -> list[Entry]:
    """The entries in a reply to XRANGE."""
    return [_entry(name, fields) for name, fields in reply]


def _entry(name: str, fields: Any) -> Entry:
    if not isinstance(fields, dict):  # a flat list, as a cluster's nodes answer
        fields = dict(zip(fields[::2], fields[1::2], strict=True))
    receivers = fields.get("receivers", "")
    return Entry(
        name,
        fields.get("event_id", ""),
        fields.get("user", ""),
        fields.get("message", ""),
        int(receivers) if receivers.isdecimal() else None,
    )


def next_id(name: str) -> str:
    """The lowest id above ``name``. Redis before 6.2 has no exclusive ranges."""
    ms, number = _parts(name)
    return f"{ms}-{number + 1}"


def _parts(name: str) -> tuple[int, int]:
    ms, _, number = name.partition("-")
    return int(ms), int(number)


def additions(plan: Plan) -> Iterator[tuple[str, Command]]:
    """The commands that add a plan's messages to their streams, each with its key."""
    event_id = event_id_of(plan.bodies[0])
    for each in plan.messages:
        if each.stream:
            fields = ("event_id", event_id, "user", str(plan.user), "message", each.body)
            yield each.stream, ("XADD", each.stream, "MAXLEN", "~", str(each.maxlen), "*", *fields)


def other_kinds(keys: Keyspace, rules: Rules) -> dict[str, str]:
    """The keys of the mapping's streams that hold something else, each with its type.

    Raises:
        redis.RedisError: Redis can't answer, or refuses.
    """
    names = rules.stream_keys()
    replies = raise_first_error(keys.ask([("TYPE", name) for name in names])) if names else ()
    return {name: kind for name, kind in zip(names, replies, strict=True) if kind not in ("stream", "none")}


def refuse_other_kinds(keys: Keyspace, rules: Rules) -> None:
    """Refuse to start if a stream of the mapping could not get an entry.

    Raises:
        ConfigError: a key of that name holds something else, or the account may not use it.
        ServerUnavailable: Redis does not answer yet.
    """
    try:
        found = other_kinds(keys, rules)
    except redis.RedisError as error:
        raise at_start(error) from error
    for name, kind in found.items():
        raise ConfigError(
            "CDC_MAPPING", f"streams: {name} in Redis is a {kind}", fix="remove this key, or set another streams.key"
        )
