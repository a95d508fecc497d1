"""The minutes of the charts from Prometheus: what it is asked, and answers that are not what was hoped for."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from consumer.commands.api.console.overview import seen
from consumer.commands.api.console.page import rendered
from consumer.commands.api.console.prometheus import load, queries
from consumer.commands.shared.finding import ok
from consumer.commands.shared.status.facts import Unknown
from consumer.errors import CdcError, ConfigError, ServerError, ServerUnavailable
from consumer.pipeline.minutes import Minute
from consumer.settings.sections import Prometheus
from tests.deploy.promql import asked, exported
from tests.unit.commands.console.seen import EVIL, facts

ADDRESS = "http://prometheus:9090"
FIRST = 29_000_000
SETTINGS = Prometheus(url=ADDRESS, user="ann", password=SecretStr("hunter2"), match='job="cdc"')


def matrix(*values: tuple[float, str]) -> httpx.Response:
    """An answer as Prometheus 2 and 3 write it; a sum over nothing has no series."""
    result = [{"metric": {}, "values": [list(each) for each in values]}] if values else []
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": result}})


def loaded(answer: Callable[[httpx.Request], httpx.Response]) -> list[Minute]:
    return load(SETTINGS, ADDRESS, FIRST, FIRST + 2, httpx.MockTransport(answer))


def test_the_minutes_are_read() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if "rate" in request.url.params["query"]:
            return matrix(((FIRST + 1) * 60, "11.6"), ((FIRST + 2) * 60, "NaN"), ((FIRST + 3) * 60, "0"))
        return matrix(((FIRST + 1) * 60, "7"), ((FIRST + 2) * 60, "8"))

    assert loaded(answer) == [Minute(FIRST, 12, 7), Minute(FIRST + 2, 0, 0)]
    assert [each.url.path for each in requests] == ["/api/v1/query_range"] * 2
    for each in requests:
        params = each.url.params
        assert (int(params["start"]), int(params["end"])) == ((FIRST + 1) * 60, (FIRST + 3) * 60)
        assert params["step"] == "60"
        assert each.headers["authorization"].startswith("Basic ")


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert loaded(lambda _: matrix()) == []


@pytest.mark.parametrize("match", ["", 'job="cdc", instance=~"a.*"'])
def test_it_is_asked_for_metrics_that_members_have(match: str) -> None:
    known = exported()
    found = [each for query in queries(match) for each in asked(query)]
    assert [each.name for each in found] == ["cdc_changes_total", "cdc_lag_records"]
    for each in found:
        assert each.matched <= known[each.name]
        assert bool(each.matched) == bool(match)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(401), ConfigError),
        (httpx.Response(403), ConfigError),
        (httpx.Response(400, text="hunter2"), ServerError),
        (httpx.Response(200, text="<html>hunter2"), ServerError),
        (httpx.Response(200, json={"data": {"result": [{"values": [[1, "hunter2"]]}]}}), ServerError),
    ],
)
def test_another_answer_is_an_error_without_its_text(answer: httpx.Response, kind: type[CdcError]) -> None:
    with pytest.raises(kind) as error:
        loaded(lambda _: answer)
    assert "hunter2" not in str(error.value)


def test_a_server_that_is_away_is_an_error() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("hunter2")

    with pytest.raises(ServerUnavailable) as error:
        loaded(away)
    assert "hunter2" not in str(error.value)


def test_the_overview_says_why_its_charts_are_empty() -> None:
    found = seen(facts(), [], ok("database", "answers"), Unknown(f"Prometheus does not answer {EVIL}"))
    text = rendered("_overview.html", None, seen=found, most_members=50)
    assert text.count("Nothing is known of the last hour: Prometheus does not answer &lt;script&gt;") == 2
