"""A database as its readers see it: on every server of the stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from consumer.database.reader import Database
from consumer.settings.sections import Database as Settings
from tests.support.stack.registration import Database as Server


@pytest.fixture
def reader(database: Server) -> Iterator[Database]:
    """The read-only account, which may read the captured columns and no more."""
    opened = Database(Settings(url=SecretStr(database.url)))
    yield opened
    opened.close()
