"""The fields of a user that follow from the database's row."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from consumer.errors import RecordError
from consumer.mapping.keys import UserId
from consumer.mapping.rules import UserTable
from consumer.planning.diff import read_image
from consumer.settings.sources import Settings


@dataclass(frozen=True, slots=True)
class RowFields:
    """``fields``: None if the database is not configured, has no such user, or if the row can't be used.

    ``lacking``: fields without a column. ``unreadable``: columns that can't be read. ``problem``: why the row can't be
    used, or "".
    """

    fields: Mapping[str, str] | None = None
    lacking: frozenset[str] = frozenset()
    unreadable: tuple[str, ...] = ()
    problem: str = ""

    @property
    def exists(self) -> bool:
        """Whether the database has the user."""
        return self.fields is not None or bool(self.problem)


def row_of(settings: Settings, user: UserId, table: UserTable) -> RowFields:
    """Read the row.

    Raises:
        ConfigError: the database's address can't be used, or it refuses the account.
        ServerError: the database can't answer.
    """
    if settings.database.url is None:
        return RowFields()
    from consumer.database.reader import Database

    with closing(Database(settings.database)) as database:
        found = database.rows(table, user.id - 1, 1)
    if not found or str(found[0][table.key]) != str(user.id):
        return RowFields()
    try:
        fields, unreadable, _ = read_image(found[0], table, {})
    except RecordError as error:
        return RowFields(problem=str(error))
    lacking = {column.field for column in table.columns if column.name not in unreadable} - fields.keys()
    image = {"id": str(user.id), "user_type": user.user_type, **table.constants, **fields}
    return RowFields(image, frozenset(lacking), unreadable)
