"""What the pages show, and that a name or a text is never markup."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import islice

import httpx
import pytest
from msgspec import structs

from consumer.commands.api.access import Role, Visitor
from consumer.commands.api.console.chart import chart
from consumer.commands.api.console.flow import database_finding
from consumer.commands.api.console.overview import Overview, Seen, charts
from consumer.commands.api.console.page import rendered
from consumer.commands.api.console.session import Session
from consumer.commands.api.console.trial import Example, Trial
from consumer.commands.api.console.user_page import Key
from consumer.commands.shared.explain.explanation import Explanation
from consumer.commands.shared.explain.history import History
from consumer.commands.shared.explain.line import fields
from consumer.commands.shared.explain.outcome import ChangeOutcome
from consumer.commands.shared.explain.timeline import Message, SentMessage, Step, Timeline, Window
from consumer.commands.shared.explain.user_values import Note, UserValues, Value
from consumer.commands.shared.explain.written_values import Written
from consumer.commands.shared.finding import Level, failure
from consumer.commands.shared.plan.aspects import Aspect, Kind
from consumer.commands.shared.plan.comparison import Times
from consumer.commands.shared.status.facts import Unknown
from consumer.errors import Place
from consumer.events.record import SourceRecord
from consumer.guard.state import GuardState
from consumer.mapping.keys import UserId
from consumer.mapping.reference import reference
from consumer.pipeline.letter_state import Letter, LetterResult, Outcome, Unapplied
from consumer.pipeline.minutes import Minute, MinuteCounter
from consumer.planning.diff import Change, Diff
from consumer.settings.sources import Settings
from consumer.sink.view import StoredUser
from tests.unit.commands.console.desk import TOKEN, csrf_of, made
from tests.unit.commands.console.seen import EVIL, LIMITS, NOW, SEEN, facts, look

SESSION = Session(Visitor("ann", Role.OPERATOR), 0.0, 0.0)
PLACE = Place("trading.trading.live_users", 0, 41)


class _Markup(HTMLParser):
    """The elements of a page, and what in it would run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.dangers: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = dict(attrs)
        self.dangers += [name for name in names if name.startswith("on") or name == "style"]
        if tag in ("img", "style", "iframe") or (tag == "script" and not str(names.get("src")).startswith("/console/")):
            self.dangers.append(tag)
        self.addresses += [str(names[name]) for name in ("href", "src", "action") if name in names]


def markup(text: str) -> _Markup:
    """The page, of which nothing runs and nothing is of another host."""
    found = _Markup(text)
    assert found.dangers == []
    assert [each for each in found.addresses if not each.startswith(("/console/", "#"))] == []
    return found


def letter(problem: str = EVIL) -> Unapplied:
    record = SourceRecord(PLACE.topic, 0, 41, NOW, b"k", b"v")
    found = Letter(record, Place("dlq", 0, 1), NOW, "g", EVIL, EVIL, EVIL, (UserId("live", 7),), problem, EVIL, (EVIL,))
    return Unapplied((found,))


def known(value: str) -> Explanation:
    """A user whose group is ``value`` in Redis."""
    values = (Value("group", value, "VIP", None, Note.UNTOLD, is_compared=True),)
    stored = StoredUser({"group": value}, None, None, None, GuardState())
    return Explanation(
        user=UserId("live", 7),
        stored_user=stored,
        user_values=UserValues(values, (), None, (EVIL,)),
        history=History((), Written()),
        letters=(),
        knows_database=True,
        is_in_database=True,
        names=reference().names,
    )


def test_the_names_of_the_overview_are_no_markup() -> None:
    seen = look(facts("FAILED", EVIL, host=EVIL))
    text = rendered("overview.html", SESSION, seen=seen, group=EVIL, prefix=EVIL, most_members=50)
    markup(text)
    assert text.count("&lt;script&gt;alert(1)") >= 5
    assert EVIL not in text


