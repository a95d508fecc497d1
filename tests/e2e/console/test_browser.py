"""What support does in the console, in a real browser."""

from __future__ import annotations

import json
import re
import secrets
import time
from urllib.parse import quote

import pytest
import tomli_w
from axe_playwright_python.sync_playwright import Axe
from kafka import KafkaProducer
from playwright.sync_api import Browser, expect

from consumer.mapping.file import plain
from consumer.mapping.reference import reference
from tests.e2e.console.conftest import NARROW, VIEWER, WIDE, Served, Window, window_of
from tests.e2e.process import command
from tests.integration.api.conftest import TOKEN, WITNESS
from tests.support.redis_view import eventually
from tests.support.stack.kafka import PATIENT

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.one_redis]

USER, SPOILT, POISONED, MARKUP, LOST, WAITING = 701, 702, 703, 704, 705, 706
EVIL = "<img src=x onerror=alert(1)>"
EMAIL, PASSWORD = "mark-9f1c@example.org", "pw-9f1c-hash"
PAGES = (
    "/",
    "/user",
    f"/user?user=live:{USER}",
    f"/user/timeline?user=live:{USER}",
    "/letters",
    "/check",
    "/mapping",
    "/members",
)
OTHER_TTL = 'extends = "reference"\nbalance_ttl_s = 600\n[streams]\n'


def config(user_id: int) -> str:
    return f"user:{{live:{user_id}}}:config"


def added(served: Served, user_id: int, **columns: object) -> None:
    """A new user, whom Redis has too: nothing about the user is on its way any more."""
    served.trading.execute(f"DELETE FROM live_users WHERE id = {user_id}")
    mark = secrets.randbelow(2**30)
    served.trading.insert("live_users", id=user_id, email=EMAIL, password=PASSWORD, country_id=mark, **columns)
    eventually(lambda: served.redis.hget(config(user_id), "country_id") == str(mark), 60)


def letters(served: Served) -> str:
    """The open dead letters, as the command lists them."""
    ran = command(dict(served.followed.kafka), "dead-letters", "list", "--json")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def spoilt(served: Served, user_id: int) -> str:
    """A dead letter that can be applied once another program's key is gone; its place."""
    added(served, user_id, wallet_balance="10.00")
    served.redis.delete(config(user_id))
    served.redis.set(config(user_id), "of another program")
    served.trading.update("live_users", user_id, wallet_balance="12.00")
    eventually(lambda: f"live:{user_id}" in letters(served), 60)
    (line,) = [line for line in letters(served).splitlines() if f"live:{user_id}" in line]
    served.redis.delete(config(user_id))
    return str(json.loads(line)["place"])


def produced(served: Served, user_id: int, value: bytes) -> str:
    """A dead letter of a record that Debezium has not written; its place."""
    producer = KafkaProducer(**PATIENT, bootstrap_servers=served.stack.kafka.bootstrap_servers, acks="all")
    key = json.dumps({"id": user_id}, separators=(",", ":")).encode()
    topic = served.followed.registration.topic("live_users")
    sent = producer.send(topic, key=key, value=value).get(10)
    producer.close()
    place = f"{topic}[{sent.partition}]@{sent.offset}"
    eventually(lambda: place in letters(served), 60)
    return place


@pytest.fixture(scope="module")
def waiting(served: Served) -> str:
    """The place of a dead letter that nobody handles."""
    return spoilt(served, WAITING)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_every_page_is_accessible_and_fits(
    browser: Browser, served: Served, waiting: str, size: tuple[int, int], scheme: str
) -> None:
    added(served, USER, wallet_balance="5000.50")
    served.redis.hset(config(USER), "leverage", "999")
    actions = [f"/user/refresh?user=live:{USER}", f"/letters/one?place={quote(waiting)}"]
    actions += [f"/letters/confirm?place={quote(waiting)}&action={each}" for each in ("replay", "discard")]
    with window_of(browser, served, size, scheme) as window:
        window.open()
        assert window.heading() == "Log in"
        check_accessible(window, size)
        window.log_in()
        for path in (*PAGES, *actions):
            window.open(path)
            if path == f"/user?user=live:{USER}":
                window.page.locator("[data-load] .steps").wait_for(timeout=30_000)
            if path == "/check":
                window.page.get_by_text("redis persistence").first.wait_for(timeout=60_000)
            check_accessible(window, size)
        window.open("/mapping")
        window.page.get_by_label("The mapping, as TOML").fill(OTHER_TTL)
        window.page.get_by_role("button", name="Compare").click()
        window.page.get_by_role("heading", name="Result").wait_for(timeout=60_000)
        check_accessible(window, size)
        window.open("/user?user=nobody")
        check_accessible(window, size)
        window.open("/nowhere")
        check_accessible(window, size)
        # The browser notes the status of the last two pages, and nothing else.
        assert len(window.complaints) == sum("Failed to load resource" in each for each in window.complaints) == 2
        window.complaints.clear()


