"""What the program does in Redis, and whether an account may: from the mapping, and from what the server says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from consumer.mapping.keys import UserId, companion, render
from consumer.mapping.rules import Rules

OFFSETS = "cdc:offsets:"
"""What the key begins with under which a group's offsets are remembered."""
DATABASE = ":database"
"""What the key ends with under which it is remembered whose tables a group follows."""
CANARY = "cdc:replay:"
"""What the key begins with whose loss tells a replay that Redis was emptied."""

_GUARD = "HMGET HSET HDEL HKEYS HGETALL EXISTS EXPIRE PERSIST HGET"
_HASH = "TYPE EXISTS HSET HSETNX HMGET HDEL HEXISTS UNLINK"
# Arguments behind the key, so that the server takes the call for complete.
_REST = {
    "HGET": ("f",),
    "HMGET": ("f",),
    "HSET": ("f", "v"),
    "HSETNX": ("f", "v"),
    "HDEL": ("f",),
    "HEXISTS": ("f",),
    "EXPIRE": ("1",),
    "SET": ("v", "EX", "1"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """A call that the program makes, with what it touches."""

    command: tuple[str, ...]
    keys: tuple[str, ...] = ()
    channel: str = ""

    def __str__(self) -> str:
        touched = self.channel or " ".join(self.keys)
        return f"{self.name.upper().replace('|', ' ')} {touched}".strip()

    @property
    def name(self) -> str:
        """As rules name it: ``hset``, ``script|load``."""
        first, *rest = (part.lower() for part in self.command[:2])
        return f"{first}|{rest[0]}" if first in ("function", "script", "client", "cluster") else first


AS_FUNCTION = Need(("FUNCTION", "LOAD", "REPLACE", "#!lua"))
"""Where this and :data:`FCALL` are allowed the script is a function, else :data:`AS_SCRIPT`."""
FCALL = Need(("FCALL", "f", "0"))
AS_SCRIPT = Need(("SCRIPT", "LOAD", "return"))
TRACKING = Need(("CLIENT", "TRACKING", "ON", "BCAST"))
"""Without it there are SCAN passes."""
INFO = Need(("INFO", "server"))
"""Without it the server's version, its settings and what it is are not known."""
OPTIONAL = (TRACKING, INFO)


def needs(rules: Rules, group: str, *, is_cluster: bool = False) -> Iterator[Need]:
    """Every call with every kind of key, of one user of each type; how the script is called is :func:`calls`."""
    if is_cluster:
        yield Need(("CLUSTER", "SLOTS"))
        yield Need(("ASKING",))
        for user in _users(rules):
            yield from _on(companion(render(rules.names.balance, user)), _GUARD)
        yield from _on(f"{OFFSETS}{{0}}:{group}", "EXISTS HSET HGETALL")
    yield Need(("PING",))
    for user in _users(rules):
        names = rules.names
        yield from _on(render(names.guard, user), _GUARD)
        yield from _on(render(names.config, user), _HASH)
        yield from _on(render(names.portfolio, user), _HASH)
        yield from _on(render(names.balance, user), "TYPE EXISTS GET SET UNLINK")
        for template in rules.derived():
            # A wildcard key that was touched is asked after: it may be gone.
            yield from _on(
                render(template.removesuffix("*"), user), "UNLINK EXISTS" if template.endswith("*") else "UNLINK"
            )
    yield from _on(f"{OFFSETS}{group}", "HSET HGETALL")
    yield from _on(database_key(group), "HSET HSETNX HGET")
    yield from _on(f"{CANARY}0", "SET EXPIRE UNLINK")
    if any(template.endswith("*") for template in rules.derived()):
        yield Need(("SCAN", "0"))
    for channel in channels(rules):
        yield Need(("PUBLISH", channel, "m"), channel=channel)


def database_key(group: str) -> str:
    """The key under which it is remembered whose tables ``group`` follows."""
    return f"{OFFSETS}{group}{DATABASE}"


def calls(rules: Rules, *, as_function: bool) -> Iterator[Need]:
    """The script's own call, of one user of each type."""
    for user in _users(rules):
        keys = tuple(render(name, user) for name in (rules.names.guard, rules.names.config, rules.names.balance))
        yield Need(("FCALL" if as_function else "EVALSHA", "f", str(len(keys)), *keys), keys)


def channels(rules: Rules) -> list[str]:
    """Every channel, each once."""
    every = {channel for each in (*rules.consequences, rules.profile, rules.outside) for channel in each.channels}
    return sorted(every | {rules.names.lifecycle_channel, rules.names.group_channel})


def wanted(rules: Rules, group: str, *, has_functions: bool, is_cluster: bool = False) -> str:
    """The least rights that are enough, as the rules of ``ACL SETUSER``, for an account of this program alone.

    ``has_functions``: Redis 7 or later.
    """
    every = [*needs(rules, group, is_cluster=is_cluster), *calls(rules, as_function=False), AS_SCRIPT, *OPTIONAL]
    every += [*calls(rules, as_function=True), AS_FUNCTION] if has_functions else []
    commands = sorted({f"+{need.name}" for need in every} | {"+select"})  # SELECT: for a URL with a database
    names = rules.names
    templates = (names.guard, names.config, names.portfolio, names.balance, *rules.derived())
    templates += (companion(names.balance),) if is_cluster else ()
    patterns = [*dict.fromkeys(_pattern(template) for template in templates), f"{OFFSETS}*", f"{CANARY}*"]
    keys, heard = (f"~{each}" for each in patterns), (f"&{each}" for each in channels(rules))
    # Redis refuses to add to an account that may use all keys or channels, so these begin anew.
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
    """An account by its rules, for a server that can't be asked about a call.

    ``commands`` are in the order in which they count (``+@read -keys``); ``categories`` has the commands of each of the
    categories in them. ``keys`` and ``channels`` are patterns.
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
