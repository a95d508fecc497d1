"""The differences between a connector's file and its running configuration, setting by setting, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import msgspec

from consumer.source.connect.redaction import HIDDEN, Redaction


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs; None if it is not set. For a secret both values are ``***``."""

    setting: str
    running: str | None
    file: str | None


def differences(
    name: str, running: Mapping[str, str], file: Mapping[str, str], redaction: Redaction
) -> Iterator[Difference]:
    """The differences, sorted by setting. ``redaction`` must know the secrets of both configurations.

    Connect adds the connector's ``name`` to a configuration; that is no difference.
    """
    in_file, in_connect = {"name": name} | dict(file), {"name": name} | dict(running)
    by_shown: dict[str, list[str]] = {}
    for setting in sorted(in_file.keys() | in_connect.keys()):
        if in_file.get(setting) != in_connect.get(setting):
            by_shown.setdefault(redaction(setting), []).append(setting)
    for shown, settings in sorted(by_shown.items()):
        is_secret = len(settings) > 1 or redaction.is_secret(settings[0])  # several: only a secret differs

        def value(config: Mapping[str, str], settings: list[str] = settings, is_secret: bool = is_secret) -> str | None:
            found = [config[setting] for setting in settings if setting in config]
            return (HIDDEN if is_secret else redaction(found[0])) if found else None

        yield Difference(shown, value(in_connect), value(in_file))


def to_text(difference: Difference) -> str:
    """One line."""
    setting, running, file = difference.setting, difference.running, difference.file
    if running is None:
        return f"  + {setting}: not set in Connect; the file has {file!r}"
    if file is None:
        return f"  - {setting}: Connect has {running!r}; not set in the file"
    if running == file == HIDDEN:
        return f"  ~ {setting}: differs, {HIDDEN}"
    return f"  ~ {setting}: Connect has {running!r}; the file has {file!r}"


def to_json(name: str, is_there: bool, found: list[Difference]) -> str:
    """One JSON object on one line."""
    body = {"connector": name, "exists": is_there, "differences": [asdict(each) for each in found]}
    return msgspec.json.encode(body).decode()