def check_accessible(window: Window, size: tuple[int, int]) -> None:
    """What WCAG 2.2 AA asks for, as far as a program can find it, and what axe calls serious beyond that."""
    page = window.page
    found = Axe().run(page, options={"rules": {"target-size": {"enabled": True}}}).response["violations"]
    of_wcag = {"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"}
    wrong = [each for each in found if of_wcag & {*each["tags"]} or each["impact"] in ("serious", "critical")]
    assert [f"{each['id']}: {each['nodes'][0]['html']}" for each in wrong] == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0], page.url
    assert page.locator("h1").count() == 1, page.url


def test_the_overview_shows_that_all_is_well_and_is_live(window: Window) -> None:
    page = window.page
    expect(page.locator("#live")).to_have_text("Live.")
    for name in ("Database", "Connector", "Kafka", "Consumers", "Redis"):
        expect(page.locator(f'[data-box="{name}"]')).to_have_attribute("data-level", "ok", timeout=20_000)
    expect(page.get_by_role("img", name=re.compile("Rate in the last hour"))).to_be_visible(timeout=180_000)


def test_a_user_that_differs_is_marked_and_a_refresh_corrects_it(window: Window, served: Served) -> None:
    page = window.page
    added(served, USER, wallet_balance="5000.50", leverage=100)
    served.redis.hset(config(USER), "leverage", "999")
    window.open("/user")
    page.get_by_label("User, such as").fill(str(USER))
    page.get_by_role("button", name="Search").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="leverage", exact=True))
    expect(row).to_contain_text("differs")
    expect(row.get_by_role("cell").nth(0)).to_have_text("100")
    expect(row.get_by_role("cell").nth(1)).to_have_text("999")
    expect(page.get_by_text("not as in the database: leverage")).to_be_visible()
    expect(page.locator("[data-load]")).to_contain_text("live_users insert: applied", timeout=30_000)
    expect(page.locator("[data-load]")).to_contain_text(re.compile(r"user_updates\s+sent [^)]*\)\s+to \d+ subscriber"))
    page.get_by_text("as it was sent").first.click()
    expect(page.locator("[data-load] details[open]")).to_contain_text('"event_type"')
    page.get_by_role("link", name="Refresh from the database").click()
    assert served.redis.hget(config(USER), "leverage") == "999"
    page.get_by_role("button", name=f"Refresh live:{USER}").click()
    expect(page.get_by_role("status").first).to_contain_text(f"live:{USER} was written from the database.")
    expect(row).to_contain_text("same")
    expect(page.get_by_text("Redis has what the database has.")).to_be_visible()
    assert served.redis.hget(config(USER), "leverage") == "100"
    assert "console.refresh" in served.said()


def test_a_dead_letter_is_applied_again(window: Window, served: Served) -> None:
    place = spoilt(served, SPOILT)
    page = window.page
    open_letters(window, place)
    page.get_by_role("link", name=place).click()
    expect(page.locator(".tree").first).to_contain_text("12.00")
    expect(page.locator(".tree").first).to_contain_text(re.compile(r"created_at\s*hidden"))
    assert EMAIL not in page.content()
    page.get_by_role("link", name="Apply it again").click()
    expect(page.get_by_text("It would be: applied")).to_be_visible()
    assert place in letters(served)
    page.get_by_role("button", name="Apply it again").click()
    expect(page.get_by_role("status").first).to_contain_text(f"{place}: applied")
    assert place not in letters(served)
    assert served.redis.hget(config(SPOILT), "wallet_balance") == "12.00"


def test_a_dead_letter_is_discarded(window: Window, served: Served) -> None:
    added(served, POISONED)
    place = produced(served, POISONED, b"{broken hunter2")
    page = window.page
    window.open(f"/letters/one?place={quote(place)}")
    assert "hunter2" not in page.content()
    page.get_by_role("link", name="Discard it").click()
    page.get_by_role("button", name="Discard it").click()
    expect(page.get_by_role("status").first).to_contain_text(f"{place}: discarded")
    assert place not in letters(served)


