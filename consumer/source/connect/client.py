"""Kafka Connect: connector files with placeholders, and Connect's REST API.

A connector's file is ``{"name": ..., "config": {...}}``. Keys may contain placeholders too, because the salt of a
masked column is part of a property's name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from pydantic import BaseModel, ValidationError

from consumer.errors import ConfigError, ServerError, ServerUnavailable
from consumer.net.http_client import HttpServer, json_of
from consumer.net.tls import Files
from consumer.settings.faults import fault
from consumer.settings.sections import Connect
from consumer.source.connect.placeholder import PLACEHOLDER, expand
from consumer.source.connect.redaction import Redaction
from consumer.source.connect.status import (
    ConnectorStatus,
    Present,
    first_causes,
    how_to_start,
    read_present,
    read_status,
)

POLL_S = 0.1
_REASON_CHARS = 500
_ADVICE = "start it, or correct CDC_CONNECT__URL"
_RESTART = "remove the cause, then: cdc-consumer connect status --restart"
_SECRET_TYPE = "PASSWORD"  # noqa: S105  # Connect's name of the type

_T = TypeVar("_T")


class Connector(BaseModel, frozen=True, extra="forbid"):
    """A connector's name and configuration. ``repr`` omits the configuration, because it contains secrets."""

    name: str
    config: dict[str, str]

    def __repr__(self) -> str:
        return f"Connector(name={self.name!r})"

    __str__ = __repr__

    def placeholders(self) -> set[str]:
        """The names of the placeholders that are not filled in yet."""
        texts = (self.name, *self.config, *self.config.values())
        return {match["name"] for text in texts for match in PLACEHOLDER.finditer(text)}


def read_connector(path: Path) -> Connector:
    """Read a connector's file without filling in placeholders.

    Raises:
        ConfigError: the file can't be read, or is not a connector's file.
    """
    origin = str(path)
    try:
        return Connector.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(origin, f"can't be read: {error.strerror}", allowed="a connector's file") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        allowed = '{"name": …, "config": {…}}, all values text'
        raise ConfigError(origin, f"{where}{fault(first).problem}", allowed=allowed) from None


def load_connector(path: Path, values: Mapping[str, str]) -> Connector:
    """Read a connector's file and fill in placeholders. Values may contain quotes: JSON is parsed before.

    Raises:
        ConfigError: as :func:`read_connector` and :func:`expand`.
    """
    origin, raw = str(path), read_connector(path)
    config = {expand(key, values, origin): expand(value, values, origin) for key, value in raw.config.items()}
    return Connector(name=expand(raw.name, values, origin), config=config)


class _Plugin(msgspec.Struct):
    kind: str = msgspec.field(name="class")


class _Definition(msgspec.Struct):
    name: str
    type: str


class _Checked(msgspec.Struct):
    name: str
    errors: list[str]


class _Setting(msgspec.Struct):
    value: _Checked


class _Validation(msgspec.Struct):
    configs: list[_Setting]


