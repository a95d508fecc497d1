"""The pictures of docs/console.md, from the demo's kind of data. ``UPDATE_PICTURES=1`` writes them anew."""

from __future__ import annotations

import json
import math
import os
import re
import time
from pathlib import Path

import pytest
from kafka import KafkaProducer
from playwright.sync_api import Browser, FloatRect, expect
from pydantic import SecretStr

from consumer.pipeline.minutes import Minute
from consumer.settings.sections import Redis as Settings
from consumer.sink.minute_store import MinuteStore
from tests.docs.markdown import PROJECT
from tests.e2e.console.conftest import Served, Window, window_of
from tests.e2e.process import command
from tests.support.redis_view import eventually
from tests.support.stack.kafka import PATIENT

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.one_redis]

SHOWN = PROJECT / "docs" / "console"
NAMES = ("overview", "user", "timeline", "letters", "check", "mapping")
SIZE = (1180, 640)
_OTHERS = 40
MAPPING = 'extends = "reference"\nbalance_ttl_s = 600\n[streams]\n'


@pytest.fixture(scope="module")
def demo(served: Served) -> Served:
    """Users, changes, a value that another program changed, records that nobody can read, and an audit."""
    trading, client = served.trading, served.redis
    for number, name in ((7, "Rhea"), (123, "Ilya"), (124, "Mina")):
        trading.insert("live_users", id=number, name=name, wallet_balance="1500.00", group="Standard", leverage=100)
    for number in range(200, 200 + _OTHERS):
        trading.insert("live_users", id=number, wallet_balance=f"{25 * number}.00", group="Standard")
    eventually(lambda: client.exists(f"user:{{live:{199 + _OTHERS}}}:config"), 60)
    trading.update("live_users", 7, wallet_balance="11500.50")
    trading.update("live_users", 7, group="VIP")
    trading.update("live_users", 123, leverage=200)
    eventually(lambda: client.hget("user:{live:123}:config", "leverage") == "200", 60)
    client.hset("user:{live:123}:config", "leverage", "100")
    environment = {
        **served.followed.kafka,
        "CDC_DATABASE__URL": served.stack.mysql.url,
        "CDC_REDIS__URL": served.stack.redis.url,
    }
    redis = Settings(url=SecretStr(served.stack.redis.url))
    store, now = MinuteStore(redis, served.followed.kafka["CDC_KAFKA__GROUP_ID"]), int(time.time() // 60)
    for ago in range(2, 60):  # an hour as a platform has it
        store.add(Minute(now - ago, 900 + round(300 * math.sin(ago / 6)) + 37 * ago % 90, 53 * ago % 40))
    assert command(environment, "audit").returncode == 1  # it has found live:123
    producer = KafkaProducer(**PATIENT, bootstrap_servers=served.stack.kafka.bootstrap_servers, acks="all")
    for number, value in ((124, b"{broken"), (201, b'{"balance": 7}'), (202, b"")):
        key = json.dumps({"id": number}, separators=(",", ":")).encode()
        producer.send(served.followed.registration.topic("live_users"), key=key, value=value).get(10)
    producer.close()
    listed = ("dead-letters", "list", "--json")
    eventually(lambda: len(command(dict(served.followed.kafka), *listed).stdout.splitlines()) == 3, 60)
    return served


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_of_each_page(browser: Browser, demo: Served, scheme: str, tmp_path: Path) -> None:
    folder = SHOWN if os.environ.get("UPDATE_PICTURES") else tmp_path
    with window_of(browser, demo, SIZE, scheme) as window:
        window.log_in()
        page = window.page
        expect(page.locator('[data-box="Connector"]')).to_have_attribute("data-level", "ok", timeout=20_000)
        expect(page.get_by_role("img", name=re.compile("Rate"))).to_be_visible(timeout=180_000)
        take(window, folder, "overview", scheme)
        window.open("/user?user=live:123")
        expect(page.locator("[data-load]")).to_contain_text("leverage 100 → 200", timeout=30_000)
        take(window, folder, "user", scheme, 1222)
        window.open("/user/timeline?user=live:123")
        page.get_by_text("as it was sent").first.click()
        take(window, folder, "timeline", scheme)
        window.open("/letters")
        take(window, folder, "letters", scheme)
        window.open("/check")
        expect(page.get_by_text("redis persistence").first).to_be_visible(timeout=60_000)
        # The folder of this run is nobody's business.
        page.evaluate(
            "main => main.innerHTML = main.innerHTML.replace(/mapping: \\S*mapping.toml/, 'mapping: mapping.toml')",
            page.locator("main").element_handle(),
        )
        take(window, folder, "check", scheme)
        window.open("/mapping")
        page.get_by_label("The mapping, as TOML").fill(MAPPING)
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", name="Result")).to_be_visible(timeout=60_000)
        take(window, folder, "mapping", scheme)
    assert sorted(each.name for each in folder.glob(f"*-{scheme}.png")) == sorted(
        f"{name}-{scheme}.png" for name in NAMES
    )


def take(window: Window, folder: Path, name: str, scheme: str, most: int = 1600) -> None:
    """A picture of the whole page, or of its first ``most`` pixels."""
    folder.mkdir(exist_ok=True)
    height = min(most, int(window.page.evaluate("document.documentElement.scrollHeight")))
    clip: FloatRect = {"x": 0, "y": 0, "width": SIZE[0], "height": height}
    window.page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True, clip=clip)
