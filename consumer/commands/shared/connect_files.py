"""The files of ``connect/``: in a wheel beside this module, in a checkout in ``connect/``."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def grants_text(server: str) -> str:
    """The SQL with the grants for ``server``: mysql, mariadb or postgres."""
    return _text("grants", f"{server}.sql")


def connector_text(server: str) -> str:
    """The connector file for ``server``."""
    return _text("", f"{server}.json")


def _text(folder: str, name: str) -> str:
    packed = _HERE / "connect"
    place = packed if packed.is_dir() else _HERE.parents[2] / "connect"
    return (place / folder / name).read_text(encoding="utf-8")