def test_values_of_a_user_are_no_markup() -> None:
    found = known(EVIL)
    keys = [Key("config hash", EVIL, True, found.user_values.config)]
    told = {"text": EVIL, "begin": EVIL, "end": EVIL, "several": (), "problem": EVIL}
    text = rendered("user.html", SESSION, known=found, keys=keys, **told)
    markup(text)
    assert EVIL not in text
    assert "differs" in text


def test_a_timeline_is_no_markup() -> None:
    step = Step(
        place=Place(EVIL, 0, 1),
        written_ms=NOW,
        committed_ms=NOW - 5,
        table=EVIL,
        operation=EVIL,
        outcome=ChangeOutcome.DEAD,
        differences=Diff({EVIL: Change(EVIL, EVIL)}, (EVIL,)),
        rules=(EVIL,),
        messages=(Message(EVIL, SentMessage(EVIL, NOW, 2, EVIL)), Message(EVIL)),
        event_id=EVIL,
        why=EVIL,
    )
    found = Timeline(UserId("live", 7), EVIL, Window(), (step,), (failure(EVIL, EVIL, EVIL),), has_streams=True)
    lines = [(step, fields(step))]
    told = {
        "text": EVIL,
        "begin": EVIL,
        "end": EVIL,
        "problem": "",
        "number": 2,
        "pages": 3,
        "outcomes": EVIL,
        "pending": 1,
    }
    text = rendered("timeline.html", SESSION, found=found, lines=lines, **told)
    markup(text)
    assert EVIL not in text
    assert "1 change pending: the consumer has not reached it." in text
    assert "to 2 subscribers" in text
    text = rendered("timeline.html", SESSION, found=None, lines=[], **told | {"problem": EVIL})
    markup(text)
    assert EVIL not in text


def test_a_letter_is_no_markup() -> None:
    record = {"value": {"after": {EVIL: EVIL, "email": "***"}}, "headers": {EVIL: EVIL}}
    text = rendered("letter.html", SESSION, found=letter(), record=record)
    markup(text)
    assert EVIL not in text
    assert '<em class="none">hidden</em>' in text
    told = {"count": 1, "every": 1, "reasons": {EVIL: 1}, "tables": {EVIL: 1}, "reason": EVIL, "table": EVIL}
    more = {"begin": EVIL, "number": 1, "pages": 3, "query": "reason=x", "topic": EVIL, "has_topic": True}
    text = rendered("letters.html", SESSION, shown=[letter()], **told, **more)
    markup(text)
    assert EVIL not in text
    result = LetterResult(letter(), Outcome.STAYS, EVIL, EVIL)
    text = rendered("act.html", SESSION, expected=result, action="replay", is_replay=True)
    markup(text)
    assert EVIL not in text


def test_findings_of_the_check_and_a_mapping_on_trial_are_no_markup() -> None:
    counts = {Level.FAILURE: 1, Level.WARNING: 0, Level.OK: 0}
    for told in ({"findings": [failure(EVIL, EVIL, EVIL)], "why": ""}, {"findings": None, "why": EVIL}):
        text = rendered("check.html", SESSION, counts=counts, **told)
        markup(text)
        assert EVIL not in text
        assert "&lt;script&gt;alert(1)" in text
    rows = [(EVIL, Aspect(Kind.WRITTEN, EVIL, EVIL), Times(1, 0, 0))]
    found = Trial(2, 1, 0, EVIL, rows, [Example(EVIL, EVIL, [EVIL])], is_cut=True)
    typed = {"text": EVIL, "begin": EVIL, "end": EVIL, "problem": EVIL, "most": 1, "most_rows": 9, "most_facts": 9}
    text = rendered("mapping.html", SESSION, found=found, **typed)
    markup(text)
    assert EVIL not in text


def test_error_texts_are_no_markup() -> None:
    text = rendered("error.html", SESSION, title=EVIL, text=EVIL, advice=EVIL)
    markup(text)
    assert EVIL not in text


