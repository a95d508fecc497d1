"""The catalogue of each real server: types, keys, listed values, and what an account may see of it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pymysql
import pytest
from pydantic import SecretStr

from consumer.commands.init.choices import Choices
from consumer.commands.init.column_types import kind_of
from consumer.commands.init.proposal import Proposal
from consumer.commands.init.propose import propose
from consumer.database.catalogue import read_catalogue
from consumer.errors import ConfigError, ServerUnavailable
from consumer.mapping.catalogue import Catalogue, CatalogueTable, Reference
from consumer.mapping.reference import reference
from consumer.settings.sections import Database as Settings
from tests.e2e.process import command
from tests.support.stack.login import DATABASE, Login
from tests.support.stack.port import Ports
from tests.support.stack.registration import Database as Server
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", DATABASES, indirect=True)]

TYPES = {
    "mysql": {
        "decimal(18,2)": "money",
        "numeric(10,0)": "integer",
        "bigint unsigned": "integer",
        "year": "integer",
        "bit(1)": "integer",
        "bit(9)": "bits",
        "enum('it''s','b')": "text",
        "tinytext": "text",
        "datetime(6)": "time",
        "timestamp null": "time",
        "double": "",
        "date": "",
        "json": "",
        "varbinary(9)": "",
    },
    "postgres": {
        "numeric(18,2)": "money",
        "numeric": "money",
        "numeric(10,0)": "integer",
        "boolean": "integer",
        "bit(1)": "integer",
        "bit(9)": "bits",
        "uuid": "text",
        "text": "text",
        "mood": "text",
        "cash_amount": "money",
        "timestamp(3)": "time",
        "timestamptz": "time",
        "double precision": "",
        "money": "",
        "date": "",
        "jsonb": "",
        "text[]": "",
    },
}
TYPES["mariadb"] = TYPES["mysql"]
DOMAINS = ("CREATE TYPE mood AS ENUM ('it''s', 'b')", "CREATE DOMAIN cash_amount AS numeric(9,3)")
DROP_DOMAINS = ("DROP TYPE IF EXISTS mood", "DROP DOMAIN IF EXISTS cash_amount")


def catalogue(database: Server, login: Login | None = None, schema: str = "") -> Catalogue:
    url = database.url_of(login or database.logins.admin)
    return read_catalogue(Settings(url=SecretStr(url)), schema)


def table(found: Catalogue, name: str) -> CatalogueTable:
    each = found.table(name)
    assert each is not None
    return each


@pytest.fixture
def owner(database: Server) -> Iterator[Trading]:
    """The administrator, and no tables ``kinds`` and ``kept`` before or after."""
    with database.connect() as connection:
        admin = Trading(connection, database.quote)

        def drop() -> None:
            admin.execute("DROP TABLE IF EXISTS kept")
            admin.execute("DROP TABLE IF EXISTS kinds")
            if database.name == "postgres":
                for statement in DROP_DOMAINS:
                    admin.execute(statement)

        drop()
        if database.name == "postgres":
            for statement in DOMAINS:
                admin.execute(statement)
        yield admin
        drop()


def test_the_stacks_tables_give_the_reference_mapping(database: Server) -> None:
    found = catalogue(database)
    assert (found.kind, found.database, found.problems) == (database.name, DATABASE, ())
    assert found.schema == (DATABASE if database.name == "postgres" else "")
    proposal = propose(found, Choices(tables=reference().captured()), reference())
    assert isinstance(proposal, Proposal)
    assert proposal.rules.tables == reference().tables
    assert proposal.rules.consequences == reference().consequences
    assert [each.not_done for each in proposal.rules.linked] == [each.not_done for each in reference().linked]
    assert proposal.rules.linked[0].other_types == {"strategy_provider", "copy_follower"}


def test_every_type_has_its_kind(database: Server, owner: Trading) -> None:
    types = TYPES[database.name]
    names = [f"c{number}" for number in range(len(types))]
    columns = ", ".join(f"{name} {written}" for name, written in zip(names, types, strict=True))
    owner.execute(f"CREATE TABLE kinds ({columns})")
    found = table(catalogue(database), "kinds")
    # MariaDB's JSON is a long text with a check.
    assert [kind_of(each) or "" for each in found.columns] == list(types.values())
    by_type = dict(zip(types, found.columns, strict=True))
    assert by_type.get("numeric(18,2)", by_type.get("decimal(18,2)")).scale == 2  # type: ignore[union-attr]
    assert by_type["bit(9)"].length == 9
    listed = by_type.get("mood", by_type.get("enum('it''s','b')"))
    assert listed is not None
    assert listed.values == ("it's", "b")
    if database.name == "postgres":
        assert by_type["numeric"].scale is None
        assert by_type["cash_amount"].scale == 3


def test_keys_and_references(database: Server, owner: Trading) -> None:
    owner.execute("CREATE TABLE kinds (id INT, part INT, code VARCHAR(9), PRIMARY KEY (id, part), UNIQUE (id))")
    owner.execute(
        "CREATE TABLE kept (part INT, id INT PRIMARY KEY, of_id INT, no INT UNIQUE,"
        " FOREIGN KEY (of_id) REFERENCES kinds (id))"
    )
    found = catalogue(database)
    kinds, kept = table(found, "kinds"), table(found, "kept")
    assert (kinds.primary_key, kinds.unique) == (("id", "part"), frozenset({"id"}))
    assert (kept.primary_key, kept.unique) == (("id",), frozenset({"no"}))
    assert dict(kept.references) == {"of_id": Reference("kinds", "id")}


def test_a_reference_to_another_column_than_the_key(database: Server, owner: Trading) -> None:
    owner.execute("CREATE TABLE kinds (part INT, no INT, id INT PRIMARY KEY, UNIQUE (no))")
    owner.execute("CREATE TABLE kept (id INT PRIMARY KEY, of_no INT, FOREIGN KEY (of_no) REFERENCES kinds (NO))")
    assert dict(table(catalogue(database), "kept").references) == {"of_no": Reference("kinds", "no")}


def test_a_unique_expression_is_no_column(database: Server, owner: Trading) -> None:
    owner.execute("CREATE TABLE kinds (id INT PRIMARY KEY, code VARCHAR(9), no INT UNIQUE)")
    index = "CREATE UNIQUE INDEX folded ON kinds ((lower(code)))"
    if database.name == "mariadb":  # has no index of an expression
        with pytest.raises(pymysql.err.ProgrammingError, match="syntax"):
            owner.execute(index)
    else:
        owner.execute(index)
    assert table(catalogue(database), "kinds").unique == frozenset({"no"})


def test_a_check_that_does_not_only_list_values_lists_none(database: Server, owner: Trading) -> None:
    """The others list values in an ENUM, and a CHECK is not read there."""
    open_list = "a VARCHAR(9) CHECK (a IN ('x', 'y') OR a LIKE 'z%')"
    banned = "b VARCHAR(9) CHECK (NOT (b IN ('x', 'y')))"
    quoted = "c VARCHAR(9) CHECK (c IN ('x OR y', 'NOT z'))"
    owner.execute(f"CREATE TABLE kinds ({open_list}, {banned}, {quoted})")
    found = [each.values for each in table(catalogue(database), "kinds").columns]
    assert found == [(), (), ("x OR y", "NOT z") if database.name == "postgres" else ()]


def test_a_generated_column_of_postgresql_is_not_sent(database: Server, owner: Trading) -> None:
    owner.execute("CREATE TABLE kinds (id INT PRIMARY KEY, twice INT GENERATED ALWAYS AS (id * 2) STORED)")
    sent = {each.name: each.is_sent for each in table(catalogue(database), "kinds").columns}
    assert sent == {"id": True, "twice": database.name != "postgres"}


def test_values_that_a_check_lists(database: Server) -> None:
    transactions = table(catalogue(database), "user_transactions")
    status = transactions.column("status")
    assert status is not None
    assert status.values == ("pending", "completed", "failed", "cancelled")


def test_columns_that_the_account_may_not_see_are_not_taken_for_absent(database: Server) -> None:
    """On PostgreSQL everybody may read the catalogue. On the others the reader sees only its own columns."""
    live = table(catalogue(database, database.logins.reader), "live_users")
    sees_all = database.name == "postgres"
    assert (live.column("password") is not None, live.is_whole) == (sees_all, sees_all)
    ran = command({"CDC_DATABASE__URL": database.url}, "init", "--diff")
    assert ran.returncode == (0 if sees_all else 1)
    assert ("the account may not see every column" in " ".join(ran.stdout.split())) is not sees_all


def test_the_reference_mapping_has_no_difference(database: Server) -> None:
    ran = command({"CDC_DATABASE__URL": database.url_of(database.logins.admin)}, "init", "--diff")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "no difference")


def test_a_column_added_later(database: Server, owner: Trading) -> None:
    del owner
    with database.connect() as connection:
        admin = Trading(connection, database.quote)
        admin.execute("ALTER TABLE live_users ADD COLUMN credit DECIMAL(18,2), ADD COLUMN reset_token VARCHAR(40)")
        try:
            ran = command({"CDC_DATABASE__URL": database.url_of(database.logins.admin)}, "init", "--diff")
        finally:
            admin.execute("ALTER TABLE live_users DROP COLUMN credit, DROP COLUMN reset_token")
    assert ran.returncode == 1
    assert 'columns: { name = "credit", kind = "money", scale = 2 }' in ran.stdout
    assert 'ignored: "reset_token"' in ran.stdout
    assert ran.stdout.endswith("\n2 differences\n")


def test_what_can_t_be_read_is_one_sentence(database: Server) -> None:
    wrong = Login(database.logins.admin.user, secrets.token_hex(8))
    with pytest.raises(ConfigError, match=r"^CDC_DATABASE__URL: the database refuses: .*CDC_DATABASE__URL_FILE"):
        catalogue(database, wrong)
    url = database.url_of(database.logins.admin)
    with pytest.raises(ConfigError, match=r"^CDC_DATABASE__URL: "):
        read_catalogue(Settings(url=SecretStr(url.removesuffix(DATABASE) + "absent")))
    with pytest.raises(ConfigError, match=r"^CDC_DATABASE__URL: names no database"):
        read_catalogue(Settings(url=SecretStr(url.removesuffix(f"/{DATABASE}"))))
    away = url.replace(database.address, f"127.0.0.1:{Ports().take('nobody')}")
    with pytest.raises(ServerUnavailable, match="reading the catalogue"):
        read_catalogue(Settings(url=SecretStr(away)))
    for options, code, said in (
        (("--tables", "absent"), 2, "cdc-consumer: --tables: there is no table absent in the "),
        (("--tables", "live_users,absent"), 2, "cdc-consumer: --tables: there is no table absent in the "),
        (("--database", "mysql://me:secret@host/x"), 2, "cdc-consumer: --database-url: contains a password"),
    ):
        ran = command({"CDC_DATABASE__URL": url}, "init", *options)
        assert (ran.returncode, ran.stdout) == (code, "")
        assert ran.stderr.startswith(said)
        assert len(ran.stderr.splitlines()) == 1


def test_a_schema_is_postgresqls(database: Server) -> None:
    if database.name == "postgres":
        assert catalogue(database, schema="public").tables == ()
        assert catalogue(database, schema="public").is_default_schema is False
        return
    with pytest.raises(ConfigError, match="--schema: MySQL and MariaDB have no schemas"):
        catalogue(database, schema="public")
