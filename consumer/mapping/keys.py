"""Names of Redis keys, from templates such as ``user:{<type>:<id>}:config``.

``<type>`` and ``<id>`` are replaced by the user's; braces are Redis Cluster's hash tag and stay. Two users never share
a key: a user type contains no separator and an id is a number.
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
_ID = re.compile(r"[0-9]{1,20}")
"""No database has a longer whole number as a key."""


class UserId(msgspec.Struct, frozen=True, order=True, gc=False):
    """A user. Ids are unique within a user type: ``live:1`` and ``demo:1`` are two users."""

    user_type: str
    id: int

    def __str__(self) -> str:
        return f"{self.user_type}:{self.id}"

    @classmethod
    def from_text(cls, text: str) -> UserId:
        """Parse the form that ``str()`` gives.

        Raises:
            ValueError: the text has another form; the message shows the right form.
        """
        user_type, colon, number = text.partition(":")
        if not colon or not _TYPE.fullmatch(user_type) or not _ID.fullmatch(number):
            raise ValueError("should look like live:123")
        return cls(user_type, int(number))


def check_user_type(user_type: str) -> None:
    """Raise ValueError for a user type that would make keys ambiguous."""
    if not _TYPE.fullmatch(user_type):
        raise ValueError("a user type has only lower-case letters, digits and _, and begins with a letter")


def check_template(template: str) -> None:
    """Raise ValueError for a template that does not name one user. A ``*`` at the end: all keys with that prefix."""
    unknown = set(_PLACEHOLDER.findall(template)) - {"<type>", "<id>"}
    if unknown:
        raise ValueError(f"unknown placeholder {min(unknown)}; known are <type> and <id>")
    if "<type>" not in template or "<id>" not in template:
        raise ValueError("a key must contain both <type> and <id>, or users would share it")
    if re.search(r"<type><id>|<id><type>|<id><id>", template):
        raise ValueError("<type> and <id> need a separator between them")
    if re.search(r"[0-9]<id>|<id>[0-9]", template):
        raise ValueError("a digit next to <id> would make users 1 and 11 ambiguous")
    if "*" in template.removesuffix("*"):
        raise ValueError("a * may only stand at the end")
    if template.endswith("*") and (template[-2].isalnum() or template[-2] == ">"):
        raise ValueError("a * needs a separator before it, or user 11's keys would match user 1's template")


def collision(one: str, other: str, user_types: Iterable[str]) -> tuple[UserId, UserId] | None:
    """Find two users for which two templates (or one template twice) give the same key; None if there are none.

    If ``one`` ends with ``*``, a key of ``other`` with that prefix counts, but only if the users differ. Both templates
    have passed :func:`check_template`.
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
    """Whether a template that ends with ``*`` matches keys of the template ``key``, of the same user or of another."""
    types = sorted(user_types)
    tokens = ((_tokens(wildcard, one), _tokens(key, other)) for one in types for other in types)
    return any(_unified(prefix, whole, is_prefix=True) for prefix, whole in tokens)


def _tokens(template: str, user_type: str) -> list[str]:
    """Split into runs of digits, runs of other characters, and ``<id>``, which stands for a run of digits."""
    return _RUNS.findall(template.removesuffix("*").replace("<type>", user_type))


def _unified(one: list[str], other: list[str], is_prefix: bool) -> tuple[int, int] | None:
    """Ids that make two lists of tokens equal, or the first list a prefix of the second; None if there are none."""
    if len(one) > len(other) or (len(one) < len(other) and not is_prefix):
        return None
    first_ids: set[str] = set()
    second_ids: set[str] = set()
    are_equal = False
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left == "<id>" and right == "<id>":
            are_equal = True
        elif left == "<id>" and _NUMBER.fullmatch(right):
            first_ids.add(right)
        elif right == "<id>" and _NUMBER.fullmatch(left):
            second_ids.add(left)
        elif left != right and not (is_prefix and index == len(one) - 1 and right.startswith(left)):
            return None
    if are_equal:
        first_ids |= second_ids
        second_ids = first_ids
    if len(first_ids) > 1 or len(second_ids) > 1:
        return None
    return int(next(iter(first_ids), "1")), int(next(iter(second_ids), "1" if are_equal else "2"))


def render(template: str, user: UserId) -> str:
    """The key of ``user``."""
    return str(user.id).join(parts_around_id(template, user.user_type))


@lru_cache(maxsize=1024)
def parts_around_id(template: str, user_type: str) -> tuple[str, ...]:
    """The parts of a key before and after the id, for users of one type. An id between them gives the key."""
    return tuple(template.replace("<type>", user_type).split("<id>"))


def pattern(template: str, user_types: Iterable[str]) -> re.Pattern[str]:
    """A regular expression for the keys of all users, with the groups ``type`` and ``id``."""
    types = "|".join(sorted(user_types))
    return re.compile(
        re.escape(template).replace("<type>", f"(?P<type>{types})").replace("<id>", "(?P<id>0|[1-9][0-9]*)")
    )


def glob(template: str, user_type: str = "") -> str:
    """A pattern of SCAN for the keys of all users, or of the users of one type. It may match other keys too."""
    return glob_of_text(template).replace("<type>", user_type or "*").replace("<id>", "*")


def glob_of_text(text: str) -> str:
    """A pattern of SCAN that matches only ``text``."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", text)


def version_key_of(key: str) -> str:
    """On a cluster: the name of the key that holds the version of ``key``, in the same slot."""
    return f"{key}:v" if hash_tag(key) else f"{{{key}}}:v"


def hash_tag(key: str) -> str:
    """The part of a key or template that decides its slot in a Redis Cluster; "" if the whole key does."""
    tag, brace, _ = key.partition("{")[2].partition("}")
    return tag if brace else ""
