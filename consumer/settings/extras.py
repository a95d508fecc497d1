"""The optional packages: which extra contains them, and the error text if one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from consumer.errors import ConfigError

# The modules that the program imports, by the extra of pyproject.toml that installs them.
EXTRAS = {
    "api": ("fastapi", "uvicorn", "jwt", "jinja2"),
    "mysql": ("sqlalchemy", "pymysql"),
    "postgres": ("sqlalchemy", "psycopg"),
    "otel": ("opentelemetry",),
    "confluent": ("confluent_kafka",),
    "codecs": ("lz4", "zstandard", "snappy"),
}
_OF_DATABASE = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}


def advice(extra: str) -> str:
    """How to install an extra. From a file: the project is on no index, so anybody could register its name there."""
    return (
        f"pip install '.[{extra}]' in the checkout, or from the wheel's file:"
        f" pip install './cdc_consumer-VERSION-py3-none-any.whl[{extra}]'"
    )


def of_database(url: str) -> str:
    """The extra with the driver for a database URL; MySQL's extra if the URL's scheme is not known."""
    return _OF_DATABASE.get(url.partition("://")[0].partition("+")[0], "mysql")


def need(extra: str, name: str) -> None:
    """Raise an error if a package of an extra is not installed; ``name``: the setting or command that needs it.

    Raises:
        ConfigError: a package of the extra is not installed.
    """
    for package in EXTRAS[extra]:
        if find_spec(package) is None:
            raise _missing(package, extra, name)


def refusal(error: ModuleNotFoundError) -> ConfigError | None:
    """The error for a failed import: a missing extra, or None if the module belongs to no extra (a bug)."""
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    return None if extra is None else _missing(package, extra, "this command")


def _missing(package: str, extra: str, name: str) -> ConfigError:
    return ConfigError(name, f"the package {package} is not installed", fix=advice(extra))
