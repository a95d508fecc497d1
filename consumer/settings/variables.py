"""The environment variables that begin with ``CDC_``: whose each is, and what one says of another.

Pure. A variable is a setting's, or stands in a connector file or in the grants of ``connect/``. The two ways to say one
value, such as ``CDC_KAFKA__TOPIC_PREFIX`` and ``CDC_TOPIC_PREFIX``, are filled from each other here, so one is enough.
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
_OF_EACH = ("HOST", "PORT", "DATABASE", "USER", "PASSWORD", "SSL_MODE")
# A test compares them with the files in connect/, which an installed program does not have.
PLACEHOLDERS = frozenset(
    {
        *(f"CDC_{kind}_{name}" for kind in _DATABASES for name in _OF_EACH),
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
    }
)


def refuse_strangers(environment: Mapping[str, str], model: type[BaseModel], more: Collection[str] = ()) -> None:
    """Refuse a variable that is nobody's: most likely a name with a slip in it, whose value would be missed.

    ``model`` has the settings; ``more`` are names that the files of this command mention.

    Raises:
        ConfigError: naming the first one and the nearest right name.
    """
    known = {*setting_names(model), *PLACEHOLDERS, *more, "CDC_CONFIG"}
    for name in sorted(environment):
        upper = name.upper()
        if upper.startswith(PREFIX) and upper not in known and not _is_of_a_service(upper, environment):
            raise no_such(name, known)


def no_such(name: str, known: Collection[str]) -> ConfigError:
    """That there is no setting ``name``, with the nearest that there is."""
    near = [each for each in sorted(known) if _bare(each) == _bare(name)]
    near = near or get_close_matches(name.upper(), sorted(known), 1, 0.75)
    fix = near[0] if near else f"another name, if it is not this program's; its own begin with {PREFIX}"
    return ConfigError(name, "no such setting", fix=fix)


def setting_names(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """The variables of all settings, of their sections, and of the files of those that are secret."""
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
    """What the connector's variables say of settings, for those that are set nowhere; nested as the settings are."""
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
    """The values of placeholders in connector files and grants: the environment's, else what settings say of them.

    A variable that is empty counts as not set, as in a shell's ``${NAME:-default}``.
    """
    found = {"CDC_TOPIC_PREFIX": topic_prefix}
    if bootstrap_servers is not None:
        found["CDC_CONNECT_BOOTSTRAP_SERVERS"] = bootstrap_servers
    if database_url is not None:
        found |= _of_url(database_url)
    return found | {name: value for name, value in environment.items() if value}


def _of_url(url: str) -> dict[str, str]:
    try:
        parts = urlsplit(url)
        port = str(parts.port or "")
    except ValueError:  # of no form; who needs the database says so
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


def _is_of_a_service(name: str, environment: Mapping[str, str]) -> bool:
    """Whether Kubernetes added it: for each Service of the namespace, one called ``cdc-consumer`` too."""
    found = re.fullmatch(r"(CDC_\w+?)_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)", name)
    return found is not None and f"{found[1]}_SERVICE_HOST" in environment


def _bare(name: str) -> str:
    return name.upper().replace("_", "")
