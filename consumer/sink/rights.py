"""The rights that the program needs in Redis, from the mapping; and whether the rules of an account allow them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from consumer.mapping.keys import UserId, render, version_key_of
from consumer.mapping.rules import Rules

OFFSETS = "cdc:offsets:"
"""The prefix of the keys that hold a group's offsets."""
DATABASE = ":database"
"""The suffix of the key that holds the databases that a group consumes."""
STOPPED = ":stopped"
"""The suffix of the key that holds where members stopped because Redis was emptied."""
REPLAY_KEY = "cdc:replay:"
"""The prefix of a replay's keys: if one is gone, a replay knows that Redis was emptied."""

MEMBERS = "cdc:member:"
"""The prefix of the keys with what the members of a group report of themselves."""
AUDIT = "cdc:audit:"
"""The prefix of the keys with the result of a group's last audit."""

_GUARD = "HMGET HSET HDEL HKEYS HGETALL EXISTS EXPIRE PERSIST HGET"
_OFFSETS = "HSET HSETNX HGET HGETALL"
_HASH = "TYPE EXISTS HSET HSETNX HMGET HDEL HEXISTS UNLINK"
# Arguments after the key, so that the server accepts the call as complete.
_REST = {
    "HGET": ("f",),
    "HMGET": ("f",),
    "HSET": ("f", "v"),
    "HSETNX": ("f", "v"),
    "HDEL": ("f",),
    "HEXISTS": ("f",),
    "HINCRBY": ("f", "1"),
    "EXPIRE": ("1",),
    "SET": ("v", "EX", "1"),
    "XADD": ("MAXLEN", "~", "1", "*", "f", "v"),
    "XRANGE": ("-", "+"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """A command that the program sends, with its keys or its channel."""

    command: tuple[str, ...]
    keys: tuple[str, ...] = ()
    channel: str = ""

    def __str__(self) -> str:
        touched = self.channel or " ".join(self.keys)
        return f"{self.name.upper().replace('|', ' ')} {touched}".strip()

    @property
    def name(self) -> str:
        """The command's name in ACL rules: ``hset``, ``script|load``."""
        first, *rest = (part.lower() for part in self.command[:2])
        return f"{first}|{rest[0]}" if first in ("function", "script", "client", "cluster") else first


AS_FUNCTION = Need(("FUNCTION", "LOAD", "REPLACE", "#!lua"))
"""If this and :data:`FCALL` are allowed, the script is a function; else :data:`AS_SCRIPT` is needed."""
FCALL = Need(("FCALL", "f", "0"))
AS_SCRIPT = Need(("SCRIPT", "LOAD", "return"))
TRACKING = Need(("CLIENT", "TRACKING", "ON", "BCAST"))
"""Without this right, wildcard keys are found by SCAN."""
INFO = Need(("INFO", "server"))
"""Without this right, the version, the settings and the kind of the server are not known."""
OPTIONAL = (TRACKING, INFO)


def is_of_reports(need: Need) -> bool:
    """Whether it is about the reports for ``status`` alone: without them everything else works."""
    return any(key.startswith((MEMBERS, AUDIT)) for key in need.keys)


def needs(rules: Rules, group: str, *, is_cluster: bool = False) -> Iterator[Need]:
    """Every command with every kind of key, for one user of each type. The script's own call is in :func:`calls`."""
    if is_cluster:
        yield Need(("CLUSTER", "SLOTS"))
        yield Need(("ASKING",))
        for user in _users(rules):
            yield from _on(version_key_of(render(rules.names.balance, user)), _GUARD)
        yield from _on(f"{OFFSETS}{{0}}:{group}", f"EXISTS {_OFFSETS}")
        yield from _on(f"{REPLAY_KEY}{{0}}:0", "EXISTS SET EXPIRE UNLINK")
    yield Need(("PING",))
    for user in _users(rules):
        names = rules.names
        yield from _on(render(names.guard, user), _GUARD)
        yield from _on(render(names.config, user), _HASH)
        yield from _on(render(names.portfolio, user), _HASH)
        yield from _on(render(names.balance, user), "TYPE EXISTS GET SET UNLINK")
        for template in rules.derived():
            # The program asks whether a touched wildcard key still exists.
            yield from _on(
                render(template.removesuffix("*"), user), "UNLINK EXISTS" if template.endswith("*") else "UNLINK"
            )
    yield from _on(f"{OFFSETS}{group}", _OFFSETS)
    yield from _on(f"{OFFSETS}{group}{STOPPED}", "HSET HGETALL HDEL")
    yield from _on(database_key(group), "HSET HSETNX HGET")
    yield from _on(f"{REPLAY_KEY}0", "EXISTS SET EXPIRE UNLINK")
    yield from _on(f"{MEMBERS}{group}", "HSET EXPIRE HDEL HGETALL")
    yield from _on(f"{MEMBERS}{group}:0", "SET GET UNLINK")
    yield from _on(f"{MEMBERS}{group}:hour:0", "HINCRBY EXPIRE HGETALL")  # for the charts of the console
    yield from _on(f"{AUDIT}{group}", "SET GET")
    if any(template.endswith("*") for template in rules.derived()):
        yield Need(("SCAN", "0"))
    for stream in rules.stream_keys():
        yield from _on(stream, "TYPE XADD XLEN XRANGE")  # XRANGE: for `explain`
    for channel in channels(rules):
        yield Need(("PUBLISH", channel, "m"), channel=channel)


def database_key(group: str) -> str:
    """The key that holds the databases that ``group`` consumes."""
    return f"{OFFSETS}{group}{DATABASE}"


def calls(rules: Rules, *, as_function: bool) -> Iterator[Need]:
    """The script's own call, for one user of each type."""
    for user in _users(rules):
        keys = tuple(render(name, user) for name in (rules.names.guard, rules.names.config, rules.names.balance))
        yield Need(("FCALL" if as_function else "EVALSHA", "f", str(len(keys)), *keys), keys)


def channels(rules: Rules) -> list[str]:
    """Every channel, each once."""
    return sorted({*rules.channels(), rules.names.group_channel})


def wanted(rules: Rules, group: str, *, has_functions: bool, is_cluster: bool = False) -> str:
    """The minimal rights, as rules of ``ACL SETUSER``, for an account that only this program uses.

    ``has_functions``: Redis 7 or later.
    """
    every = [*needs(rules, group, is_cluster=is_cluster), *calls(rules, as_function=False), AS_SCRIPT, *OPTIONAL]
    every += [*calls(rules, as_function=True), AS_FUNCTION] if has_functions else []
    commands = sorted({f"+{need.name}" for need in every} | {"+select"})  # SELECT: for a URL with a database
    names = rules.names
    templates = (names.guard, names.config, names.portfolio, names.balance, *rules.derived())
    templates += (version_key_of(names.balance),) if is_cluster else ()
    patterns = [*dict.fromkeys(_pattern(template) for template in templates), f"{OFFSETS}*", f"{REPLAY_KEY}*"]
    patterns += [f"{MEMBERS}*", f"{AUDIT}*", *map(_pattern, rules.stream_keys())]
    keys, heard = (f"~{each}" for each in patterns), (f"&{each}" for each in channels(rules))
    # Redis refuses to add patterns to an account that may use all keys or channels, so both are reset first.
    return " ".join([*commands, "resetkeys", *keys, "resetchannels", *heard])


def _pattern(template: str) -> str:
    plain = re.sub(r"([\\?\[\]])", r"\\\1", template)
    return plain.replace("<type>", "*").replace("<id>", "*")


def _users(rules: Rules) -> list[UserId]:
    return [UserId(user_type, 1) for user_type in dict.fromkeys(table.user_type for table in rules.tables)]


def _on(key: str, commands: str) -> Iterator[Need]:
    for command in commands.split():
        yield Need((command, key, *_REST.get(command, ())), (key,))


@dataclass(frozen=True, slots=True)
class Account:
    """The rules of an account, for a server that can't be asked whether a call is allowed.

    ``commands``: rules in order; the last one that matches decides (``+@read -keys``). ``categories``: the commands of
    each category in ``commands``. ``keys`` and ``channels``: patterns.
    """

    commands: Sequence[str]
    keys: Sequence[str]
    channels: Sequence[str]
    categories: Mapping[str, Sequence[str]]

    def may(self, need: Need) -> bool:
        """Whether the call is allowed."""
        return (
            self._may_run(need.name)
            and all(_matches(self.keys, key) for key in need.keys)
            and (not need.channel or _matches(self.channels, need.channel))
        )

    def _may_run(self, name: str) -> bool:
        is_allowed = False
        for rule in self.commands:
            sign, what = rule[0], rule[1:]
            members = self.categories.get(what[1:], ()) if what.startswith("@") else (what,)
            if what == "@all" or name in members or name.partition("|")[0] in members:
                is_allowed = sign == "+"
        return is_allowed


def _matches(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern.lstrip("~&")) for pattern in patterns)
