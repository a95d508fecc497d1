"""A driver's exception as this program's own: what may pass, which right is missing, what is not there.

Nothing of the driver's own words is kept, for they may quote the account, the address or a row.
"""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from consumer.errors import AccessDenied, NotInDatabase, ServerError, ServerUnavailable

_SERVER = "database"
_URL = "look at CDC_DATABASE__URL: user, password, database name"
_START = "start the database, or look at the network between; CDC_DATABASE__URL if it never worked"

_CREDENTIALS = {1044, 1045, 1049, 1130, 1698, "28000", "28P01", "3D000"}
_GRANT = {1142, 1143, 1227, "42501"}
_TABLE = {1146, "42P01", "3F000"}
_COLUMN = {1054, "42703"}
# While connecting psycopg tells no SQLSTATE. The server's language may be another: then it counts as unreachable.
_REFUSES = re.compile(r'authentication failed|no pg_hba\.conf entry|role ".*" does not exist|database ".*" does not')


def translate(error: SQLAlchemyError, what: str, grant: str = "") -> ServerError:
    """``error`` as one of this program's. ``what`` was asked for, in words; ``grant`` is what it needs.

    An :class:`AccessDenied` without a grant in its advice means that the server refuses the account itself.
    """
    if not isinstance(error, DBAPIError) or error.orig is None:
        return ServerUnavailable(_SERVER, f"{what}: no connection was free in time", "raise CDC_DATABASE__CONNECTIONS")
    code = _code(error.orig)
    if code in _CREDENTIALS or (code is None and _REFUSES.search(str(error.orig))):
        return AccessDenied(_SERVER, "it refuses this account or database", _URL)
    if code in _GRANT:
        return AccessDenied(_SERVER, f"{what}: the account may not, or it is not there", grant and f"grant {grant}")
    if code in _TABLE:
        return NotInDatabase(
            _SERVER, f"{what}: there is no such table", "look at the mapping, and at CDC_DATABASE__URL"
        )
    if code in _COLUMN:
        return NotInDatabase(_SERVER, f"{what}: there is no such column", "look at the mapping")
    return ServerUnavailable(_SERVER, f"{what}: {_kind(error)}", _START)


def is_unknown_column(error: SQLAlchemyError) -> bool:
    """Whether the server says that a column is not there, rather than not ours to read."""
    return isinstance(error, DBAPIError) and error.orig is not None and _code(error.orig) in _COLUMN


def _code(error: BaseException) -> int | str | None:
    """MySQL's number or PostgreSQL's SQLSTATE."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else getattr(error, "sqlstate", None)


def _kind(error: DBAPIError) -> str:
    return f"it can't be reached or does not answer ({type(error.orig).__name__})"
