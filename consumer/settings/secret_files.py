"""Secrets in files: ``CDC_REDIS__URL_FILE`` names a file with the value of ``CDC_REDIS__URL``.

All secret settings can be given so: everybody who may inspect the process can read a secret in its environment.
An empty name of a file counts as not set, here and in every other setting with the name of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from consumer.errors import ConfigError
from consumer.settings.values import UNSET_IF_EMPTY

_SUFFIX = "_file"
_ALLOWED = "a readable text file that contains only the secret"


def with_secrets(given: Mapping[str, Any], model: type[BaseModel], name: str) -> dict[str, Any]:
    """The settings of one origin, with the content of secret files in place of their names, and without what counts
    as not set.

    ``given``: nested as ``model`` is. ``name``: the common beginning of the settings' names in errors.

    Raises:
        ConfigError: a file can't be used, or a secret is given both directly and as a file.

    """
    fields = model.model_fields
    found = {name: each for name, each in given.items() if each != "" or not _is_unset_if_empty(name, fields)}
    for field, about in fields.items():
        kind, setting, file = about.annotation, f"{name}{field.upper()}", f"{field}{_SUFFIX}"
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(found.get(field), Mapping):
            found[field] = with_secrets(found[field], kind, f"{setting}__")
        elif _is_secret(about) and file in found:
            if field in found:
                raise ConfigError(setting, f"both this and {setting}_FILE are set", fix="set one of the two")
            found[field] = _read(str(found.pop(file)), f"{setting}_FILE")
    return found


def _is_secret(about: FieldInfo) -> bool:
    return about.annotation is SecretStr or SecretStr in get_args(about.annotation)


def _is_unset_if_empty(name: str, fields: Mapping[str, FieldInfo]) -> bool:
    about, secret = fields.get(name), fields.get(name.removesuffix(_SUFFIX))
    return UNSET_IF_EMPTY in about.metadata if about is not None else secret is not None and _is_secret(secret)


def _read(path: str, setting: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(setting, f"{path}: {error.strerror}", allowed=_ALLOWED) from None
    except ValueError:  # not UTF-8 (the error's text would contain the secret), or a NUL in the name
        raise ConfigError(setting, f"{path!r}: not text", allowed=_ALLOWED) from None
    if not secret.strip():
        raise ConfigError(setting, f"{path}: is empty", allowed=_ALLOWED)
    return secret
