"""Settings: a TOML file and the environment, and files of connectors with their placeholders."""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import httpx
import tomli_w

from consumer.commands.shared.options import placeholders_of
from consumer.errors import ConfigError, ServerError
from consumer.settings.sources import Settings, load
from consumer.settings.variables import PLACEHOLDERS, setting_names
from consumer.source.connect.client import ConnectApi, Connector, load_connector
from tests.fuzz.damage import any_value, damaged_bytes, damaged_document, damaged_text
from tests.fuzz.target import CANARY, Broken, Plain, check_error, check_text
from tests.fuzz.targets.mapping import tomlable
from tests.support.stack.login import PROJECT

_FILE: dict[str, Any] = {
    "kafka": {"bootstrap_servers": "a:9092,b:9092", "group_id": "g", "topic_prefix": "t", "topics": "a.b.c"},
    "redis": {"url": f"redis://user:{CANARY}@host:6379/0", "timeout_ms": 1000},
    "registry": {"url": "http://registry:8081", "user": "u", "password": CANARY},
    "database": {"url": f"mysql://reader:{CANARY}@host/trading"},
    "api": {"token": CANARY * 3, "port": 8080, "jwt": {"secret": CANARY * 4, "audience": "a", "role": "r"}},
    "source": {"database": "trading", "accept_missing_before": False},
    "audit": {"settle_s": 0.5},
    "log": {"level": "info", "format": "json"},
    "metrics": {"port": 0},
}
_TEXTS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1e9",
        "true",
        "nan",
        "inf",
        "9" * 5000,
        "[",
        "{",
        '{"a":',
        "[1,2]",
        '{"port": 1}',
        "a,b",
        ",",
    ),
    *("redis://", "redis://:x@h:y/0", "redis+cluster://@", "rediss://[::1/0", "http://", "mysql://u:x@h:99999/x", ":"),
    *(
        "postgresql://u:%zz@/",
        "http://u:x@h",
        "localhost:9092",
        "SASL_SSL",
        "\x7f",
        "é",
        "a b",
        "a\nb",
        "/dev/null",
        "/",
    ),
    *("$", "%", "redis://h/9" + "9" * 50, "redis://h:6379/0", "mysql://h/t", "http://h:1", "\u2028"),
)
_SECRET_TEXTS = (
    *(CANARY, f"redis://:{CANARY}@h:x/0", f"redis+cluster://{CANARY}@", f"rediss://u:{CANARY}@[::1/0", f"://{CANARY}"),
    *(f"mysql://u:{CANARY}@h:99999/x", f"postgresql://u:{CANARY}%zz@/", f"http://u:{CANARY}@h", f"sqlite:///{CANARY}"),
    *(f"{CANARY}\n", f"redis://u:{CANARY}@h/0?{CANARY}={CANARY}", f"mysql://u:{CANARY}@h/t?ssl={CANARY}"),
)


class SettingsTarget:
    """A settings file and an environment. Secrets are the canary."""

    name = "settings"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "settings.toml"

    def make(self, chance: Random) -> Plain:
        """Some settings, each of them mostly with a value of another kind."""
        names = _names()
        environment = {}
        for _ in range(chance.choice([0, 1, 1, 2, 4])):
            name = chance.choice(names)
            is_secret = f"{name}_FILE" in names and chance.random() < 0.8
            environment[name] = chance.choice(_SECRET_TEXTS if is_secret else _TEXTS)
        if chance.random() < 0.1:
            environment[damaged_text(chance.choice(names), chance)] = "x"
        text = tomli_w.dumps(tomlable(_FILE if chance.random() < 0.5 else damaged_document(_FILE, chance, _TEXTS)))
        data = text.encode() if chance.random() < 0.8 else damaged_bytes(text.encode(), chance)
        found = {name: value for name, value in environment.items() if name and "=" not in name and "\0" not in name}
        return {"environment": found, "file": data}

    def attempt(self, given: Plain) -> str:
        self._file.write_bytes(given["file"])
        environment = {name: value.replace("\0", "") for name, value in given["environment"].items()}
        with patch.dict(os.environ, environment, clear=True):
            try:
                settings = load({}, self._file)
            except ConfigError as error:
                is_named = error.field.startswith("CDC_") or str(self._file) in error.field
                if not is_named and error.field.upper() not in {name.upper() for name in environment}:
                    raise Broken(f"an error that names no setting: {error}") from None
                return check_error(error)
            if CANARY in repr(settings):
                raise Broken(f"settings that show a secret: {settings!r}")
            try:
                placeholders_of(settings)
            except ConfigError as error:
                return f"placeholders: {check_error(error)}"
        return "loaded"

    def close(self) -> None:
        self._folder.cleanup()


