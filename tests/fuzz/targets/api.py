"""Requests to the health API and to the console: paths, queries, headers, bodies, with and without a login."""

from __future__ import annotations

import re
from contextlib import ExitStack
from random import Random
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

from structlog.testing import capture_logs

from consumer.commands.api.access import Role, Visitor
from consumer.commands.api.console.letters import Letters
from consumer.commands.api.console.trial import Trial, Wish
from consumer.commands.api.health import Conflict, UnknownUser
from consumer.commands.shared.options import bound_of
from consumer.errors import InvalidValue, ServerError, ServerUnavailable
from consumer.mapping import file
from consumer.pipeline.letter_state import LetterStates
from tests.fuzz.application import Answer, Application
from tests.fuzz.damage import damaged_bytes
from tests.fuzz.target import Broken, Plain, check_json
from tests.fuzz.targets.headers import letters
from tests.fuzz.targets.requests import API, FORM, GETS, POSTS, WORDS, chunks, damaged_path, only_ascii, some_headers
from tests.unit.commands.console.desk import PASSWORD, TOKEN, VIEWER, FakeHealth, built
from tests.unit.commands.console.seen import EVIL

_WHO = ("nobody", "nobody", "bearer", "viewer-bearer", "operator", "operator", "viewer")
_MODES = ("", "", "", "", "unavailable", "refused", "conflict", "unknown", "record")
_ROLES = {"operator": Role.OPERATOR, "viewer": Role.VIEWER}
_SECRETS = (TOKEN, VIEWER, PASSWORD)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN = (b"/console/login", b"/console/static", b"/openapi.json")


class _Health(FakeHealth):
    """A health whose servers answer, or fail in the way of ``mode``."""

    mode = ""

    def status(self) -> dict[str, object]:
        return self._answer({"status": "healthy"})

    def consistency(self, user_type: str, user_id: int) -> dict[str, object]:
        return self._answer({"is_consistent": True, "differences": [], "user_id": user_id, "user_type": user_type})

    def cluster_info(self) -> dict[str, object]:
        return self._answer({"nodes": []})

    def refresh(self, user_type: str, user_id: int, *, publishes: bool) -> dict[str, object]:
        return self._answer(super().refresh(user_type, user_id, publishes=publishes))

    def _answer(self, data: dict[str, object]) -> dict[str, object]:
        errors: dict[str, Exception] = {
            "unavailable": ServerUnavailable("Redis", f"redis://user:{PASSWORD}@host refuses", cause="refused"),
            "refused": ServerError("MySQL", "no grant"),
            "conflict": Conflict("the row has no position"),
            "unknown": UnknownUser(was_removed=True),
            "record": InvalidValue("is no number", field="margin"),
        }
        if self.mode:
            raise errors[self.mode]
        return data


