"""A console beside a running consumer and a connector, and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.e2e.process import Process
from tests.integration.api.conftest import TOKEN, Followed, clear, following, serving
from tests.support.stack import Stack
from tests.support.stack.errors import MissingTool
from tests.support.stack.fixtures import started
from tests.support.stack.machine import Apt
from tests.support.stack.trading import Trading

VIEWER = "tok-viewer-of-the-console"
# WCAG 2.2 asks for 320 pixels, which is narrower than a phone.
WIDE, NARROW = (1280, 800), (320, 740)


@dataclass(frozen=True)
class Served:
    """The console, and what is behind it."""

    address: str
    process: Process
    followed: Followed
    stack: Stack
    trading: Trading
    redis: redis.Redis

    @contextmanager
    def reader(self, token: str) -> Iterator[httpx.Client]:
        """A reader without a browser that has logged in."""
        headers = {"Accept": "text/html"}
        with httpx.Client(base_url=f"{self.address}/console", headers=headers, timeout=60) as client:
            assert client.post("/login", data={"token": token}).status_code == 303
            yield client

    def said(self) -> str:
        """The log of the API."""
        return self.process.said()


@dataclass
class Window:
    """A page in the browser. It notes what the browser complains about, and every host that it asks."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.address}/console"):
            self.strangers.append(request.url)

    def open(self, path: str = "/") -> None:
        self.page.goto(f"{self.address}/console{path}")

    def log_in(self, token: str = TOKEN) -> None:
        self.open()
        self.page.get_by_label("Token of the API").fill(token)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("heading", name="Overview", level=1).wait_for()

    def heading(self) -> str:
        return self.page.locator("h1").inner_text()


def _chromium(logs: Path) -> str:
    """Debian's browser; as root it is installed.

    Raises:
        MissingTool: there is none.
    """
    if shutil.which("chromium") is None and not Apt.of_a_test(logs).install("chromium", "fonts-dejavu-core"):
        raise MissingTool("chromium", "apt-get install chromium fonts-dejavu-core")
    found = shutil.which("chromium")
    if found is None:
        raise MissingTool("chromium", "apt-get install chromium fonts-dejavu-core")
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = started(lambda: _chromium(tmp_path_factory.mktemp("browser")))
    # As root, which tests in a container are, the browser has no sandbox.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=options)
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("console")
    mapping = folder / "mapping.toml"
    mapping.write_text('extends = "reference"\n[streams]\n')  # so that it is known what was sent
    with stack.redis.connect() as client, stack.mysql.connect(stack.mysql.logins.app) as connection:
        clear(client)
        with following(stack, folder, stack.redis.url, CDC_MAPPING=str(mapping)) as followed:
            environment = {
                **followed.kafka,
                "CDC_MAPPING": str(mapping),
                "CDC_DATABASE__URL": stack.mysql.url,
                "CDC_REDIS__URL": stack.redis.url,
                "CDC_CONNECT__URL": stack.connect.url,
                "CDC_API__VIEWER_TOKEN": VIEWER,
            }
            with serving(folder / "api.log", environment) as (api, process):
                address = str(api.base_url).rstrip("/")
                yield Served(address, process, followed, stack, Trading(connection), client)


@contextmanager
def window_of(browser: Browser, served: Served, size: Sequence[int] = WIDE, scheme: str = "light") -> Iterator[Window]:
    """A window without a session. At its end the browser has complained about nothing and asked no other host."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    try:
        window = Window(context.new_page(), served.address)
        yield window
        assert window.complaints == []
        assert window.strangers == []
    finally:
        context.close()


@pytest.fixture
def window(browser: Browser, served: Served) -> Iterator[Window]:
    """A window with an operator's session."""
    with window_of(browser, served) as found:
        found.log_in()
        yield found
