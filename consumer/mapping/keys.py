"""Names of Redis keys, from templates such as ``user:{<type>:<id>}:config``.

``<type>`` and ``<id>`` stand for the user; braces are Redis Cluster's hash tag and are left as they are. Two users
never share a key: a user type holds no separator and an id is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import product

import msgspec

_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"<[^>]*>")
_RUNS = re.compile(r"<id>|[0-9]+|(?:(?!<id>)[^0-9])+")
_NUMBER = re.compile(r"0|[1-9][0-9]*")


class UserId(msgspec.Struct, frozen=True, order=True):
    """A user: ids count within a type, so ``live:1`` and ``demo:1`` are two users."""

    user_type: str
    id: int

    def __str__(self) -> str:
        return f"{self.user_type}:{self.id}"

    @classmethod
    def from_text(cls, text: str) -> UserId:
        """The inverse of ``str()``. Raises ValueError, saying what is expected."""
        user_type, colon, number = text.partition(":")
        if not colon or not _TYPE.fullmatch(user_type) or not (number.isascii() and number.isdecimal()):
            raise ValueError("should look like live:123")
        return cls(user_type, int(number))


def check_user_type(user_type: str) -> None:
    """Raises ValueError for a user type that would make keys ambiguous."""
    if not _TYPE.fullmatch(user_type):
        raise ValueError("a user type is lower-case letters, digits and _, beginning with a letter")


def check_template(template: str) -> None:
    """Raises ValueError for a template that does not name one user. A trailing ``*`` means all keys that begin so."""
    unknown = set(_PLACEHOLDER.findall(template)) - {"<type>", "<id>"}
    if unknown:
        raise ValueError(f"unknown placeholder {min(unknown)}; known are <type> and <id>")
    if "<type>" not in template or "<id>" not in template:
        raise ValueError("a key must hold both <type> and <id>, or users would share it")
    if re.search(r"<type><id>|<id><type>|<id><id>", template):
        raise ValueError("<type> and <id> need a separator between them")
    if re.search(r"[0-9]<id>|<id>[0-9]", template):
        raise ValueError("a digit next to <id> would make users 1 and 11 ambiguous")
    if "*" in template.removesuffix("*"):
        raise ValueError("a * may only stand at the end")
    if template.endswith("*") and (template[-2].isalnum() or template[-2] == ">"):
        raise ValueError("a * needs a separator before it, or user 1's keys would begin as user 11's do")


def collision(one: str, other: str, user_types: Iterable[str]) -> tuple[UserId, UserId] | None:
    """Two users for whom two different templates, or one template twice, name the same key.

    Where ``one`` ends with ``*``, a key of ``other`` that begins so counts, and then only if the users differ. Both
    templates have passed :func:`check_template`.
    """
    is_wildcard = one.endswith("*")
    for first, second in product(sorted(user_types), repeat=2):
        if one == other and first == second:
            continue
        ids = _unified(_tokens(one, first), _tokens(other, second), is_wildcard)
        if ids is None:
            continue
        found = UserId(first, ids[0]), UserId(second, ids[1])
        if not is_wildcard or found[0] != found[1]:
            return found
    return None


def covers(wildcard: str, key: str, user_types: Iterable[str]) -> bool:
    """Whether a template that ends with ``*`` means a key of the template ``key``, be it of the same user."""
    types = sorted(user_types)
    tokens = ((_tokens(wildcard, one), _tokens(key, other)) for one in types for other in types)
    return any(_unified(prefix, whole, is_prefix=True) for prefix, whole in tokens)


def _tokens(template: str, user_type: str) -> list[str]:
    """Runs of digits, runs of anything else, and ``<id>``, which is a run of digits of its own."""
    return _RUNS.findall(template.removesuffix("*").replace("<type>", user_type))


def _unified(one: list[str], other: list[str], is_prefix: bool) -> tuple[int, int] | None:
    """Ids that make two lists of tokens the same text, or the first the beginning of the second; None without any."""
    if len(one) > len(other) or (len(one) < len(other) and not is_prefix):
        return None
    mine: set[str] = set()
    yours: set[str] = set()
    are_equal = False
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left == "<id>" and right == "<id>":
            are_equal = True
        elif left == "<id>" and _NUMBER.fullmatch(right):
            mine.add(right)
        elif right == "<id>" and _NUMBER.fullmatch(left):
            yours.add(left)
        elif left != right and not (is_prefix and place == len(one) - 1 and right.startswith(left)):
            return None
    if are_equal:
        mine |= yours
        yours = mine
    if len(mine) > 1 or len(yours) > 1:
        return None
    return int(next(iter(mine), "1")), int(next(iter(yours), "1" if are_equal else "2"))


def render(template: str, user: UserId) -> str:
    """The key of ``user``."""
    return str(user.id).join(around(template, user.user_type))


@lru_cache(maxsize=1024)
def around(template: str, user_type: str) -> tuple[str, ...]:
    """What stands around the id in the keys of users of a type: joined with an id it is a key."""
    return tuple(template.replace("<type>", user_type).split("<id>"))


def pattern(template: str, user_types: Iterable[str]) -> re.Pattern[str]:
    """What the keys of all users look like, with the groups ``type`` and ``id``."""
    types = "|".join(sorted(user_types))
    return re.compile(
        re.escape(template).replace("<type>", f"(?P<type>{types})").replace("<id>", "(?P<id>0|[1-9][0-9]*)")
    )


def glob(template: str) -> str:
    """The same for SCAN, which knows no better: it may match other keys too."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", template).replace("<type>", "*").replace("<id>", "*")


def companion(key: str) -> str:
    """On a cluster, the key of the version beside ``key``, in the same slot."""
    return f"{key}:v" if _has_tag(key) else f"{{{key}}}:v"


def _has_tag(key: str) -> bool:
    _, brace, rest = key.partition("{")
    return bool(brace) and rest.find("}") > 0
