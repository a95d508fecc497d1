"""Many open overviews cost the servers as much as one: they are asked once for all. No page looks through all keys."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.e2e.console.conftest import Served
from tests.integration.api.conftest import TOKEN, WITNESS

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.one_redis]

_LOOKED_S = 15.0


def test_twenty_overviews_ask_redis_as_often_as_one(served: Served) -> None:
    one, twenty = watched(served, 1), watched(served, 20)
    assert twenty < 2 * one, f"{twenty:.1f} commands a second, with one overview {one:.1f}"


def watched(served: Served, count: int) -> float:
    """The commands a second that Redis answers while so many overviews are open; the consumer's are among them."""
    with ExitStack() as exits:
        for _ in range(count):
            client = exits.enter_context(served.reader(TOKEN))
            stream = exits.enter_context(client.stream("GET", "/events"))
            exits.callback(stream.close)
            next(stream.iter_raw())
        began = commands(served), time.monotonic()
        cpu = used(served)
        time.sleep(_LOOKED_S)
        seconds = time.monotonic() - began[1]
        print(f"{count} overviews: {100 * (used(served) - cpu) / seconds:.2f} % of a core of Redis")
        return (commands(served) - began[0]) / seconds


def test_no_page_looks_through_the_keys_of_redis(served: Served) -> None:
    """A user's keys, members and minutes have names, so there is nothing to search, however large Redis is."""
    pages = ["/", "/members", f"/user?user={WITNESS}", f"/user/timeline?user=live:{WITNESS}", "/letters", "/check"]
    with served.reader(TOKEN) as client:
        before = searches(served)
        codes = {page: client.get(page).status_code for page in pages}
        assert codes == dict.fromkeys(pages, 200)
        assert searches(served) == before


def searches(served: Served) -> dict[str, int]:
    """How often Redis was asked to look through keys."""
    stats = served.redis.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("scan", "keys")}


def commands(served: Served) -> int:
    return int(served.redis.info("stats")["total_commands_processed"])


def used(served: Served) -> float:
    """The processor time of Redis, in seconds."""
    found = served.redis.info("cpu")
    return float(found["used_cpu_sys"]) + float(found["used_cpu_user"])