def test_a_mapping_is_compared_and_shows_no_value(window: Window, served: Served) -> None:
    added(served, USER, wallet_balance="5000.50")
    page = window.page
    window.open("/mapping")
    page.get_by_label("or choose a file").set_input_files(
        {"name": "other.toml", "mimeType": "application/toml", "buffer": OTHER_TTL.encode()}
    )
    expect(page.get_by_label("The mapping, as TOML")).to_have_value(OTHER_TTL)
    page.get_by_label("From").fill("10m")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Result")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("row").filter(has_text="strings set").first).to_contain_text("user_balance:<type>:<id>")
    assert "5000.50" not in page.content()
    assert f"live:{USER}" not in page.content()


def test_a_mapping_that_names_a_hidden_column_shows_nothing_of_it(served: Served) -> None:
    added(served, USER, wallet_balance="5000.50", created_at="2001-02-03 04:05:06")
    tried = plain(reference())
    for table in tried["tables"]:
        table["columns"].append({"name": "created_at", "kind": "time"})
        table["ignored"].remove("created_at")
    answers = []
    for token in (TOKEN, VIEWER):
        with served.reader(token) as client:
            csrf = client.get("/mapping").text.partition('name="csrf" value="')[2].partition('"')[0]
            form = {"csrf": csrf, "mapping": tomli_w.dumps(tried), "from": "10m", "to": "end"}
            answers.append(client.post("/mapping", data=form))
    answer, refused = answers
    assert refused.status_code == 400
    assert "it reads live_users.created_at, which the running mapping does not show" in refused.text
    assert answer.status_code == 200
    assert "<td>created_at</td>" in answer.text
    assert "updated_fields.created_at" in answer.text
    for hidden in ("2001-02-03", "981173106", "5000.50", f"live:{USER}"):
        assert hidden not in answer.text


def test_markup_in_a_users_row_is_text(window: Window, served: Served) -> None:
    added(served, MARKUP, name=EVIL, group=EVIL[:20], account_number=EVIL[:20])
    served.redis.hset(config(MARKUP), "group", EVIL)
    page = window.page
    window.open(f"/user?user=live:{MARKUP}")
    expect(page.get_by_text(EVIL).first).to_be_visible()
    expect(page.locator("[data-load]")).to_contain_text("live_users insert", timeout=30_000)
    assert page.locator("main img").count() == 0


def test_markup_in_the_name_of_a_table_and_in_an_error_is_text(window: Window, served: Served) -> None:
    source = {"connector": "mysql", "db": "trading", "table": EVIL, "ts_ms": 1, "snapshot": "false", "server_id": 1}
    source |= {"file": "binlog.000003", "pos": secrets.randbelow(2**30), "row": 0, "gtid": None}
    value = {"op": "c", "before": None, "after": {"id": MARKUP}, "source": source, "ts_ms": 1}
    place = produced(served, MARKUP, json.dumps(value).encode())
    page = window.page
    for path in ("/letters", f"/letters/one?place={quote(place)}"):
        window.open(path)
        expect(page.get_by_text(f"no rule names the table '{EVIL}'").first).to_be_visible(timeout=30_000)
        assert page.locator("main img").count() == 0, path


def test_the_check_shows_its_findings(window: Window) -> None:
    window.open("/check")
    expect(window.page.get_by_text("redis persistence").first).to_be_visible(timeout=60_000)
    expect(window.page.get_by_text("What to do:").first).to_be_visible()


