"""The optional packages: which extra brings them, and the one sentence that is said where one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from consumer.errors import ConfigError

# The modules that the program imports, by the extra of pyproject.toml that brings them.
EXTRAS = {
    "api": ("fastapi", "uvicorn", "jwt"),
    "mysql": ("sqlalchemy", "pymysql"),
    "postgres": ("sqlalchemy", "psycopg"),
    "otel": ("opentelemetry",),
    "confluent": ("confluent_kafka",),
    "codecs": ("lz4", "zstandard", "snappy"),
}
_OF_DATABASE = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}


def advice(extra: str) -> str:
    """How an extra is installed. By a file each time: the project is on no index, where the name may be anybody's."""
    return (
        f"pip install '.[{extra}]' in the checkout, or from the wheel's file:"
        f" pip install './cdc_consumer-VERSION-py3-none-any.whl[{extra}]'"
    )


def of_database(url: str) -> str:
    """The extra with the driver for a database URL: MySQL's too where it says nothing that is known."""
    return _OF_DATABASE.get(url.partition("://")[0].partition("+")[0], "mysql")


def need(extra: str, name: str) -> None:
    """Refuse to go on without an extra; ``name`` is the setting or the command that needs it.

    Raises:
        ConfigError: a package of it is not installed.
    """
    for package in EXTRAS[extra]:
        if find_spec(package) is None:
            raise _missing(package, extra, name)


def refusal(error: ModuleNotFoundError) -> ConfigError | None:
    """What an import that failed comes to: a missing extra, or None where it is a mistake of the program's own."""
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    return None if extra is None else _missing(package, extra, "this command")


def _missing(package: str, extra: str, name: str) -> ConfigError:
    return ConfigError(name, f"the package {package} is not installed", fix=advice(extra))
