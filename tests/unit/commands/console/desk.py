"""A console without servers: pages that ask one fail, and say so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import httpx
from fastapi import FastAPI

from consumer.commands.api.access import Access
from consumer.commands.api.app import application
from consumer.commands.api.console.app import console
from consumer.commands.api.console.desk import Desk
from consumer.commands.api.console.letters import Letters
from consumer.commands.api.console.overview import Overview, Seen
from consumer.commands.api.console.session import Sessions
from consumer.commands.api.health import Health
from consumer.commands.api.limit import Limit
from consumer.commands.api.server import serve
from consumer.commands.shared.finding import Finding, ok
from consumer.commands.shared.status.rounds import Survey
from consumer.events.avro import NO_SCHEMAS
from consumer.mapping.reference import reference
from consumer.settings.sections import Api
from consumer.settings.sources import Settings
from tests.unit.commands.console.seen import SEEN

TOKEN, VIEWER = "tok-operator-of-the-desk", "tok-viewer-of-the-desk"
PASSWORD = "hunter2-very-secret"
HTML = {"Accept": "text/html,application/xhtml+xml"}


class FakeHealth:
    """As much of the health as a refresh uses; it says what it was asked."""

    user_types = ("live", "demo")

    def __init__(self) -> None:
        self.refreshed: list[tuple[str, int, bool]] = []
        self.error: Exception | None = None

    def refresh(self, user_type: str, user_id: int, *, publishes: bool) -> dict[str, object]:
        if self.error is not None:
            raise self.error
        self.refreshed.append((user_type, user_id, publishes))
        return {"refreshed_fields": {"group": "VIP"}}


class _Overview:
    """An overview that asks nobody."""

    def __init__(self) -> None:
        self.seen: Seen = SEEN
        self.looks = 0

    def look(self) -> Seen:
        self.looks += 1
        return self.seen


class Clock:
    """Seconds, set by a test."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Console:
    """The application, and what a test sets or asks behind it."""

    address: str
    health: FakeHealth
    overview: _Overview
    clock: Clock
    stops: list[bool]

    @contextmanager
    def browser(self, token: str | None = None) -> Iterator[httpx.Client]:
        """A browser; with ``token`` it has logged in. It waits longer than a trial of a mapping may take."""
        with httpx.Client(base_url=self.address, headers=HTML, timeout=60) as client:
            if token is not None:
                answer = log_in(client, token)
                assert answer.status_code == 303, answer.text
            yield client


@dataclass
class Built:
    """The application with the console in it, and what is behind it."""

    app: FastAPI
    desk: Desk
    health: FakeHealth
    overview: _Overview
    clock: Clock
    stops: list[bool]


def built(health: FakeHealth | None = None, **api: object) -> Built:
    """An application with a token for an operator and one for a viewer."""
    given = {"token": TOKEN, "viewer_token": VIEWER, "refreshes_per_minute": 3} | api
    # Nothing listens at port 1, so a page that asks a server learns soon that it does not answer.
    settings = Settings.model_validate(
        {
            "api": given,
            "database": {"url": f"mysql://reader:{PASSWORD}@127.0.0.1:1/trading"},
            "redis": {"url": f"redis://user:{PASSWORD}@127.0.0.1:1/0", "timeout_ms": 100},
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        }
    )
    rules, health, overview, clock = reference(), health or FakeHealth(), _Overview(), Clock()
    access, limit, stops = Access(Api.model_validate(given)), Limit(settings.api.refreshes_per_minute), [False]
    findings: list[Finding] = [ok("settings", "valid")]
    desk = Desk(
        settings=settings,
        rules=rules,
        schemas=NO_SCHEMAS,
        access=access,
        health=cast(Health, health),
        sessions=Sessions(settings.api.console_idle_s, clock),
        overview=cast(Overview, overview),
        checks=Survey("servers", lambda: findings),
        letters=Letters(settings, rules, NO_SCHEMAS),
        refreshes=limit,
        stop=lambda: stops[0],
    )
    app = application(cast(Health, health), access, limit, console(desk) if settings.api.console else None)
    return Built(app, desk, health, overview, clock, stops)


@contextmanager
def made(**api: object) -> Iterator[Console]:
    """The same, served."""
    parts = built(None, **api)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(parts.app, listener, parts.desk.stop))
        thread.start()
        try:
            host, port = listener.getsockname()
            yield Console(f"http://{host}:{port}", parts.health, parts.overview, parts.clock, parts.stops)
        finally:
            parts.stops[0] = True
            thread.join()


def log_in(client: httpx.Client, token: str) -> httpx.Response:
    """Send the form of the login page."""
    return client.post("/console/login", data={"token": token})


def csrf_of(client: httpx.Client) -> str:
    """The token that the session's forms have."""
    text = client.get("/console/mapping").text
    return text.partition('name="csrf" value="')[2].partition('"')[0]
