"""Secrets in files: ``CDC_REDIS__URL_FILE`` names the file that holds what ``CDC_REDIS__URL`` would say.

So do all settings that are secret, for a secret in the environment is seen by whoever may look at the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from consumer.errors import ConfigError

_ENDING = "_file"
_ALLOWED = "a readable file of text with the secret in it, and nothing else"


def with_secrets(given: Mapping[str, Any], model: type[BaseModel], name: str) -> dict[str, Any]:
    """The settings of one origin, nested as ``model`` is, where secrets stand in place of the files that hold them.

    ``name`` is what the names of the settings in errors begin with.

    Raises:
        ConfigError: a file can't be used, or a secret was given in both ways.

    """
    found = dict(given)
    for field, about in model.model_fields.items():
        kind, setting = about.annotation, f"{name}{field.upper()}"
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(given.get(field), Mapping):
            found[field] = with_secrets(given[field], kind, f"{setting}__")
        elif (kind is SecretStr or SecretStr in get_args(kind)) and (file := f"{field}{_ENDING}") in given:
            if field in given:
                raise ConfigError(setting, f"is set, and {setting}_FILE too", fix="set one of the two")
            found[field] = _read(str(found.pop(file)), f"{setting}_FILE")
    return found


def _read(path: str, setting: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(setting, f"{path or 'no name'}: {error.strerror}", allowed=_ALLOWED) from None
    except ValueError:  # not UTF-8, which the error would quote; or a NUL in the name
        raise ConfigError(setting, f"{path!r}: not text", allowed=_ALLOWED) from None
    if not secret.strip():
        raise ConfigError(setting, f"{path}: is empty", allowed=_ALLOWED)
    return secret
