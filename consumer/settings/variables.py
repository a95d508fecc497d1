"""The environment variables that begin with ``CDC_``: which setting or file each belongs to.

Pure. A variable is a setting, or a placeholder in a connector file or in the grants of ``connect/``. Some values have
two names, such as ``CDC_KAFKA__TOPIC_PREFIX`` and ``CDC_TOPIC_PREFIX``: if only one is set, it is used for both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args
from urllib.parse import quote, unquote, urlsplit

from pydantic import AliasChoices, BaseModel, SecretStr

from consumer.errors import ConfigError

PREFIX = "CDC_"
_DATABASES = {"MYSQL": "mysql", "MARIADB": "mariadb", "POSTGRES": "postgresql"}
_KINDS = {"mysql": "MYSQL", "mariadb": "MARIADB", "postgresql": "POSTGRES", "postgres": "POSTGRES"}
_PORTS = {"MYSQL": "3306", "MARIADB": "3306", "POSTGRES": "5432"}
_PARTS = ("HOST", "PORT", "DATABASE", "USER", "PASSWORD", "SSL_MODE")
# A test compares them with the files in connect/, which an installed program does not have.
PLACEHOLDERS = frozenset(
    {
        *(f"CDC_{kind}_{name}" for kind in _DATABASES for name in _PARTS),
        "CDC_MYSQL_SERVER_ID",
        "CDC_MARIADB_SERVER_ID",
        "CDC_POSTGRES_SCHEMA",
        "CDC_POSTGRES_PUBLICATION",
        "CDC_POSTGRES_SLOT",
        "CDC_READER_USER",
        "CDC_READER_PASSWORD",
        "CDC_TOPIC_PREFIX",
        "CDC_CONNECT_BOOTSTRAP_SERVERS",
        "CDC_MASK_SALT",
        "CDC_PARTITIONS",
        "CDC_REPLICATION_FACTOR",
        "CDC_COMPACTION_LAG_MS",
        "CDC_RETENTION_MS",
        "CDC_HEARTBEAT_MS",
        "CDC_RECONNECT_MS",
    }
)


def refuse_unknown(environment: Mapping[str, str], model: type[BaseModel], more: Collection[str] = ()) -> None:
    """Refuse a variable that is neither a setting nor a placeholder: it is probably a misspelt name.

    ``model``: the settings. ``more``: names that the files of this command mention.

    Raises:
        ConfigError: the first such variable, and the nearest known name.
    """
    known = {*setting_names(model), *PLACEHOLDERS, *more, "CDC_CONFIG"}
    for name in sorted(environment):
        upper = name.upper()
        if upper.startswith(PREFIX) and upper not in known and not _is_from_kubernetes(upper, environment):
            raise no_such(name, known)


def no_such(name: str, known: Collection[str]) -> ConfigError:
    """The error for a setting ``name`` that does not exist, with the nearest known name; or that is set twice."""
    if name.upper() in known:
        return ConfigError(name, "the setting is set under its other name too", fix="remove one of the two")
    near = [each for each in sorted(known) if _bare(each) == _bare(name)]
    near = near or get_close_matches(name.upper(), sorted(known), 1, 0.75)
    fix = near[0] if near else f"rename it if it is for another program: names with {PREFIX} belong to this one"
    return ConfigError(name, "no such setting", fix=fix)


def setting_names(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """The variables of all settings and sections, and the ``…_FILE`` variables of secret settings."""
    for field, about in model.model_fields.items():
        kind, alias = about.annotation, about.validation_alias
        for each in alias.choices if isinstance(alias, AliasChoices) else [field]:
            name = f"{prefix}{str(each).upper()}"
            yield name
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from setting_names(kind, f"{name}__")
            elif kind is SecretStr or SecretStr in get_args(kind):
                yield f"{name}_FILE"


def implied_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Settings that follow from the connector's variables, for those that are set nowhere; nested as the settings."""
    found: dict[str, Any] = {}
    if prefix := environment.get("CDC_TOPIC_PREFIX"):
        found["kafka"] = {"topic_prefix": prefix}
    if servers := environment.get("CDC_CONNECT_BOOTSTRAP_SERVERS"):
        found.setdefault("kafka", {})["bootstrap_servers"] = servers
    kinds = [kind for kind in _DATABASES if environment.get(f"CDC_{kind}_HOST")]
    if len(kinds) == 1 and (password := environment.get("CDC_READER_PASSWORD")):
        found["database"] = {"url": _url(kinds[0], password, environment)}
    return found


def placeholders(
    environment: Mapping[str, str], topic_prefix: str, bootstrap_servers: str | None, database_url: str | None
) -> dict[str, str]:
    """The values of placeholders in connector files and grants: from the environment, else from the settings.

    An empty variable counts as not set, as in a shell's ``${NAME:-default}``.
    """
    found = {"CDC_TOPIC_PREFIX": topic_prefix}
    if bootstrap_servers is not None:
        found["CDC_CONNECT_BOOTSTRAP_SERVERS"] = bootstrap_servers
    if database_url is not None:
        found |= _from_url(database_url)
    return found | {name: value for name, value in environment.items() if value}


def _from_url(url: str) -> dict[str, str]:
    try:
        parts = urlsplit(url)
        port = str(parts.port or "")
    except ValueError:  # not a URL; the commands that need the database report it
        return {}
    kind = _KINDS.get(parts.scheme.partition("+")[0])
    if kind is None:
        return {}
    found = {
        f"CDC_{kind}_HOST": parts.hostname or "",
        f"CDC_{kind}_PORT": port,
        f"CDC_{kind}_DATABASE": unquote(parts.path[1:]),
        "CDC_READER_USER": unquote(parts.username or ""),
        "CDC_READER_PASSWORD": unquote(parts.password or ""),
    }
    return {name: value for name, value in found.items() if value}


def _url(kind: str, password: str, environment: Mapping[str, str]) -> str:
    def of(name: str, default: str) -> str:
        return environment.get(f"CDC_{name}") or default

    host = of(f"{kind}_HOST", "")
    login = f"{quote(of('READER_USER', 'cdc_reader'), safe='')}:{quote(password, safe='')}"
    place = f"[{host}]" if ":" in host else host
    path = quote(of(f"{kind}_DATABASE", "trading"), safe="")
    schema = of("POSTGRES_SCHEMA", "public") if kind == "POSTGRES" else "public"
    options = "" if schema == "public" else f"?options=-csearch_path%3D{quote(schema, safe='')}"
    return f"{_DATABASES[kind]}://{login}@{place}:{of(f'{kind}_PORT', _PORTS[kind])}/{path}{options}"


def _is_from_kubernetes(name: str, environment: Mapping[str, str]) -> bool:
    """Whether Kubernetes set it: it adds variables for each Service, also for one named ``cdc-consumer``."""
    found = re.fullmatch(r"(CDC_\w+?)_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)", name)
    return found is not None and f"{found[1]}_SERVICE_HOST" in environment


def _bare(name: str) -> str:
    return name.upper().replace("_", "")
