"""Secrets in files: ``CDC_REDIS__URL_FILE`` names a file with the value of ``CDC_REDIS__URL``.

All secret settings can be given so: everybody who may inspect the process can read a secret in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from consumer.errors import ConfigError

_SUFFIX = "_file"
_ALLOWED = "a readable text file that contains only the secret"


def with_secrets(given: Mapping[str, Any], model: type[BaseModel], name: str) -> dict[str, Any]:
    """The settings of one origin, with the content of secret files in place of their names.

    ``given``: nested as ``model`` is. ``name``: the common beginning of the settings' names in errors.

    Raises:
        ConfigError: a file can't be used, or a secret is given both directly and as a file.

    """
    found = dict(given)
    for field, about in model.model_fields.items():
        kind, setting = about.annotation, f"{name}{field.upper()}"
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(given.get(field), Mapping):
            found[field] = with_secrets(given[field], kind, f"{setting}__")
        elif (kind is SecretStr or SecretStr in get_args(kind)) and (file := f"{field}{_SUFFIX}") in given:
            if field in given:
                raise ConfigError(setting, f"both this and {setting}_FILE are set", fix="set one of the two")
            found[field] = _read(str(found.pop(file)), f"{setting}_FILE")
    return found


def _read(path: str, setting: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(setting, f"{path or 'no name'}: {error.strerror}", allowed=_ALLOWED) from None
    except ValueError:  # not UTF-8 (the error's text would contain the secret), or a NUL in the name
        raise ConfigError(setting, f"{path!r}: not text", allowed=_ALLOWED) from None
    if not secret.strip():
        raise ConfigError(setting, f"{path}: is empty", allowed=_ALLOWED)
    return secret
