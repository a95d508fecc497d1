"""Try a mapping: paste it or choose a file, choose a range, and see what would be decided otherwise."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import APIRouter, Request, Response

from consumer.commands.api.console.desk import AtDesk, Form, InKafkaSlot, InSession, TooMany
from consumer.commands.api.console.failures import is_of_settings
from consumer.commands.api.console.page import page
from consumer.commands.api.console.trial import MOST_RECORDS, Wish
from consumer.commands.api.console.trial_process import trial_apart
from consumer.errors import ConfigError

router = APIRouter()
_BEGIN, _END = "1h", "end"
_LIMITS = {"most": MOST_RECORDS, "most_rows": 200, "most_facts": 15}
_one_at_a_time = threading.Lock()
"""A comparison keeps a core busy, so this process makes one at a time."""


@router.get("/mapping")
def form(request: Request, session: InSession) -> Response:
    """The form."""
    return page(request, "mapping.html", session, **_shown())


@router.post("/mapping", dependencies=[InKafkaSlot])
def compare(request: Request, desk: AtDesk, session: InSession, form: Form) -> Response:
    """Compare. It changes nothing, so a viewer may do it too, with columns that a viewer may see."""
    text, begin, end = form.get("mapping", ""), form.get("from", "") or _BEGIN, form.get("to", "") or _END
    told = _shown(text, begin, end)
    if not _one_at_a_time.acquire(blocking=False):
        raise TooMany(5)
    try:
        found = trial_apart(desk.settings, desk.rules, Wish(text, begin, end, session.may_act))
    except ConfigError as error:
        if is_of_settings(error):
            raise
        return page(request, "mapping.html", session, status=400, **told | {"problem": str(error)})
    finally:
        _one_at_a_time.release()
    return page(request, "mapping.html", session, **told | {"found": found})


def _shown(text: str = "", begin: str = _BEGIN, end: str = _END) -> dict[str, Any]:
    """What the page shows before anything was compared."""
    return {**_LIMITS, "text": text, "begin": begin, "end": end, "problem": "", "found": None}
