"""Who may see a page of the console, and who may act."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import quote

import httpx
import jwt
import pytest
from pydantic import ValidationError
from starlette.routing import BaseRoute, Route
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from consumer.commands.api.access import Access, Forbidden, Role, Unauthorized, Visitor
from consumer.commands.api.console import (
    check_page,
    letters_page,
    login_page,
    mapping_page,
    overview_page,
    user_page,
)
from consumer.commands.api.console.letters import Letters
from consumer.commands.api.console.session import Sessions
from consumer.commands.api.health import UnknownUser
from consumer.errors import ConfigError
from consumer.pipeline.letter_state import LetterResult, Outcome
from consumer.settings.sections import Api
from tests.unit.commands.console.desk import PASSWORD, TOKEN, VIEWER, Console, csrf_of, log_in, made
from tests.unit.commands.console.test_shown_values import letter

SECRET = "a shared secret of at least 32 bytes"
ACTIONS = {
    "/console/user/refresh": {"user": "live:1"},
    "/console/letters/act": {"place": "t[0]@1", "action": "discard"},
}


@pytest.fixture
def console() -> Iterator[Console]:
    with made() as console:
        yield console


def _routes(*methods: str) -> Iterator[str]:
    """The paths of all pages, from the application itself: a new page is tested too."""
    every: list[BaseRoute] = [
        route
        for page in (login_page, overview_page, user_page, letters_page, check_page, mapping_page)
        for route in page.router.routes
    ]
    for route in every:
        if isinstance(route, Route) and route.methods is not None and route.methods & set(methods):
            yield f"/console{route.path}"


def test_no_page_without_login(console: Console) -> None:
    pages = [path for path in _routes("GET") if path != "/console/login"]
    assert len(pages) >= 9
    with console.browser() as client:
        for path in pages:
            answer = client.get(path)
            expected = f"/console/login?next={quote(path, safe='')}"
            assert (answer.status_code, answer.headers["location"]) == (303, expected), path
            answer = client.get(path, headers={"Accept": "*/*"})
            assert (answer.status_code, answer.text) == (401, "log in first"), path
    assert console.overview.looks == 0


def test_no_event_without_login(console: Console) -> None:
    with console.browser() as client:
        assert client.get("/console/events", headers={"Accept": "text/event-stream"}).status_code == 401
        client.cookies.set("cdc-console", "guessed")
        assert client.get("/console/events", headers={"Accept": "text/event-stream"}).status_code == 401


def test_no_form_without_login(console: Console) -> None:
    with console.browser() as client:
        for path in _routes("POST"):
            if path != "/console/login":
                assert client.post(path, data={"csrf": ""}).status_code == 401, path
    assert console.health.refreshed == []


def test_a_login_opens_a_session_and_a_logout_ends_it(console: Console) -> None:
    with console.browser() as client:
        answer = log_in(client, TOKEN)
        cookie = answer.headers["set-cookie"]
        assert re.fullmatch(r"cdc-console=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", cookie)
        assert TOKEN not in cookie
        assert client.get("/console/").status_code == 200
        kept = dict(client.cookies)
        assert client.post("/console/logout", data={"csrf": csrf_of(client)}).status_code == 303
        client.cookies.update(kept)  # as somebody who has copied the cookie
        assert client.get("/console/").status_code == 303


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", VIEWER.upper(), "\u00e4"])
def test_a_wrong_token_opens_nothing(console: Console, token: str) -> None:
    with console.browser() as client, capture_logs() as lines:
        answer = log_in(client, token)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
    assert [line["action"] for line in lines if line["action"].startswith("console.")] == ["console.login_refused"]
    assert not token or token not in json.dumps([line for line in lines if line["action"] != "api.answered"])


def test_refused_logins_are_limited(console: Console) -> None:
    with console.browser() as client:
        assert {log_in(client, TOKEN).status_code for _ in range(11)} == {303}
        codes = [log_in(client, "wrong").status_code for _ in range(11)]
        assert codes == [401] * 10 + [429]
        refused = log_in(client, TOKEN)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 60


def test_pages_are_limited_for_each_session(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.commands.api.console.session._PAGES_PER_MINUTE", 5)
    with console.browser(TOKEN) as client, console.browser(VIEWER) as other:
        assert {client.get("/console/mapping").status_code for _ in range(5)} == {200}
        assert client.get("/console/mapping").status_code == 429
        assert other.get("/console/mapping").status_code == 200


def test_a_session_ends_when_idle(console: Console) -> None:
    with console.browser(TOKEN) as client:
        for _ in range(3):
            console.clock.now += 1799
            assert client.get("/console/mapping").status_code == 200
        console.clock.now += 1800
        assert client.get("/console/mapping").status_code == 303


def test_events_do_not_make_a_session_last_longer(console: Console) -> None:
    with console.browser(TOKEN) as client:
        for _ in range(3):
            console.clock.now += 900
            code = _opened(client)
        assert code == 401


def test_a_session_ends_after_twelve_hours_however_busy_it_is(console: Console) -> None:
    with console.browser(TOKEN) as client:
        for _ in range(12 * 3):
            assert client.get("/console/mapping").status_code == 200
            console.clock.now += 1200
        assert client.get("/console/mapping").status_code == 303


def test_a_login_ends_the_session_before(console: Console) -> None:
    with console.browser(VIEWER) as client, console.browser() as other:
        other.cookies.update(client.cookies)
        log_in(client, TOKEN)
        assert client.get("/console/mapping").status_code == 200
        assert other.get("/console/mapping").status_code == 303


@pytest.mark.parametrize(
    ("wanted", "opened"),
    [
        ("/console/user?user=live%3A7", "/console/user?user=live%3A7"),
        ("https://evil.example/console/", "/console/"),
        ("//evil.example", "/console/"),
        ("/console/\\evil", "/console/"),
        ("/console/x\r\nSet-Cookie: a=b", "/console/"),
        ("/api/redis-health/status", "/console/"),
        ("javascript:alert(1)", "/console/"),
        ("", "/console/"),
    ],
)
def test_a_login_opens_the_page_that_was_wanted_if_it_is_one(console: Console, wanted: str, opened: str) -> None:
    with console.browser() as client:
        assert f'name="next" value="{opened}"' in client.get("/console/login", params={"next": wanted}).text
        answer = client.post("/console/login", data={"token": TOKEN, "next": wanted})
        assert (answer.status_code, answer.headers["location"]) == (303, opened)
        again = client.get("/console/login", params={"next": wanted})
        assert (again.status_code, again.headers["location"]) == (303, opened)


def test_with_tls_the_cookie_is_for_tls_alone(console: Console) -> None:
    with console.browser() as client:
        answer = client.post("/console/login", data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
        cookie = answer.headers["set-cookie"]
        assert re.fullmatch(r"__Host-cdc-console=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", cookie)


def test_a_viewer_can_look_and_not_act(console: Console) -> None:
    with console.browser(VIEWER) as client, capture_logs() as lines:
        assert client.get("/console/").status_code == 200
        token = csrf_of(client)
        for path, fields in ACTIONS.items():
            answer = client.post(path, data={"csrf": token, **fields})
            assert answer.status_code == 403, path
        for path in ("/console/user/refresh?user=live:1", "/console/letters/confirm?place=t[0]@1&action=replay"):
            assert client.get(path).status_code == 403, path
    assert console.health.refreshed == []
    assert [line["who"] for line in lines if line["action"] == "console.refused"] == ["viewer-token"] * 4


def test_every_action_is_known_here() -> None:
    assert set(_routes("POST")) == {*ACTIONS, "/console/login", "/console/logout", "/console/mapping"}


@pytest.mark.parametrize("sent", [None, "", "x" * 43, "\u00e4"])
def test_a_stolen_cookie_without_the_token_of_the_form_can_not_act(console: Console, sent: str | None) -> None:
    fields = {} if sent is None else {"csrf": sent}
    forms = {**ACTIONS, "/console/mapping": {"mapping": "a = 1"}, "/console/logout": {"of": "a form"}}
    with console.browser(TOKEN) as client, console.browser(TOKEN) as other:
        for path, needed in forms.items():
            assert client.post(path, data={**needed, **fields}).status_code == 403, path
            assert client.post(path, data={**needed, "csrf": csrf_of(other)}).status_code == 403, path
        assert client.get("/console/mapping").status_code == 200
    assert console.health.refreshed == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
def test_another_site_can_not_send_a_form(console: Console, headers: dict[str, str]) -> None:
    with console.browser(TOKEN) as client:
        fields = {"csrf": csrf_of(client), "user": "live:1"}
        assert client.post("/console/user/refresh", data=fields, headers=headers).status_code == 403
        assert client.post("/console/login", data={"token": TOKEN}, headers=headers).status_code == 403
        same = {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/console/user/refresh", data=fields, headers=same).status_code == 303
    assert console.health.refreshed == [("live", 1, False)]


def test_an_operator_acts_and_the_log_says_who_and_in_which_request(console: Console) -> None:
    with console.browser(TOKEN) as client, capture_logs([merge_contextvars]) as lines:
        fields = {"csrf": csrf_of(client), "user": "demo:7", "publish": "yes"}
        answer = client.post("/console/user/refresh", data=fields, headers={"X-Request-ID": "r-1"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/user?user=demo:7")
        assert answer.headers["x-request-id"] == "r-1"
        shown = client.get("/console/mapping").text
        assert "demo:7 was written from the database." in shown
        assert "was written from" not in client.get("/console/mapping").text
    assert console.health.refreshed == [("demo", 7, True)]
    (said,) = [line for line in lines if line["action"] == "console.refresh"]
    assert (said["who"], said["user"], said["publishes"]) == ("token", "demo:7", True)
    assert said["request"] == "r-1"


def test_an_action_on_a_dead_letter_is_logged_before_and_after(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = LetterResult(letter(), Outcome.DISCARDED)
    monkeypatch.setattr(Letters, "act", lambda *_, **__: done)
    with console.browser(TOKEN) as client, capture_logs([merge_contextvars]) as lines:
        fields = {"csrf": csrf_of(client), **ACTIONS["/console/letters/act"]}
        answer = client.post("/console/letters/act", data=fields, headers={"X-Request-ID": "r-2"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/letters")
    found = [line for line in lines if line["action"].startswith("console.letter")]
    assert [(each["action"], each["who"], each["place"], each["request"]) for each in found] == [
        ("console.letter", "token", "t[0]@1", "r-2"),
        ("console.letter_done", "token", "t[0]@1", "r-2"),
    ]


@pytest.mark.parametrize("wrong", [{"place": "pw-9f1c"}, {"action": "pw-9f1c"}])
def test_a_form_that_is_wrong_is_refused_and_is_not_in_the_log(console: Console, wrong: dict[str, str]) -> None:
    with console.browser(TOKEN) as client, capture_logs() as lines:
        fields = {"csrf": csrf_of(client), **ACTIONS["/console/letters/act"], **wrong}
        assert client.post("/console/letters/act", data=fields).status_code == 400
    assert "pw-9f1c" not in repr(lines)


def test_refreshes_are_limited_together_with_those_of_the_api(console: Console) -> None:
    with console.browser(TOKEN) as client:
        fields = {"csrf": csrf_of(client), "user": "live:1"}
        api = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/api/redis-health/user/1/force-refresh", headers=api).status_code == 200
        codes = [client.post("/console/user/refresh", data=fields).status_code for _ in range(3)]
        assert codes == [303, 303, 429]


def test_the_tokens_of_the_console_do_not_open_the_api(console: Console) -> None:
    with console.browser(TOKEN) as client:
        for headers in ({}, {"Authorization": f"Bearer {VIEWER}"}):
            assert client.get("/api/redis-health/cluster-info", headers=headers).status_code == 401


def test_every_answer_has_the_headers(console: Console) -> None:
    with console.browser(TOKEN) as client, console.browser() as stranger:
        answers = [
            client.get("/console/"),
            client.get("/console/user?user=nobody"),
            client.get("/console/nowhere"),
            client.get("/console/static/console.js"),
            client.get("/console/static/../app.py"),
            client.get("/console/static/nothing.css"),
            stranger.get("/console/login"),
            stranger.get("/console/"),
            stranger.get("/console/events"),
        ]
    assert [each.status_code for each in answers] == [200, 400, 404, 200, 404, 404, 200, 303, 303]
    for each in answers:
        policy = each.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "//" not in policy
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["x-frame-options"] == "DENY"
        assert each.headers["referrer-policy"] == "same-origin"
        assert each.headers["x-request-id"]


def test_a_setting_turns_it_off() -> None:
    with made(console=False) as console, console.browser() as client:
        for path in ("/console", "/console/", "/console/login", "/console/static/console.js"):
            assert client.get(path).json() == {"success": False, "message": "Not Found", "data": {}}, path
        assert client.get("/api/redis-health/cluster-info").status_code == 401


def test_the_api_keeps_its_own_policy(console: Console) -> None:
    with console.browser() as client:
        answer = client.get("/api/redis-health/status")
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "console" not in client.get("/openapi.json").text


def test_a_server_that_is_away_is_said_without_its_address_or_password(console: Console) -> None:
    with console.browser(TOKEN) as client:
        for path in ("/console/user?user=live:1", "/console/letters", "/console/user/timeline?user=live:1"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert PASSWORD not in answer.text
            assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(
    ("page", "asks"),
    [
        ("/console/user?user=live:1", "user_page.present_values"),
        ("/console/user/timeline?user=live:1", "user_page.timeline"),
    ],
)
def test_a_server_that_refuses_is_no_mistake_of_the_visitor(
    console: Console, monkeypatch: pytest.MonkeyPatch, page: str, asks: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ConfigError("CDC_KAFKA__SECURITY__PASSWORD", f"the broker at 10.0.0.1:9092 refused {PASSWORD}")

    monkeypatch.setattr(f"consumer.commands.api.console.{asks}", refused)
    with console.browser(TOKEN) as client:
        answer = client.get(page)
    assert answer.status_code == 503
    assert "CDC_KAFKA__SECURITY__PASSWORD" in answer.text
    assert PASSWORD not in answer.text
    assert "10.0.0.1" not in answer.text


def test_a_bug_is_said_without_its_text(console: Console) -> None:
    console.health.error = RuntimeError(PASSWORD)
    with console.browser(TOKEN) as client, capture_logs() as lines:
        answer = client.post("/console/user/refresh", data={"csrf": csrf_of(client), "user": "live:1"})
    assert answer.status_code == 500
    assert "This is a bug" in answer.text
    assert PASSWORD not in answer.text
    (said,) = [line for line in lines if line["action"] == "console.failed"]
    assert said["error"] == "RuntimeError"
    assert said["where"].startswith("tests.unit.commands.console.desk:")
    assert "consumer.commands.api.console.user_page:" in said["where"]
    assert PASSWORD not in repr(lines)


def test_a_browser_that_goes_away_in_the_middle_of_a_form_is_no_bug(console: Console) -> None:
    host, port = console.address.removeprefix("http://").split(":")
    with capture_logs() as lines:
        with socket.create_connection((host, int(port))) as browser:
            head = f"POST /console/login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n"
            browser.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=".encode())
            time.sleep(0.1)  # its form is being read
        deadline = time.monotonic() + 10
        while not (said := [line for line in lines if line["action"] == "api.answered"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert [line["status"] for line in said] == [400]
    assert {line["log_level"] for line in lines} == {"info"}


def test_only_so_many_slow_pages_at_once(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that threads are left for the API, also while a server hangs."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: object) -> None:
        begun.release()
        go_on.wait(30)
        raise UnknownUser

    monkeypatch.setattr("consumer.commands.api.console.user_page.present_values", slow)
    with console.browser(TOKEN) as client, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.get, "/console/user?user=live:1") for _ in range(8)]
        for _ in waiting:
            assert begun.acquire(timeout=30)
        assert client.get("/console/user?user=live:1").status_code == 429
        for path in ("/", "/user", "/mapping"):
            assert client.get(f"/console{path}").status_code == 200, path
        go_on.set()
        assert {each.result().status_code for each in waiting} == {404}
        assert client.get("/console/user?user=live:1").status_code == 404


def test_a_user_is_shown_while_pages_wait_for_kafka(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hang(*_: object) -> None:
        begun.release()
        go_on.wait(30)
        raise UnknownUser

    def answer(*_: object) -> None:
        raise UnknownUser

    monkeypatch.setattr(Letters, "states", hang)
    monkeypatch.setattr("consumer.commands.api.console.user_page.present_values", answer)
    with console.browser(TOKEN) as client, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.get, "/console/letters") for _ in range(8)]
        for _ in waiting:
            assert begun.acquire(timeout=30)
        codes = [client.get(f"/console{path}").status_code for path in ("/letters", "/user?user=live:1")]
        go_on.set()
        assert codes == [429, 404]
        assert {each.result().status_code for each in waiting} == {404}


def test_a_stream_that_the_browser_leaves_ends(console: Console) -> None:
    with console.browser(TOKEN) as client:
        for _ in range(20):  # more than may be open at once
            deadline = time.monotonic() + 30
            while (code := _opened(client)) == 429:
                assert time.monotonic() < deadline, "streams that were left stay open"
                time.sleep(0.2)
            assert code == 200


def _opened(client: httpx.Client) -> int:
    with client.stream("GET", "/console/events", headers={"Accept": "text/event-stream"}) as stream:
        if stream.status_code == 200:
            next(stream.iter_lines())
        return stream.status_code


def test_only_so_many_streams_at_once(console: Console) -> None:
    with console.browser(TOKEN) as client, ExitStack() as exits:
        lines = [exits.enter_context(client.stream("GET", "/console/events")).iter_lines() for _ in range(6)]
        assert {next(each) for each in lines} == {"event: overview"}
        assert exits.enter_context(client.stream("GET", "/console/events")).status_code == 429


def test_only_so_many_streams_of_all_sessions(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.commands.api.console.overview_page._EVERY_STREAM", 2)
    with console.browser(TOKEN) as client, console.browser(VIEWER) as other, ExitStack() as exits:
        lines = [exits.enter_context(each.stream("GET", "/console/events")).iter_lines() for each in (client, other)]
        assert {next(each) for each in lines} == {"event: overview"}
        assert exits.enter_context(other.stream("GET", "/console/events")).status_code == 429


def test_logins_of_one_visitor_end_no_session_of_another() -> None:
    sessions = Sessions(1800.0)
    operator, viewer = Visitor("token", Role.OPERATOR), Visitor("viewer-token", Role.VIEWER)
    other, first = sessions.open(operator), sessions.open(viewer)
    own = [sessions.open(viewer) for _ in range(600)]
    assert sessions.find(other) is not None
    assert sessions.find(first) is None
    assert [each in own[-20:] for each in own] == [sessions.find(each) is not None for each in own]


def test_forms_are_limited_in_size(console: Console) -> None:
    with console.browser(TOKEN) as client:
        token = csrf_of(client)
        assert client.post("/console/mapping", data={"csrf": token, "mapping": "x" * 600_000}).status_code == 400
        assert client.post("/console/mapping", json={"csrf": token}).status_code == 400
        many = {"csrf": token, **{f"f{number}": "1" for number in range(30)}}
        assert client.post("/console/mapping", data=many).status_code == 400


def _access(**more: object) -> Access:
    keys = {"secret": SECRET, "audience": "health", "role": "admin", "viewer_role": "support", **more}
    return Access(Api.model_validate({"jwt": keys}))


def _jwt(**changes: object) -> str:
    return jwt.encode({"exp": int(time.time()) + 60, "aud": "health", "sub": "ann@example.com", **changes}, SECRET)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("admin", Role.OPERATOR),
        ("support", Role.VIEWER),
        (["support", "admin"], Role.OPERATOR),
        (["x", "support"], Role.VIEWER),
    ],
)
def test_the_role_of_a_jwt(role: object, expected: Role) -> None:
    found = _access().visitor(_jwt(role=role))
    assert (found.role, found.name) == (expected, "jwt:ann@example.com")
    assert found.until_s is not None
    assert found.until_s <= time.time() + 60


@pytest.mark.parametrize("role", [None, "other", {"admin": 1}])
def test_a_jwt_without_a_role_of_the_console(role: object) -> None:
    with pytest.raises(Forbidden):
        _access().visitor(_jwt(role=role))
    with pytest.raises(Forbidden):
        _access(viewer_role=None).visitor(_jwt(role="support"))


def test_a_viewers_jwt_does_not_open_the_api() -> None:
    with pytest.raises(Forbidden):
        _access().check(_jwt(role="support"))


def test_the_name_in_a_jwt_is_made_harmless() -> None:
    found = _access().visitor(_jwt(role="admin", sub="<b>\n" + "x" * 100))
    assert found.name == "jwt:_b__" + "x" * 60
    assert _access().visitor(_jwt(role="admin", sub="token")).name == "jwt:token"
    assert _access().visitor(_jwt(role="admin", sub="")).name == "jwt"


def test_a_viewers_token_can_not_be_guessed() -> None:
    with pytest.raises(ValidationError):
        Api.model_validate({"token": TOKEN, "viewer_token": "x" * 15})


def test_a_session_ends_with_its_jwt() -> None:
    keys = {"secret": SECRET, "audience": "health", "role": "admin"}
    with made(jwt=keys) as console, console.browser(_jwt(role="admin", exp=int(time.time()) + 2)) as client:
        assert client.get("/console/mapping").status_code == 200
        time.sleep(2.1)
        assert client.get("/console/mapping").status_code == 303


def test_the_viewers_token_must_be_another_one() -> None:
    with pytest.raises(ConfigError) as error:
        Access(Api.model_validate({"token": "the-same-for-both", "viewer_token": "the-same-for-both"}))
    assert error.value.field == "CDC_API__VIEWER_TOKEN"
    with pytest.raises(Unauthorized):
        Access(Api.model_validate({"token": TOKEN, "viewer_token": VIEWER})).check(VIEWER)