def test_everything_works_by_keyboard_alone(browser: Browser, served: Served) -> None:
    added(served, USER, wallet_balance="5000.50", leverage=100)
    served.redis.hset(config(USER), "leverage", "999")
    with window_of(browser, served) as window:
        page = window.page
        window.open()
        page.keyboard.type(TOKEN)  # the field has the focus
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Overview", level=1).wait_for()
        page.keyboard.press("Tab")
        assert focused(window) == "Skip to the content"
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert focused(window) == "User"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="User", level=1).wait_for()
        tab_to(window, "user")
        page.keyboard.type(f"live:{USER}")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=f"User live:{USER}", level=1).wait_for()
        tab_to(window, "Refresh from the database…")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=f"Refresh live:{USER}").wait_for()
        tab_to(window, f"Refresh live:{USER}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("was written from the database")
    assert served.redis.hget(config(USER), "leverage") == "100"


def test_a_dead_letter_and_a_mapping_by_keyboard_alone(browser: Browser, served: Served) -> None:
    place = spoilt(served, 10_000 + secrets.randbelow(10**6))
    with window_of(browser, served) as window:
        page = window.page
        window.log_in()
        open_letters(window, place)
        for name in (place, "Discard it…", "Discard it"):
            tab_to(window, name)
            with page.expect_navigation():
                page.keyboard.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text(f"{place}: discarded")
        tab_to(window, "Try a mapping")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Try a mapping", level=1).wait_for()
        tab_to(window, "mapping")
        page.keyboard.type(OTHER_TTL)
        tab_to(window, "Compare")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Result").wait_for(timeout=60_000)
    assert place not in letters(served)


def open_letters(window: Window, place: str) -> None:
    """Open the page of dead letters, once it shows ``place``: it keeps its list for some seconds."""

    def is_shown() -> bool:
        window.open("/letters")
        return window.page.get_by_role("link", name=place).count() > 0

    eventually(is_shown, 30)


def focused(window: Window) -> str:
    """The text of what has the focus; of a field its name."""
    return str(window.page.evaluate("document.activeElement.innerText || document.activeElement.name || ''"))


def tab_to(window: Window, name: str) -> None:
    """Press Tab until ``name`` has the focus."""
    for _ in range(60):
        window.page.keyboard.press("Tab")
        if focused(window) == name:
            return
    raise AssertionError(f"{name} can't be reached by Tab")


def test_a_viewer_sees_no_action(browser: Browser, served: Served) -> None:
    added(served, USER)
    with window_of(browser, served) as window:
        window.log_in(VIEWER)
        window.open(f"/user?user=live:{USER}")
        expect(window.page.get_by_text("viewer-token (viewer)")).to_be_visible()
        expect(window.page.get_by_role("link", name="Refresh from the database")).to_have_count(0)


def test_no_answer_has_a_secret(served: Served) -> None:
    """Passwords of the accounts, and values of columns that the mapping does not use."""
    place = spoilt(served, LOST)
    mysql = served.stack.mysql
    hidden = {
        EMAIL,
        PASSWORD,
        TOKEN,
        VIEWER,
        *(each.password for each in (mysql.logins.admin, mysql.logins.app, mysql.logins.reader)),
        served.followed.registration.connector.config["database.password"],
    }
    paths = [*PAGES, f"/letters/one?place={quote(place)}", f"/letters/confirm?place={quote(place)}&action=replay"]
    paths += [
        f"/user?user={LOST}",
        f"/user/refresh?user=live:{LOST}",
        f"/user/timeline?user=live:{LOST}",
        "/user?user=nobody",
        "/letters/one?place=x",
        "/nowhere",
        f"/user?user=live:{WITNESS}",
    ]
    with served.reader(TOKEN) as client:
        texts = {path: client.get(path).text for path in paths}
        with client.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            texts["/events"] = next(lines) + next(lines)
    assert [(path, each) for path, text in texts.items() for each in hidden if each in text] == []


def test_a_connector_that_fails_turns_red_within_ten_seconds(window: Window, served: Served) -> None:
    """The last test here: afterwards the connector does not run."""
    connector, mysql, page = served.followed.registration.connector, served.stack.mysql, window.page
    expect(page.locator('[data-box="Connector"]')).to_have_attribute("data-level", "ok", timeout=20_000)
    with served.stack.connect.api() as api:
        api.apply(connector.model_copy(update={"config": connector.config | {"skipped.operations": "none"}}))
        api.wait_running(connector.name, steady_s=1.0)
        with mysql.connect(mysql.logins.admin) as connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE TABLE demo_users")  # its record has no key, which a compacted topic refuses
        eventually(lambda: "FAILED" in api.status(connector.name).tasks, 60)
    failed_at = time.monotonic()
    box = page.locator('[data-box="Connector"]')
    expect(box).to_have_attribute("data-level", "failure", timeout=10_000)
    assert time.monotonic() - failed_at < 10
    expect(box).to_contain_text("task 0 FAILED")
    expect(page.locator('[data-box="Redis"]')).to_have_attribute("data-level", "ok")
