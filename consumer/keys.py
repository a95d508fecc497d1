"""Names of Redis keys, from templates such as ``user:{<type>:<id>}:config``.

``<type>`` and ``<id>`` stand for the user; braces are Redis Cluster's hash tag and are left as they are. Two users
never share a key: a user type holds no separator and an id is a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_PLACEHOLDER = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True, order=True)
class UserId:
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
    """Raises ValueError for a template that does not name one user."""
    unknown = set(_PLACEHOLDER.findall(template)) - {"<type>", "<id>"}
    if unknown:
        raise ValueError(f"unknown placeholder {min(unknown)}; known are <type> and <id>")
    if "<type>" not in template or "<id>" not in template:
        raise ValueError("a key must hold both <type> and <id>, or users would share it")
    between = template.partition("<type>")[2].partition("<id>")[0]
    if not between:
        raise ValueError("<type> and <id> need a separator between them")


def render(template: str, user: UserId) -> str:
    """The key of ``user``."""
    return template.replace("<type>", user.user_type).replace("<id>", str(user.id))
