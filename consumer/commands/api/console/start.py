"""Puts the console together."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from consumer.commands.api.access import Access
from consumer.commands.api.console.app import console
from consumer.commands.api.console.desk import Desk
from consumer.commands.api.console.letters import Letters
from consumer.commands.api.console.overview import Overview
from consumer.commands.api.console.session import Sessions
from consumer.commands.api.health import Health
from consumer.commands.api.limit import Limit
from consumer.commands.shared.check.run import check
from consumer.commands.shared.options import schemas_of
from consumer.commands.shared.status.facts import Limits
from consumer.commands.shared.status.rounds import Survey
from consumer.mapping.rules import Rules
from consumer.settings.sources import Settings

_CHECKED_S = 60.0


def console_of(
    settings: Settings, rules: Rules, access: Access, health: Health, refreshes: Limit, stop: Callable[[], bool]
) -> FastAPI:
    """The console. Nothing is asked before somebody opens a page.

    Raises:
        ConfigError: a setting of the registry can't be used.
    """
    schemas = schemas_of(settings)
    return console(
        Desk(
            settings=settings,
            rules=rules,
            schemas=schemas,
            access=access,
            health=health,
            sessions=Sessions(settings.api.console_idle_s),
            overview=Overview(settings, Limits.of(settings), health.reach_database),
            checks=Survey("at least one server", lambda: list(check(settings, rules)), _CHECKED_S),
            letters=Letters(settings, rules, schemas),
            refreshes=refreshes,
            stop=stop,
        )
    )
