"""What is asked about which user, and how the servers are reached."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.events.avro import Schemas
from consumer.mapping.keys import UserId
from consumer.mapping.rules import Rules, UserTable
from consumer.settings.sources import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: about which user, and how the servers are reached."""

    settings: Settings
    rules: Rules
    schemas: Schemas
    user: UserId

    @property
    def table(self) -> UserTable:
        """The table of the user."""
        (found,) = (each for each in self.rules.tables if each.user_type == self.user.user_type)
        return found
