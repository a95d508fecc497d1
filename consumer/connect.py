"""Kafka Connect: connector files with placeholders, and the REST calls that apply them.

A connector's file is ``{"name": ..., "config": {...}}``. Placeholders ``${NAME}`` and
``${NAME:-default}`` stand for what differs between deployments and for secrets, in keys too (the
salt of a masked column is part of a property's name), so that the files can be kept in git.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from pydantic import BaseModel, ValidationError

from consumer.errors import ConfigError, ServerError, ServerUnavailable

PLACEHOLDER = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
SECRET_KEY = re.compile(r"password|secret|salt|jaas", re.IGNORECASE)
TRACE_LINES = 3
POLL_S = 0.1


class Connector(BaseModel, frozen=True, extra="forbid"):
    """A connector as Connect takes it. Its ``repr`` leaves the configuration out: it holds secrets."""

    name: str
    config: dict[str, str]

    def __repr__(self) -> str:
        return f"Connector(name={self.name!r})"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class ConnectorStatus:
    """States as Connect names them (RUNNING, FAILED, ...), and the trace of the first failed part."""

    connector: str
    tasks: tuple[str, ...]
    trace: str = field(default="", repr=False)

    @property
    def running(self) -> bool:
        return self.connector == "RUNNING" and bool(self.tasks) and set(self.tasks) == {"RUNNING"}

    @property
    def failed(self) -> bool:
        return "FAILED" in (self.connector, *self.tasks)


def expand(text: str, values: Mapping[str, str], origin: str) -> str:
    """``text`` with its placeholders filled in; ``origin`` is named when one has neither value nor default."""

    def fill(match: re.Match[str]) -> str:
        value = values.get(match["name"], match["default"])
        if value is None:
            raise ConfigError(match["name"], f"has no value, and {origin} needs one")
        return value

    return PLACEHOLDER.sub(fill, text)


def load_connector(path: Path, values: Mapping[str, str]) -> Connector:
    """Read a connector's file. Expansion follows parsing, so a value may hold quotes and backslashes."""
    origin = str(path)
    try:
        raw = Connector.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(origin, f"can't be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigError(origin, f"{where}: {first['msg']}", "name and config, values as text") from error
    config = {expand(key, values, origin): expand(value, values, origin) for key, value in raw.config.items()}
    return Connector(name=expand(raw.name, values, origin), config=config)


class ConnectApi:
    """Connect's REST API. Every failure is a ServerError; one that may pass is a ServerUnavailable."""

    def __init__(self, url: str, timeout: float = 30.0, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(base_url=self.url, timeout=timeout, transport=transport)
        self._secrets: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def names(self) -> list[str]:
        found = self._call("GET", "/connectors")
        if not isinstance(found, list):
            raise ServerError(f"Kafka Connect {self.url}", "answers, but is no Kafka Connect")
        return [str(name) for name in found]

    def validate(self, connector: Connector) -> dict[str, list[str]]:
        """What Connect has against the configuration, by setting; it tries the database's login too."""
        self._keep_secret(connector)
        kind = connector.config.get("connector.class", "")
        path = f"/connector-plugins/{kind}/config/validate"
        body = {"name": connector.name, **connector.config}
        found = (each["value"] for each in self._call("PUT", path, body)["configs"])
        return {each["name"]: [self._redact(problem) for problem in each["errors"]] for each in found if each["errors"]}

    def apply(self, connector: Connector) -> None:
        """Create the connector or give it a new configuration; the same one again changes nothing."""
        self._keep_secret(connector)
        self._call("PUT", f"/connectors/{connector.name}/config", connector.config)

    def config(self, name: str) -> dict[str, str]:
        return dict(self._call("GET", f"/connectors/{name}/config"))

    def connector(self, name: str) -> Connector:
        """A connector that runs; from now on no error quotes its secrets."""
        connector = Connector(name=name, config={key: str(value) for key, value in self.config(name).items()})
        self._keep_secret(connector)
        return connector

    def status(self, name: str) -> ConnectorStatus:
        found = self._call("GET", f"/connectors/{name}/status")
        parts = [found["connector"], *found["tasks"]]
        trace = next((part["trace"] for part in parts if part.get("trace")), "")
        return ConnectorStatus(parts[0]["state"], tuple(part["state"] for part in parts[1:]), trace)

    def delete(self, name: str) -> None:
        self._call("DELETE", f"/connectors/{name}")

    def wait_running(self, name: str, timeout_s: float = 60.0) -> None:
        """Return once the connector and its tasks run; RUNNING says nothing about what has been read yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                status: ConnectorStatus | None = self.status(name)
            except ServerUnavailable:  # just applied: the worker still learns of it, or rebalances
                status = None
            if status and status.running:
                return
            if status and status.failed:
                raise ServerError(f"connector {name}", f"failed: {self.first_lines(status.trace)}")
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"connector {name}", f"is not running after {timeout_s:g} s: {status}")
            time.sleep(POLL_S)

    def first_lines(self, trace: str, count: int = TRACE_LINES) -> str:
        """The causes that a trace names, without secrets."""
        causes = [line.strip() for line in trace.splitlines() if not line.startswith("\tat ")]
        return self._redact(" / ".join(causes[:count]))

    def _keep_secret(self, connector: Connector) -> None:
        """Remember values that no error may show, as Connect's own messages may quote them."""
        config = connector.config
        self._secrets |= {value for key, value in config.items() if value and SECRET_KEY.search(key)}
        self._secrets |= {key.rpartition("with.salt.")[2] for key in config if "with.salt." in key}

    def _redact(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise ServerUnavailable(f"Kafka Connect {self.url}", f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            try:
                return answer.json() if answer.content else None
            except ValueError:
                raise ServerError(f"Kafka Connect {self.url}", "answers, but not with JSON") from None
        problem = f"{method} {path}: {answer.status_code} {self._redact(_reason(answer))}"
        # 404: not known yet, or no longer; 409: a rebalance is under way; 5xx: a worker that starts or stops.
        passing = answer.status_code in (404, 409) or answer.is_server_error
        raise (ServerUnavailable if passing else ServerError)(f"Kafka Connect {self.url}", problem)


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return answer.reason_phrase
