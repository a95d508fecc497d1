"""The minutes of the charts from Prometheus, for deployments that have one: it knows them also while Redis is away."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import httpx
import msgspec

from consumer.errors import ServerError, ServerUnavailable
from consumer.net.http_client import HttpServer
from consumer.net.tls import Files
from consumer.pipeline.minutes import Minute
from consumer.settings.sections import Prometheus

_NAME = "Prometheus"
_ANSWER_S = 3.0
_ADVICE = "see that it runs, and CDC_PROMETHEUS__URL"
# Two minutes, because a rate needs two scrapes, and a scrape may come once a minute.
_DONE = "60 * sum(rate(cdc_changes_total{%s}[2m]))"
_LAG = "sum(cdc_lag_records{%s})"


def queries(match: str) -> tuple[str, str]:
    """What is asked: the records that were finished in a minute, and the records that are left."""
    return _DONE % match, _LAG % match


def load(
    settings: Prometheus, address: str, first: int, last: int, transport: httpx.BaseTransport | None = None
) -> list[Minute]:
    """The known minutes from ``first`` to ``last``, both included. ``address``: ``settings.url``, which is set.

    Raises:
        ConfigError: it refuses the account, or a file for TLS can't be used.
        ServerUnavailable, ServerError: it does not answer, or not as Prometheus does.
    """
    server = HttpServer("CDC_PROMETHEUS", address, settings.user, settings.password, Files.of(settings))
    with server.client(_ANSWER_S, transport, "application/json") as client:
        done, left = (_values(server, client, query, first, last) for query in queries(settings.match or ""))
    return [Minute(number, round(value), round(left.get(number, 0))) for number, value in sorted(done.items())]


class _Series(msgspec.Struct):
    values: list[tuple[float, str]]


class _Data(msgspec.Struct):
    result: list[_Series]


class _Answer(msgspec.Struct):
    data: _Data


def _values(server: HttpServer, client: httpx.Client, query: str, first: int, last: int) -> Mapping[int, float]:
    """The value at the end of each minute."""
    asked: dict[str, Any] = {"query": query, "start": (first + 1) * 60, "end": (last + 1) * 60, "step": 60}
    try:
        answer = client.get("/api/v1/query_range", params=asked)
    except httpx.HTTPError as error:
        if refused := server.unreached(_NAME):
            raise refused from None
        raise ServerUnavailable(_NAME, type(error).__name__, _ADVICE) from None
    if answer.status_code in (401, 403):
        raise server.refused(_NAME, answer.status_code)
    if answer.status_code != httpx.codes.OK:
        raise ServerError(_NAME, f"answers with {answer.status_code}", "see CDC_PROMETHEUS__MATCH")
    try:
        found = msgspec.json.decode(answer.content, type=_Answer).data.result
        points = [(round(at / 60) - 1, float(text)) for each in found for at, text in each.values]
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        raise ServerError(_NAME, "does not answer as Prometheus does", _ADVICE) from None
    return {number: value for number, value in points if isfinite(value)}
