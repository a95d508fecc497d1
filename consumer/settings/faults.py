"""What is wrong with a setting's value and which values are allowed, in this program's words instead of pydantic's.

Pure: the input is pydantic's error and the declaration of the field.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import SecretStr
from pydantic.fields import FieldInfo

TOPIC = r"^[a-zA-Z0-9._-]*$"
NAME = r"^[a-zA-Z0-9._-]+$"
HTTP = r"^https?://\S+$"
HTTP_WITHOUT_LOGIN = r"^https?://[^\s@]+$"

_NAME = "characters that are not allowed"
_URL = "not a URL of this form"
_PATTERNS = {
    TOPIC: (_NAME, "letters, digits, . _ and -"),
    NAME: (_NAME, "letters, digits, . _ and -"),
    HTTP: (_URL, "http:// or https://"),
    HTTP_WITHOUT_LOGIN: (_URL, "http:// or https://, without a password"),
}
# By the beginning of pydantic's error types; the first match counts.
_PROBLEMS = {
    "int_": "not a whole number",
    "float_": "not a number",
    "finite_number": "not a number",
    "bool_": "neither true nor false",
    "literal_error": "not an allowed value",
    "enum": "not an allowed value",
    "greater_than": "out of range",
    "less_than": "out of range",
    "string_too_long": "too long",
    "string_too_short": "empty",
    "too_short": "too short",
    "string_": "not text",
    "bytes_": "not text",
    "path_": "not a path",
    "model_": "not a table of settings",
    "dataclass_": "not a table",
    "dict_": "not a table",
    "list_": "not a list",
    "tuple_": "not a list",
    "set_": "not a list",
    "frozen_set_": "not a list",
    "missing": "missing",
    "extra_forbidden": "no such setting",
    "unexpected_keyword_argument": "no such key",
    "json_": "not JSON",
}


class Wrong(ValueError):
    """Raised by a validator: the problem, and what is allowed or what to do, as in a ConfigError."""

    def __init__(self, problem: str, *, allowed: str = "", fix: str = "") -> None:
        super().__init__(problem)
        self.allowed = allowed
        self.fix = fix


class Fault(NamedTuple):
    """The parts of a ConfigError without the setting's name."""

    problem: str
    allowed: str = ""
    fix: str = ""


def fault(found: Mapping[str, Any], field: FieldInfo | None = None) -> Fault:
    """One entry of ``ValidationError.errors()`` in this program's words; ``field``: the declaration of the setting."""
    kind, context = str(found["type"]), found.get("ctx", {})
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return Fault(*_PATTERNS[context["pattern"]])
    if isinstance(wrong := context.get("error"), ValueError):
        return Fault(str(wrong), getattr(wrong, "allowed", ""), getattr(wrong, "fix", ""))
    problem = next((text for begin, text in _PROBLEMS.items() if kind.startswith(begin)), "can't be used")
    if problem == "not a table of settings":
        return Fault(problem, fix="set its parts one by one")
    if problem == "not a path":
        return Fault(problem, "the name of a file")
    return Fault(problem, allowed_in(field) if field is not None else str(context.get("expected", "")))


def allowed_in(field: FieldInfo) -> str:
    """The values that a setting accepts, as text; empty if any text is accepted."""
    kind = _plain(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(str(value) for value in get_args(kind))
    if kind is bool:
        return "true, false"
    if kind in (int, float):
        return numbers("whole numbers" if kind is int else "numbers", field.metadata)
    if kind in (str, SecretStr):
        pattern = next((each.pattern for each in field.metadata if getattr(each, "pattern", None)), None)
        return _PATTERNS[pattern][1] if pattern in _PATTERNS else _lengths(field.metadata)
    return ""


def numbers(what: str, limits: Sequence[object]) -> str:
    """``what`` with its limits: ``whole numbers from 0 to 65535``."""
    text = what
    for each in limits:
        if isinstance(each, Gt):
            text += f" above {each.gt}"
        elif isinstance(each, Ge):
            text += f" from {each.ge}"
    for each in limits:
        if isinstance(each, Le):
            text += f" to {each.le}"
    return text


def _lengths(limits: Sequence[object]) -> str:
    least = next((each.min_length for each in limits if isinstance(each, MinLen)), 0)
    most = next((each.max_length for each in limits if isinstance(each, MaxLen)), None)
    if most is not None:
        return f"text of {least} to {most} characters"
    return f"text of {least} character{'s' if least > 1 else ''} or more" if least else "text"


def _plain(annotation: Any) -> Any:
    """The type without ``| None``."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return kinds[0] if len(kinds) == 1 else annotation
    return annotation
