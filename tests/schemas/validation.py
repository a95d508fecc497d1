"""Every message that a test hears is checked against the schema of its channel.

Tests hear hundreds of thousands. A quick validator checks each; one that explains looks at what that refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.planning.message_schema import schemas


class Invalid(AssertionError):
    """A message that its schema does not allow."""


@dataclass(frozen=True)
class ChannelValidator:
    """The schema of one channel, which both validators read."""

    channel: str
    schema: Mapping[str, Any]
    quick: jsonschema_rs.Draft202012Validator

    @classmethod
    def of(cls, channel: str, schema: dict[str, Any]) -> ChannelValidator:
        return cls(channel, schema, jsonschema_rs.Draft202012Validator(schema))

    def validate(self, body: object) -> None:
        """Raises Invalid, naming the channel and the field at fault."""
        if not self.quick.is_valid(body):
            raise Invalid(f"{self.channel}: {self.problem(body) or 'only the quick validator refuses it'}")

    def problem(self, body: object) -> str | None:
        """What is wrong with a message, in words; None if nothing is."""
        from jsonschema import Draft202012Validator  # loads a second of grammars
        from jsonschema.exceptions import best_match

        problems = list(Draft202012Validator(self.schema).iter_errors(body))
        # Of the types that a channel has, the one that the message says it is explains best what is wrong.
        meant = [each for each in problems[0].context if each.schema_path[0] == self._place(body)] if problems else []
        worst = best_match(meant or problems)
        return f"{worst.json_path}: {worst.message}" if worst else None

    def _place(self, body: object) -> int | None:
        """Which of the channel's types ``body`` claims to be."""
        claimed = body.get("event_type") if isinstance(body, dict) else None
        models = [each["$ref"].rpartition("/")[2] for each in self.schema["oneOf"]]
        types = [self.schema["$defs"][name]["properties"]["event_type"]["const"] for name in models]
        return types.index(claimed) if claimed in types else None


def validate(channel: str, body: object, rules: Rules | None = None) -> None:
    """Raises Invalid, naming the channel and the field at fault."""
    by_channel = _reference() if rules is None else validators(rules)
    if channel not in by_channel:
        raise Invalid(f"{channel}: no channel of the mapping")
    by_channel[channel].validate(body)


def validators(rules: Rules) -> Mapping[str, ChannelValidator]:
    """A validator for each channel."""
    return {channel: ChannelValidator.of(channel, schema) for channel, schema in schemas(rules).items()}


@cache
def _reference() -> Mapping[str, ChannelValidator]:
    return validators(reference())