class Api:
    """Requests to the whole application, without servers behind it."""

    name = "api"

    def __init__(self) -> None:
        self._exits = ExitStack()
        self._health = _Health()
        self._parts = built(self._health, refreshes_per_minute=100_000)
        self._parts.stops[0] = True  # the events of an open page end at once
        self._app = Application(self._parts.app)
        found = LetterStates("group")
        for each in letters():
            found.add(each)
        page = "consumer.commands.api.console"
        self._exits.enter_context(patch(f"{page}.letters.read_letters", lambda *_: found))
        self._exits.enter_context(patch.object(Letters, "_done", _away))
        self._exits.enter_context(patch(f"{page}.mapping_page.trial_apart", _trial))

    def make(self, chance: Random) -> Plain:
        """A request that one of the pages knows, with damage."""
        is_post = chance.random() < 0.4
        path, fields = chance.choice(POSTS if is_post else GETS)
        fields = dict(fields)
        for name in list(fields):
            if chance.random() < 0.4:
                fields[name] = chance.choice(WORDS)
        if chance.random() < 0.1:
            fields[chance.choice(["page", "user", "x" * 500, "", EVIL, "part"])] = chance.choice(WORDS)
        who = chance.choice(_WHO)
        if is_post and chance.random() < 0.85:
            fields["csrf"] = chance.choice(["OF THE SESSION"] * 6 + ["", "x", "\u00e4"])
        encoded = urlencode(fields, errors="replace").encode()
        if chance.random() < 0.15:
            path = damaged_path(path, chance)
        if chance.random() < 0.15:
            encoded = damaged_bytes(encoded, chance)
        in_query = not is_post or path.startswith(API)
        return {
            "method": chance.choice(["POST" if is_post else "GET"] * 12 + ["HEAD", "PUT", "OPTIONS", "DELETE", "X"]),
            "path": path,
            "query": only_ascii(encoded) if in_query else b"",
            "headers": [*([FORM] if is_post and chance.random() < 0.95 else []), *some_headers(chance)],
            "chunks": [b""] if in_query else chunks(encoded, chance),
            "who": who,
            "mode": chance.choice(_MODES),
        }

    def attempt(self, given: Plain) -> str:
        self._health.mode, self._health.refreshed = given["mode"], []
        who = given["who"]
        headers = list(given["headers"])
        token = b""
        if who in _ROLES:
            cookie, token = self._session(_ROLES[who])
            headers.append((b"Cookie", b"cdc-console=" + cookie))
        elif who != "nobody":
            headers.append((b"Authorization", b"Bearer " + (TOKEN if who == "bearer" else VIEWER).encode()))
        chunks = [each.replace(b"OF+THE+SESSION", token) for each in given["chunks"]]
        with capture_logs() as lines:
            answer = self._app.call(given["method"], given["path"], given["query"], headers, chunks)
        self._check(given, answer)
        for line in lines:
            self._check_line(line)
        return f"{given['method'] if given['method'] in ('GET', 'POST') else 'other'} {answer.status}"

    def close(self) -> None:
        self._app.close()
        self._exits.close()

    def _check(self, given: Plain, answer: Answer) -> None:
        who, path = given["who"], given["path"]
        _check_body(answer)
        if path.startswith(b"/api/") and given["method"] != "HEAD":
            _check_envelope(answer)
        for name in ("x-content-type-options", "content-security-policy", "x-frame-options", "cache-control"):
            if not answer.header(name):
                raise Broken(f"an answer without {name}: {answer.headers!r}")
        if not _REQUEST_ID.fullmatch(answer.header("x-request-id")):
            raise Broken(f"a request id of another form: {answer.header('x-request-id')[:300]!r}")
        is_good = answer.status in range(200, 300)
        if is_good and who == "nobody" and not path.startswith(_OPEN):
            raise Broken(f"a page without a login: {path!r}")
        if is_good and who == "viewer-bearer" and path.startswith(API):
            raise Broken(f"the API with a viewer's token: {path!r}")
        if self._health.refreshed and who not in ("operator", "bearer"):
            raise Broken(f"a refresh by one who may not: {who}")
        if answer.cookies().get("cdc-console") and not (given["method"] == "POST" and path == b"/console/login"):
            raise Broken(f"a session without a login: {answer.headers!r}")

    def _check_line(self, line: Any) -> None:
        text = repr(line)
        if line.get("action") in ("api.failed", "console.failed"):
            raise Broken(f"a bug in the log {line.get('error')} {line.get('where')}: {text}")
        # What a client library says of a server is in the log; this one's text has a password on purpose.
        if found := next((each for each in (TOKEN, VIEWER) if each in text), None):
            raise Broken(f"a log line with a secret: {found!r} in {text[:500]}")

    def _session(self, role: Role) -> tuple[bytes, bytes]:
        """A new session, as the input before may have ended the last one: its id, and what its forms send."""
        name = self._parts.desk.sessions.open(Visitor(f"a {role}", role))
        session = self._parts.desk.sessions.find(name)
        assert session is not None
        return name.encode(), session.csrf.encode()


def _check_body(answer: Answer) -> None:
    if answer.status >= 500 and answer.status != 503:
        raise Broken(f"status {answer.status}: {answer.body[:300]!r}")
    if found := next((each for each in _SECRETS if each in answer.everything), None):
        raise Broken(f"an answer with a secret: {found!r} in {answer.everything[:800]!r}")
    if "Traceback (most" in answer.body:
        raise Broken(f"an answer with a traceback: {answer.body[:800]!r}")
    if "text/html" in answer.header("content-type") and EVIL in answer.body:
        raise Broken(f"a page with markup of the request: {answer.body[:800]!r}")


def _check_envelope(answer: Answer) -> None:
    envelope = check_json(answer.body)
    if not isinstance(envelope, dict) or envelope.keys() != {"success", "message", "data"}:
        raise Broken(f"an answer without the envelope: {answer.body[:300]!r}")


def _away(*_: object, **__: object) -> object:
    raise ServerUnavailable("Kafka", "no broker answers", cause="refused")


def _trial(settings: object, running: object, wish: Wish) -> Trial:
    """What a trial does before it asks Kafka."""
    file.parse(wish.text)
    bound_of(wish.begin, "from")
    bound_of(wish.end, "to")
    raise ServerUnavailable("Kafka", "no broker answers", cause="refused")
