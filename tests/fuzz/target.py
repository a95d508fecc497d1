"""What a target of the fuzzer is: it makes inputs, and tries one."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any, Protocol, TypeAlias

from consumer.errors import CdcError, ConfigError, RecordError

Plain: TypeAlias = Any
"""An input: dicts, lists, tuples, text, bytes, numbers, None. So its ``repr`` can be put into a test."""

CANARY = "canary-4Q7z"
"""A row value or a secret that the inputs have, and that no error may have."""
CANARY_NUMBER = 740_213_559_173
_MOST_CHARS = 5000


class Broken(Exception):
    """A rule that an input broke. The first words, up to a colon, are the same for all inputs that break it."""


class Target(Protocol):
    """A kind of input.

    An exception of :meth:`attempt` is a finding. ``name``: of the option ``--only``.
    """

    name: str

    def make(self, chance: Random) -> Plain:
        """An input."""
        ...

    def attempt(self, given: Plain) -> str:
        """Try an input; answers what became of it, in words that many inputs have in common.

        Raises:
            Broken: a rule of this target was broken.
        """
        ...

    def close(self) -> None:
        """Give back what the target holds."""
        ...


def check_error(error: CdcError, *, must_not_have: tuple[str, ...] = (CANARY, str(CANARY_NUMBER))) -> str:
    """What became of an input that was refused: the kind of the error.

    Raises:
        Broken: the error has no reason or no name of a field, is too long, or has a value.
    """
    text = f"{error} {error.advice}"
    problem = getattr(error, "problem", "")
    if not problem:
        raise Broken(f"an error without a reason: {text!r}")
    if isinstance(error, ConfigError) and not error.field:
        raise Broken(f"an error that names no field: {text!r}")
    if isinstance(error, RecordError) and error.place is not None and not str(error).startswith(str(error.place)):
        raise Broken(f"an error that does not begin with the record's place: {text!r}")
    check_text(text, must_not_have)
    return type(error).__name__


def check_text(text: str, must_not_have: tuple[str, ...] = (CANARY, str(CANARY_NUMBER))) -> None:
    """Raises Broken if the text of an error is too long, has several lines, has a value, or can't be printed."""
    if len(text) > _MOST_CHARS:
        raise Broken(f"an error that is too long: {len(text)} characters, {text[:200]!r}")
    if "\n" in text:
        raise Broken(f"an error of several lines: {text[:500]!r}")
    if found := next((each for each in must_not_have if each in text), None):
        raise Broken(f"an error with a value: {found!r} in {text[:500]!r}")
    if "Traceback (most recent" in text:
        raise Broken(f"a traceback: {text[:500]!r}")
    check_printable(text)


def check_printable(text: str) -> None:
    """Raises Broken if a terminal or a file can't take the text, as with half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Broken(f"a text that is no UTF-8: {text[:200]!r}") from None


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]{2,}")


def check_money(text: str) -> None:
    """Raises Broken if the text is no exact decimal, as Redis has it; of NULL it is empty."""
    if text and not _NUMBER.fullmatch(text):
        raise Broken(f"a balance that is no decimal: {text[:200]!r}")


def check_json(text: str) -> Any:
    """The value of a line of JSON. Raises Broken if it is none."""
    try:
        if "\n" in text:
            raise ValueError
        return json.loads(text)
    except ValueError:
        raise Broken(f"a line that is no JSON: {text[:300]!r}") from None
