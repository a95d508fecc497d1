"""What differs between a connector's file and the configuration that runs, setting by setting, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import msgspec

from consumer.source.connect.redaction import HIDDEN, Redaction


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs; None where it is not set. Of a secret both values are ``***``."""

    setting: str
    running: str | None
    file: str | None


def differences(
    name: str, running: Mapping[str, str], file: Mapping[str, str], redaction: Redaction
) -> Iterator[Difference]:
    """By name of the setting. ``redaction`` has learned the secrets of both.

    Connect adds the connector's ``name`` to a configuration, which is no difference.
    """
    here, there = {"name": name} | dict(file), {"name": name} | dict(running)
    by_shown: dict[str, list[str]] = {}
    for setting in sorted(here.keys() | there.keys()):
        if here.get(setting) != there.get(setting):
            by_shown.setdefault(redaction(setting), []).append(setting)
    for shown, settings in sorted(by_shown.items()):
        is_secret = len(settings) > 1 or redaction.is_secret(settings[0])  # several: their names differ in a secret

        def value(config: Mapping[str, str], settings: list[str] = settings, is_secret: bool = is_secret) -> str | None:
            found = [config[setting] for setting in settings if setting in config]
            return (HIDDEN if is_secret else redaction(found[0])) if found else None

        yield Difference(shown, value(there), value(here))


def to_text(difference: Difference) -> str:
    """One line."""
    setting, running, file = difference.setting, difference.running, difference.file
    if running is None:
        return f"  + {setting}: not set where it runs; the file says {file!r}"
    if file is None:
        return f"  - {setting}: runs with {running!r}; the file does not set it"
    if running == file == HIDDEN:
        return f"  ~ {setting}: differs, {HIDDEN}"
    return f"  ~ {setting}: runs with {running!r}; the file says {file!r}"


def to_json(name: str, is_there: bool, found: list[Difference]) -> str:
    """One JSON object in one line."""
    body = {"connector": name, "exists": is_there, "differences": [asdict(each) for each in found]}
    return msgspec.json.encode(body).decode()