class ConnectApi:
    """Connect's REST API. Every failure is a ServerError: ServerUnavailable if it is temporary, ConfigError if Connect
    refuses a setting of this program.

    ``redaction`` collects the secrets of each connector that was read or written; no error contains them.
    """

    def __init__(
        self, server: str | Connect, timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """``server``: a URL, or settings with login and TLS files. ``timeout``: of each request, in seconds."""
        settings = Connect(url=server) if isinstance(server, str) else server
        self.url = settings.url.rstrip("/")
        self.redaction = Redaction()
        self._redacted: dict[str, Mapping[str, str]] = {}
        self._server = HttpServer("CDC_CONNECT", settings.url, settings.user, settings.password, Files.of(settings))
        self._client = self._server.client(timeout, transport)
        self._name = f"Kafka Connect {httpx.URL(self.url).copy_with(userinfo=b'')}"  # a URL may contain a password

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def names(self) -> list[str]:
        return self._read(self._call("GET", "/connectors"), list[str])

    def validate(self, connector: Connector) -> dict[str, list[str]]:
        """Connect's errors for the configuration, by setting. Connect also tries the database login."""
        self.learn(connector)
        kind = connector.config.get("connector.class", "")
        known = [each.kind for each in self._read(self._call("GET", "/connector-plugins"), list[_Plugin])]
        if not any(kind in _spellings(each) for each in known):
            return {"connector.class": [f"Connect has no such plugin; it has {', '.join(known)}"]}
        body = {"name": connector.name, **connector.config}
        found = self._read(self._call("PUT", f"{_plugin(kind)}/validate", body), _Validation)
        checked = (each.value for each in found.configs)
        # Connect repeats the same sentence for some settings.
        return {
            self.redaction(each.name): list(dict.fromkeys(self.one_line(error) for error in each.errors))
            for each in checked
            if each.errors
        }

    def apply(self, connector: Connector) -> None:
        """Create the connector or replace its configuration. The same configuration again restarts it."""
        self.learn(connector)
        self._call("PUT", f"{_connector(connector.name)}/config", connector.config)

    def config(self, name: str) -> dict[str, str]:
        return self._read(self._call("GET", f"{_connector(name)}/config"), dict[str, str])

    def connector(self, name: str) -> Connector:
        """A connector in Connect. From now on no error contains its secrets."""
        connector = Connector(name=name, config=self.config(name))
        self.learn(connector)
        return connector

    def find(self, name: str) -> Connector | None:
        """As :meth:`connector`, but None if there is no connector of that name."""
        return self.connector(name) if name in self.names() else None

    def status(self, name: str) -> ConnectorStatus:
        answer = self._call("GET", f"{_connector(name)}/status")
        try:
            return read_status(answer)
        except msgspec.ValidationError:
            raise self._not_connect() from None

    def present(self) -> list[Present]:
        """All connectors with their states, with one request. From now on no error contains their secrets."""
        answer = self._call("GET", "/connectors?expand=info&expand=status")
        try:
            found = read_present(answer)
        except msgspec.ValidationError:
            raise self._not_connect() from None
        for each in found:
            if self._redacted.get(each.name) != each.config:
                self.learn(Connector(name=each.name, config=dict(each.config)))
                self._redacted[each.name] = each.config
        return found

    def restart_failed(self, name: str) -> None:
        """Restart the connector if it failed, and its failed tasks; running parts are not restarted."""
        self._call("POST", f"{_connector(name)}/restart?includeTasks=true&onlyFailed=true")

    def delete(self, name: str) -> None:
        self._call("DELETE", _connector(name))

    def wait_running(self, name: str, timeout_s: float = 60.0, steady_s: float = 0.0) -> None:
        """Return when the connector and its tasks are RUNNING. That does not show which records were read.

        A state counts after it has lasted ``steady_s`` seconds: just after a change or a restart Connect still reports
        the previous state.
        """
        deadline = time.monotonic() + timeout_s
        status, since = None, 0.0
        while True:
            now = time.monotonic()
            before = status
            try:
                status = self.status(name)
            except ServerUnavailable:  # just applied: the worker does not know it yet, or rebalances
                status = None
            if status != before:
                since = now
            if status and now - since >= steady_s:
                if status.running:
                    return
                if status.failed:
                    causes = "; ".join(status.causes(self.redaction)) or "it does not say why"
                    raise ServerError(f"connector {name}", f"failed: {causes}", _RESTART)
                if status.is_stopped:
                    advice = how_to_start(name, status.connector)
                    raise ServerError(f"connector {name}", f"is {status.connector}", advice)
            if now > deadline:
                raise ServerUnavailable(f"connector {name}", f"is not running after {timeout_s:g} s: {status}")
            time.sleep(POLL_S)

    def first_cause(self, status: ConnectorStatus) -> str:
        """The first line of a failed part's trace, without secrets; empty if no part failed."""
        return first_causes(status.traces[0], self.redaction, 1) if status.traces else ""

    def learn(self, connector: Connector) -> None:
        """Add the connector's secrets to ``redaction``. Connect says which settings of a known plugin are secret."""
        self.redaction.learn(connector.config)
        try:
            answer = self._call("GET", _plugin(connector.config.get("connector.class", "")))
            definitions = msgspec.convert(answer, list[_Definition])
        except (ServerError, msgspec.ValidationError):
            return
        self.redaction.learn(connector.config, [each.name for each in definitions if each.type == _SECRET_TYPE])

    def _read(self, answer: object, kind: type[_T]) -> _T:
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError:
            raise self._not_connect() from None

    def _not_connect(self) -> ServerError:
        return ServerError(self._name, "answers, but is not Kafka Connect", _ADVICE)

    def one_line(self, text: str) -> str:
        """A text from Connect for a log line or an error: on one line, without secrets."""
        return " ".join(self.redaction(text).split())

    def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.RequestError as error:
            if (wrong := self._server.unreached(self._name)) is not None:
                raise wrong from None
            raise ServerUnavailable(self._name, f"{type(error).__name__}: {error}", _ADVICE) from None
        if answer.is_success:
            try:
                return json_of(answer) if answer.content else None
            except ValueError:
                raise ServerError(self._name, "answers, but not with JSON", _ADVICE) from None
        if answer.status_code == 400 and (wrong := self._server.unreached(self._name)) is not None:
            raise wrong  # some servers answer 400 to a client without TLS
        if answer.status_code in (401, 403):
            raise self._server.refused(self._name, answer.status_code)
        reason = self.one_line(_reason(answer))[:_REASON_CHARS]
        problem = f"{method} {path}: {answer.status_code} {reason}"
        # 404: not known yet, or deleted; 409: a rebalance is in progress; 5xx: a worker starts or stops.
        is_temporary = answer.status_code in (404, 409) or answer.is_server_error
        raise (ServerUnavailable if is_temporary else ServerError)(self._name, problem)


def _connector(name: str) -> str:
    return f"/connectors/{quote(name, safe='')}"


def _spellings(plugin: str) -> tuple[str, ...]:
    """The names that Connect accepts for a plugin: its class, without the package, and without ``Connector``."""
    short = plugin.rpartition(".")[2]
    return plugin, short, short.removesuffix("Connector")


def _plugin(kind: str) -> str:
    return f"/connector-plugins/{quote(kind, safe='')}/config"


def _reason(answer: httpx.Response) -> str:
    try:
        found = json_of(answer)
    except ValueError:
        return answer.reason_phrase
    return str(found["message"]) if isinstance(found, dict) and "message" in found else answer.reason_phrase