def test_what_is_typed_is_no_markup() -> None:
    with made() as console, console.browser(TOKEN) as client:
        token = csrf_of(client)
        answers = [
            client.get("/console/user", params={"user": EVIL[:40]}),
            client.get("/console/letters/one", params={"place": EVIL}),
            client.post("/console/mapping", data={"csrf": token, "mapping": f'a = "{EVIL}"\n[{EVIL}]'}),
            client.get(f"/console/{EVIL}"),
        ]
    for answer in answers:
        markup(answer.text)
        assert "<script>alert" not in answer.text
        assert 400 <= answer.status_code < 500


def test_a_password_in_an_error_of_a_client_library_is_not_shown() -> None:
    seen = look(replace(facts(), redis=Unknown("redis://cdc:in@hunter2@r:6379/0 does not answer")))
    text = rendered("_overview.html", None, seen=seen, most_members=50)
    assert "redis://r:6379/0 does not answer" in text
    assert "hunter2" not in text


def test_the_flow_has_a_reason_in_each_box_and_not_only_a_colour() -> None:
    text = rendered("_overview.html", None, seen=look(facts("FAILED", "org.x: broken")), most_members=50)
    found = re.findall(r'data-box="(\w+)" data-level="(\w+)"', text)
    assert found == [
        ("Database", "ok"),
        ("Connector", "failure"),
        ("Kafka", "ok"),
        ("Consumers", "ok"),
        ("Redis", "ok"),
    ]
    assert "FAILED: org.x: broken" in text
    assert text.count('<span class="word">failure</span>') == 1
    assert "99.999 %" in text
    boxes = look(facts("FAILED", "org.x: broken")).boxes
    assert all(box.reason for box in boxes)


def test_members_are_paged() -> None:
    (one,) = SEEN.members
    many = replace(SEEN, members=[structs.replace(one, host=f"host-{number:03}") for number in range(120)])
    with made() as console, console.browser(TOKEN) as client:
        console.overview.seen = many
        overview, last = _page(client, "/"), _page(client, "/members?page=3")
    assert re.findall(r"host-\d+", overview) == [f"host-{number:03}" for number in range(50)]
    assert '<a href="/console/members?page=2">And 70 more members</a>' in overview
    assert re.findall(r"host-\d+", last) == [f"host-{number:03}" for number in range(100, 120)]
    assert "Page 3 of 3" in last
    assert 'href="/console/members?page=2"' in last
    markup(last)


def test_a_server_that_is_away_turns_its_box_red_and_leaves_the_others() -> None:
    seen = look(replace(facts(), kafka=Unknown("no answer", "start it")))
    levels = {box.name: (box.level, box.reason) for box in seen.boxes}
    assert levels["Kafka"] == (Level.FAILURE, "no answer")
    assert levels["Redis"][0] is Level.OK
    assert seen.level is Level.FAILURE
    assert database_finding(Unknown("refused")).level is Level.FAILURE
    assert database_finding(None).level is Level.OK


def test_a_user_whose_values_agree_is_said_to_agree() -> None:
    found = known("VIP")
    keys = [Key("config hash", "user:{live:7}:config", True, found.user_values.config)]
    told = {"text": "live:7", "begin": "1h", "end": "end", "several": (), "problem": ""}
    text = rendered("user.html", SESSION, known=found, keys=keys, **told)
    assert "Redis has what the database has." in text
    assert "Refresh from the database" in text
    viewer = Session(Visitor("bob", Role.VIEWER), 0.0, 0.0)
    assert "Refresh from" not in rendered("user.html", viewer, known=found, keys=keys, **told)


def test_users_of_several_types_are_offered() -> None:
    told = {"text": "7", "begin": "1h", "end": "end", "problem": "", "known": None}
    text = rendered("user.html", SESSION, several=[("live:7", False), ("demo:7", False)], **told)
    assert "There are several users with this number" in text
    assert 'href="/console/user?user=demo%3A7"' in text
    text = rendered("user.html", SESSION, several=[("live:7", True), ("demo:7", True)], **told)
    assert "There is no user with this number" in text


