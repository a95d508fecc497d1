"""Pages from templates: what every page has, and how times are written. Everything is escaped."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from consumer import __version__
from consumer.commands.api.console.session import Session
from consumer.commands.shared.finding import Level
from consumer.commands.shared.status.words import counted, percent, span
from consumer.events.timestamps import shown_time

BASE = "/console"
_LOGIN = re.compile(r"(?<=://)[^/\s]*@")
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # With no-referrer a browser would send a form's Origin as null, and the form would be refused.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page(
    request: Request, template: str, session: Session | None = None, *, status: int = 200, **told: Any
) -> HTMLResponse:
    """A whole page, or a part of one. ``told``: what the template shows."""
    return HTMLResponse(rendered(template, session, path=request.url.path, **told), status, HEADERS)


def rendered(template: str, session: Session | None = None, **told: Any) -> str:
    """The text of a page or of a part of one."""
    is_whole = not template.startswith("_")
    common = {
        "base": BASE,
        "session": session,
        "notice": session.take_notice() if session is not None and is_whole else None,
        "version": __version__,
        "now_ms": now_ms(),
        "request_id": structlog.contextvars.get_contextvars().get("request", ""),
        "path": "",
    }
    return _templates().get_template(template).render(common | told)


def now_ms() -> int:
    """The present time, UTC milliseconds."""
    return time.time_ns() // 1_000_000


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("consumer.commands.api.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"utc": _utc, "age": _age, "span": span, "percent": percent, "clean": _clean}
    found.globals |= {"counted": counted, "Level": Level}
    return found


def _clean(text: str) -> str:
    """A text of a server or a client library, without the name and the password of a URL."""
    return _LOGIN.sub("", str(text))


def _utc(ms: int) -> str:
    """A time to the second."""
    return f"{shown_time(ms)[:19].replace('T', ' ')} UTC"


def _age(ms: int, now: int) -> str:
    seconds = (now - ms) / 1000
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
