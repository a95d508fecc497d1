"""Every message that a test hears is checked against the schema of its channel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.planning.message_schema import schemas


class Invalid(AssertionError):
    """A message that its schema does not allow."""


def validate(channel: str, body: object, rules: Rules | None = None) -> None:
    """Raises Invalid, naming the channel and the field at fault."""
    by_channel = _reference() if rules is None else validators(rules)
    if channel not in by_channel:
        raise Invalid(f"{channel}: no channel of the mapping")
    problems = list(by_channel[channel].iter_errors(body))
    # Of the types that a channel has, the one that the message says it is explains best what is wrong.
    meant = (
        [each for each in problems[0].context if each.schema_path[0] == _place(by_channel[channel], body)]
        if problems
        else []
    )
    if problem := best_match(meant or problems):
        raise Invalid(f"{channel}: {problem.json_path}: {problem.message}")


def validators(rules: Rules) -> Mapping[str, Any]:
    """A validator for each channel."""
    return {channel: Draft202012Validator(schema) for channel, schema in schemas(rules).items()}


def _place(validator: Any, body: object) -> int | None:
    """Which of the channel's types ``body`` claims to be."""
    claimed = body.get("event_type") if isinstance(body, dict) else None
    models = [each["$ref"].rpartition("/")[2] for each in validator.schema["oneOf"]]
    types = [validator.schema["$defs"][name]["properties"]["event_type"]["const"] for name in models]
    return types.index(claimed) if claimed in types else None


@cache
def _reference() -> Mapping[str, Any]:
    return validators(reference())