@cache
def _names() -> list[str]:
    return [*setting_names(Settings), *sorted(PLACEHOLDERS)]


class Connectors:
    """Files of connectors, and Connect's answers about them."""

    name = "connectors"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "connector.json"
        self._given: Plain = {}

    def make(self, chance: Random) -> Plain:
        """One of this project's files, values of its placeholders, and an answer of Connect to every question."""
        text = chance.choice(_files())
        kind = chance.random()
        if kind < 0.4:
            text = json.dumps(damaged_document(json.loads(text), chance, ("${A}", "${A:-b}", "${A:-${B}}", "${", "$A")))
        data = text.encode() if kind < 0.8 else damaged_bytes(text.encode(), chance)
        values = {name: chance.choice(["v", "1", "", '"', "\\"]) for name in sorted(PLACEHOLDERS)}
        values |= {name: CANARY for name in values if "PASSWORD" in name or "SALT" in name}
        if chance.random() < 0.5:
            values.pop(chance.choice(sorted(values)))
        answer = damaged_document(chance.choice(_ANSWERS), chance) if chance.random() < 0.8 else any_value(chance)
        body = json.dumps(answer).encode()
        return {
            "file": data,
            "values": values,
            "status": chance.choice([200] * 6 + [201, 204, 400, 401, 403, 404, 409, 500, 503]),
            "body": body if chance.random() < 0.8 else damaged_bytes(body, chance),
        }

    def attempt(self, given: Plain) -> str:
        self._given = given
        self._file.write_bytes(given["file"])
        try:
            connector = load_connector(self._file, given["values"])
        except ConfigError as error:
            return f"file: {check_error(error)}"
        if CANARY in repr(connector):
            raise Broken(f"a connector that shows a secret: {connector!r}")
        done = [self._ask(connector, question) for question in ("names", "status", "present", "config", "validate")]
        return " ".join(sorted(set(done)))

    def close(self) -> None:
        self._folder.cleanup()

    def _ask(self, connector: Connector, question: str) -> str:
        transport = httpx.MockTransport(lambda _: httpx.Response(self._given["status"], content=self._given["body"]))
        with ConnectApi("http://connect.invalid:8083", transport=transport) as api:
            try:
                if question == "names":
                    api.names()
                elif question == "status":
                    status = api.status(connector.name)
                    check_text(" ".join(status.causes(api.redaction)), ())
                elif question == "present":
                    api.present()
                elif question == "config":
                    api.config(connector.name)
                else:
                    api.validate(connector)
            except (ServerError, ConfigError) as error:
                return check_error(error, must_not_have=())
        return "answered"


_STATUS = {
    "name": "t",
    "connector": {"state": "RUNNING"},
    "tasks": [{"id": 0, "state": "FAILED", "trace": "a\n\tat b"}],
}
_ANSWERS: tuple[Any, ...] = (
    *(["a", "b"], _STATUS, {"a": {"status": _STATUS, "info": {"config": {"database.password": CANARY}}}}, {}),
    *({"error_code": 409, "message": "rebalance"}, {"configs": [{"value": {"name": "n", "errors": ["e"]}}]}),
    *([{"class": "io.debezium.connector.mysql.MySqlConnector"}], [{"name": "database.password", "type": "PASSWORD"}]),
)


@cache
def _files() -> list[str]:
    return [path.read_text() for path in sorted((PROJECT / "connect").glob("*.json"))]
