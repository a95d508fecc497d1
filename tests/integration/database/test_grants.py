"""What ``cdc-consumer grants`` prints, executed on the real servers: the accounts work, and may no more."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from sqlalchemy import URL, make_url

from consumer.database.reader import Database
from consumer.errors import AccessDenied
from consumer.mapping.reference import reference
from consumer.settings.sections import Database as Settings
from tests.e2e.process import command
from tests.support.stack.login import Login
from tests.support.stack.registration import Database as Server
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", DATABASES, indirect=True)]
# What a password generator may make, and SQL does not take as it is.
HARD = "it's \\o/ `\";--%"
LIVE, _ = reference().tables


@dataclass
class Made:
    """The accounts that were made."""

    server: Server
    connector: Login
    url: URL


@pytest.fixture
def made(database: Server) -> Iterator[Made]:
    """The command's output, given to the server by its administrator as its own client would."""
    mark = secrets.token_hex(4)
    kind = database.name.upper()
    connector = Login(f"Own_{mark}", HARD + mark)
    url = make_url(database.url).set(username=f"Reader-{mark}", password=HARD)
    ran = command(
        {
            "CDC_DATABASE__URL": url.render_as_string(hide_password=False),
            f"CDC_{kind}_USER": connector.user,
            f"CDC_{kind}_PASSWORD": connector.password,
            **({"CDC_POSTGRES_SCHEMA": "trading", "CDC_POSTGRES_PUBLICATION": mark} if kind == "POSTGRES" else {}),
        },
        "grants",
        database.name,
    )
    assert ran.returncode == 0, ran.stderr
    with database.connect() as connection:
        admin = Trading(connection)
        text = "".join(line for line in ran.stdout.splitlines(keepends=True) if not line.startswith("--"))
        cursor = connection.cursor()
        for statement in text.split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        try:
            yield Made(database, connector, url)
        finally:
            for user in (connector.user, str(url.username)):
                if kind == "POSTGRES":
                    admin.execute(f'DROP PUBLICATION IF EXISTS "{mark}"')
                    admin.execute(f'DROP OWNED BY "{user}"')
                    admin.execute(f'DROP ROLE "{user}"')
                else:
                    admin.execute(f"DROP USER '{user}'@'%'")


def test_both_accounts_are_let_in_and_may_what_they_need(made: Made) -> None:
    reader = Database(Settings(url=SecretStr(made.url.render_as_string(hide_password=False))))
    try:
        reader.reach()
        assert reader.position() is not None
    finally:
        reader.close()
    with made.server.connect(made.connector) as connection:
        assert Trading(connection).execute("SELECT COUNT(*) FROM live_users WHERE name IS NULL") == [(0,)]


def test_the_reader_may_read_no_name(made: Made) -> None:
    from dataclasses import replace

    curious = replace(LIVE, columns=(*LIVE.columns, replace(LIVE.columns[0], name="password", field="password")))
    reader = Database(Settings(url=SecretStr(made.url.render_as_string(hide_password=False))))
    try:
        with pytest.raises(AccessDenied):
            reader.row(curious, 1)
    finally:
        reader.close()
