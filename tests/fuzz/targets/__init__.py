"""The targets of the fuzzer, by their names. A target is a class; several of one kind are in one module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import api, avro, cookies, headers, mapping, recordings, records, settings

TARGETS: Mapping[str, Callable[[], Target]] = {
    "json": records.json,
    "json-schema": records.json_schema,
    "avro": avro.Avro,
    "registry": avro.Answers,
    "keys": records.Keys,
    "headers": headers.Headers,
    "mapping": mapping.Mapping,
    "recordings": recordings.Recordings,
    "api": api.Api,
    "cookies": cookies.Cookies,
    "settings": settings.SettingsTarget,
    "connectors": settings.Connectors,
}