def test_a_chart_has_gaps_where_nothing_is_known() -> None:
    found = chart("Lag", "records", [0, 3, None, 7, None])
    assert found.top == 10
    assert found.lines == ("0.0,60.0 75.0,42.0", "225.0,18.0 225.0,18.0")
    assert found.words == "Lag in the last hour: now 7, at most 7 records"
    assert chart("Lag", "records", [None, None]).words == "Lag: nothing is known of the last hour"
    assert chart("Lag", "records", [0]).top == 1


def test_the_charts_are_of_the_last_whole_hour() -> None:
    rate, lag = charts([Minute(99, 5, 1), Minute(40, 7, 2), Minute(39, 9, 9), Minute(100, 1, 1)], 100)
    assert (rate.last, rate.highest, lag.highest) == ("5", "7", "2")


def test_a_total_is_divided_into_minutes() -> None:
    counter = MinuteCounter()
    assert counter.take(100, 4, 600.0) == Minute(10, 0, 4)
    assert counter.take(130, 9, 605.0) == Minute(10, 30, 0)
    assert counter.take(131, 2, 660.0) == Minute(11, 1, 2)
    assert counter.take(7, 2, 665.0) == Minute(11, 0, 0)


def test_the_static_files_are_in_the_package_and_name_no_other_host() -> None:
    folder = files("consumer.commands.api.console").joinpath("static")
    names = sorted(each.name for each in folder.iterdir())
    assert names == ["console.css", "console.js", "icon.svg"]
    for name in names:
        text = folder.joinpath(name).read_text(encoding="utf-8")
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
        assert "@import" not in text


def test_the_templates_have_no_inline_script_and_no_inline_style() -> None:
    for each in files("consumer.commands.api.console").joinpath("templates").iterdir():
        text = each.read_text(encoding="utf-8")
        assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b", text), each.name


@pytest.mark.parametrize("path", ["/", "/user", "/check", "/mapping"])
def test_a_page_has_one_heading_and_its_landmarks(path: str) -> None:
    with made() as console, console.browser(TOKEN) as client:
        found = markup(_page(client, path))
    assert found.tags.count("h1") == 1
    assert {"main", "header", "nav", "footer"} <= set(found.tags)


def _page(client: httpx.Client, path: str) -> str:
    answer = client.get(f"/console{path}")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_events_show_the_overview_and_end_with_the_session() -> None:
    with made() as console, console.browser(TOKEN) as client:
        token = csrf_of(client)
        with client.stream("GET", "/console/events", headers={"Accept": "text/event-stream"}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next(lines) == "event: overview"
            assert "data-box" in next(lines)
            client.post("/console/logout", data={"csrf": token})
            assert "event: ended" in list(islice(lines, 8))  # else it would never end


def test_the_servers_are_asked_once_for_all_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    overview, asked, go_on = Overview(Settings(), LIMITS, None), threading.Semaphore(0), threading.Event()

    def ask(_: Overview) -> Seen:
        asked.release()
        go_on.wait(30)
        return SEEN

    monkeypatch.setattr(Overview, "_ask", ask)
    with ThreadPoolExecutor(20) as pool:
        looks = [pool.submit(overview.look) for _ in range(20)]
        assert asked.acquire(timeout=30)
        go_on.set()
        assert all(each.result() is SEEN for each in looks)
        assert not asked.acquire(blocking=False)
        monkeypatch.setattr("consumer.commands.api.console.overview.LOOK_S", 0.0)
        go_on.clear()
        late = pool.submit(overview.look)
        assert asked.acquire(timeout=30)
        assert overview.look() is SEEN  # what was known before, at once
        go_on.set()
        assert late.result() is SEEN
