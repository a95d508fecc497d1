"""The connections to the database of ``CDC_DATABASE__URL``."""

from __future__ import annotations

from sqlalchemy import create_engine, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from consumer.database.values import options, read_as_text
from consumer.errors import ConfigError
from consumer.settings import extras
from consumer.settings.sections import Database as Settings

URL_SETTING = "CDC_DATABASE__URL"
_ALLOWED = (
    "mysql://, mariadb:// or postgresql://user:password@host:port/database, special characters of the password"
    " percent-encoded"
)
_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}


def engine_of(settings: Settings) -> Engine:
    """A pool of read-only connections. Does not connect yet.

    Raises:
        ConfigError: the URL is missing or can't be used, or its driver is not installed.
    """
    if settings.url is None:
        raise ConfigError(URL_SETTING, "not set, but this command reads the database", allowed=_ALLOWED)
    seconds = settings.timeout_ms / 1000
    extras.need(extras.of_database(settings.url.get_secret_value()), URL_SETTING)
    try:
        url = make_url(settings.url.get_secret_value())
        kind = url.get_backend_name()
        if kind not in ("mysql", "mariadb", "postgresql", "postgres"):
            raise ConfigError(URL_SETTING, "not a database that this program can read", allowed=_ALLOWED)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",  # each statement sees the latest commits
            pool_size=settings.connections,
            max_overflow=0,
            pool_timeout=seconds,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=options(kind, seconds),
        )
        if kind.startswith("postgres"):
            read_as_text(engine)
        return engine
    except (ArgumentError, NoSuchModuleError, ValueError):
        # The parser's text may contain part of the password.
        raise ConfigError(URL_SETTING, "not a database URL", allowed=_ALLOWED) from None
