"""A database driver's exception as one of this program's errors: temporary, missing right, or missing table.

The driver's text is dropped, because it may contain the account, the address or a row.
"""

from __future__ import annotations

import re

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from consumer.errors import AccessDenied, NotInDatabase, ServerError, ServerUnavailable

_SERVER = "database"
_URL = "check CDC_DATABASE__URL: user, password, database name"
_START = "start the database, or check the network; check CDC_DATABASE__URL if it never worked"

_CREDENTIALS = {1044, 1045, 1049, 1130, 1698, "28000", "28P01", "3D000"}
_GRANT = {1142, 1143, 1227, "42501"}
_TABLE = {1146, "42P01", "3F000"}
_COLUMN = {1054, "42703"}
# While connecting, psycopg gives no SQLSTATE. If the server's language is not English, it counts as unreachable.
_REFUSES = re.compile(r'authentication failed|no pg_hba\.conf entry|role ".*" does not exist|database ".*" does not')


def translate(error: SQLAlchemyError, what: str, grant: str = "") -> ServerError:
    """``error`` as one of this program's errors. ``what``: the operation, as text; ``grant``: the right that it needs.

    An :class:`AccessDenied` without a grant in its advice means that the server refuses the account.
    """
    if not isinstance(error, DBAPIError) or error.orig is None:
        return ServerUnavailable(_SERVER, f"{what}: no connection was free in time", "raise CDC_DATABASE__CONNECTIONS")
    code = _code(error.orig)
    if refuses_account(error):
        return AccessDenied(_SERVER, "it refuses this account or database", _URL)
    if code in _GRANT:
        problem = f"{what}: the account lacks the right, or the table does not exist"
        return AccessDenied(_SERVER, problem, grant and f"grant {grant}")
    if code in _TABLE:
        return NotInDatabase(_SERVER, f"{what}: there is no such table", "check the mapping and CDC_DATABASE__URL")
    if code in _COLUMN:
        return NotInDatabase(_SERVER, f"{what}: there is no such column", "check the mapping")
    return ServerUnavailable(_SERVER, f"{what}: {_kind(error)}", _START)


def refuses_account(error: SQLAlchemyError) -> bool:
    """Whether the server refuses the account or the database, and not only a right."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    code = _code(error.orig)
    return code in _CREDENTIALS or (code is None and bool(_REFUSES.search(str(error.orig))))


def is_unknown_column(error: SQLAlchemyError) -> bool:
    """Whether the server says that a column does not exist, and not that the account may not read it."""
    return isinstance(error, DBAPIError) and error.orig is not None and _code(error.orig) in _COLUMN


def _code(error: BaseException) -> int | str | None:
    """MySQL's error number or PostgreSQL's SQLSTATE."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else getattr(error, "sqlstate", None)


def _kind(error: DBAPIError) -> str:
    return f"it can't be reached or does not answer ({type(error.orig).__name__})"
