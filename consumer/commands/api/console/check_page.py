"""The findings of ``check``, with what to do."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from consumer.commands.api.console.desk import AtDesk, InKafkaSlot, InSession
from consumer.commands.api.console.page import page
from consumer.commands.shared.finding import WORST_FIRST, Level
from consumer.commands.shared.status.facts import Unknown

router = APIRouter(dependencies=[InKafkaSlot])
_WAIT_S = 8.0


@router.get("/check")
def check(request: Request, desk: AtDesk, session: InSession) -> Response:
    """The findings; of the last minute, if somebody looked then. They may take longer than a page should."""
    desk.checks.begin()
    answer = desk.checks.answer(time.monotonic() + _WAIT_S)
    if answer is None or isinstance(answer, Unknown):
        is_done = isinstance(answer, Unknown) and desk.checks.has_answer
        why = answer.why if isinstance(answer, Unknown) and is_done else ""
        return page(request, "check.html", session, findings=None, counts={}, why=why)
    counts = {level: sum(each.level is level for each in answer) for level in Level}
    worst_first = sorted(answer, key=lambda each: WORST_FIRST.index(each.level))
    return page(request, "check.html", session, findings=worst_first, counts=counts, why="")
