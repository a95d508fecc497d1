"""``cdc-consumer init`` on a database, then its files as they are: a deposit reaches Redis, nothing edited by hand."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from sqlalchemy import URL, make_url

from consumer.source import recording
from tests.e2e.process import command, running
from tests.support.redis_view import eventually
from tests.support.stack import Stack
from tests.support.stack.login import DATABASE, Login
from tests.support.stack.postgres import Postgres
from tests.support.stack.registration import Database, delete_topics
from tests.support.stack.roster import DATABASES
from tests.support.stack.trading import Trading

pytestmark = [pytest.mark.stack, pytest.mark.parametrize("database", DATABASES, indirect=True)]
SCHEMES = {"mysql": "mysql", "mariadb": "mariadb", "postgres": "postgresql"}
OWN = (
    """CREATE TABLE customers (
    customer_id BIGINT PRIMARY KEY, full_name VARCHAR(100), password_hash VARCHAR(99), cash DECIMAL(18,2) NOT NULL,
    bonus DECIMAL(18,2), tier VARCHAR(20), frozen INT, risk DOUBLE PRECISION, last_trade TIMESTAMP NULL, born DATE)""",
    """CREATE TABLE ledger (
    entry_id BIGINT PRIMARY KEY, customer_id BIGINT, entry_no VARCHAR(30) UNIQUE, type VARCHAR(9),
    amount DECIMAL(18,2), state VARCHAR(9), FOREIGN KEY (customer_id) REFERENCES customers (customer_id))""",
)


@dataclass
class Beginning:
    """A database without connector and accounts for this program, and a folder for what ``init`` writes."""

    stack: Stack
    database: Database
    redis: redis.Redis
    folder: Path
    mark: str
    environment: dict[str, str]

    @property
    def kind(self) -> str:
        return self.database.name

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return command({**self.environment, "COLUMNS": "80"}, *arguments, seconds=120)

    def init(self, *options: str) -> str:
        """Read the catalogue as the owner of the tables, and write the files."""
        owner = self.database.url_of(self.database.logins.admin)
        ran = command(
            {"CDC_DATABASE__URL": self._url(make_url(owner)), "COLUMNS": "80"},
            "init",
            "--to",
            str(self.folder),
            *options,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        written = "".join(each.read_text() for each in self.folder.iterdir())
        assert self.database.logins.admin.password not in written + ran.stdout
        return ran.stdout

    def set_up(self) -> None:
        """The accounts, the connector: what ``init`` prints as the next steps."""
        login = Login(f"own_{self.mark}")
        kind = self.kind.upper()
        reader = make_url(self.database.url).set(username=f"reader_{self.mark}", password=secrets.token_hex(8))
        self.environment |= {
            "CDC_MAPPING": str(self.folder / "mapping.toml"),
            "CDC_DATABASE__URL": self._url(reader),
            f"CDC_{kind}_USER": login.user,
            f"CDC_{kind}_PASSWORD": login.password,
            "CDC_MASK_SALT": secrets.token_hex(8),
        }
        if self.kind == "postgres":
            self.environment |= {"CDC_POSTGRES_PUBLICATION": self.mark, "CDC_POSTGRES_SLOT": self.mark}
        else:
            self.environment[f"CDC_{kind}_SERVER_ID"] = str(10_000 + secrets.randbelow(2_000_000_000))
        grants = self.run("grants", self.kind, "--file", str(self.folder / f"{self.kind}.sql"))
        assert grants.returncode == 0, grants.stderr
        with self.database.connect() as connection:
            admin = Trading(connection, self.database.quote)
            text = "".join(line for line in grants.stdout.splitlines(keepends=True) if not line.startswith("--"))
            for statement in filter(str.strip, text.split(";\n")):
                admin.connection.cursor().execute(statement)
        applied = self.run("connect", "apply", str(self.folder / f"{self.kind}.json"))
        assert applied.returncode == 0, applied.stdout + applied.stderr

    def sent(self, table: str) -> bytes:
        """All that Debezium has written to the topic of ``table``."""
        topic = f"{self.environment['CDC_KAFKA__TOPIC_PREFIX']}.{DATABASE}.{table}"
        file = self.folder / "sent.jsonl"
        assert self.run("record", topic, "--to", str(file)).returncode == 0
        return b"".join(each.value or b"" for each in recording.read(file))

    def config(self, user: str) -> Mapping[str, str]:
        return {str(name): str(value) for name, value in self.redis.hgetall(f"user:{{{user}}}:config").items()}

    def _url(self, url: URL) -> str:
        return url.set(drivername=SCHEMES[self.kind]).render_as_string(hide_password=False)


@pytest.fixture
def beginning(
    stack: Stack,
    database: Database,
    trading: Trading,
    redis_client: redis.Redis,
    topic_prefix: str,
    group_id: str,
    tmp_path: Path,
) -> Iterator[Beginning]:
    environment = {
        "CDC_KAFKA__BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "CDC_KAFKA__TOPIC_PREFIX": topic_prefix,
        "CDC_KAFKA__GROUP_ID": group_id,
        "CDC_REDIS__URL": stack.redis.url,
        "CDC_CONNECT__URL": stack.connect.url,
        "CDC_METRICS__PORT": "0",
    }
    mark = topic_prefix
    yield Beginning(stack, database, redis_client, tmp_path / "cdc", mark, environment)
    with stack.connect.api() as api:
        for name in api.names():
            api.delete(name)
    delete_topics(stack, topic_prefix)
    with database.connect() as connection:
        admin = Trading(connection)
        if isinstance(database, Postgres):
            database.drop_slot(mark)
            admin.execute(f'DROP PUBLICATION IF EXISTS "{mark}"')
        for user in (f"own_{mark}", f"reader_{mark}"):
            if not isinstance(database, Postgres):
                admin.execute(f"DROP USER IF EXISTS '{user}'@'%'")
            elif admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", user):
                admin.execute(f'DROP OWNED BY "{user}"')
                admin.execute(f'DROP ROLE "{user}"')


@pytest.fixture
def own_tables(database: Database) -> Iterator[Trading]:
    """Tables of another deployment, written by their owner."""
    with database.connect() as connection:
        owner = Trading(connection, database.quote)

        def drop() -> None:
            owner.execute("DROP TABLE IF EXISTS ledger")
            owner.execute("DROP TABLE IF EXISTS customers")

        drop()
        for statement in OWN:
            owner.execute(statement)
        yield owner
        drop()


def test_a_deposit_reaches_redis(beginning: Beginning, trading: Trading) -> None:
    beginning.init("--tables", "live_users,demo_users,user_transactions,money_requests")
    trading.insert("live_users", id=7, wallet_balance="1500", group="VIP", password="hunter2")
    trading.insert("demo_users", id=7)
    beginning.set_up()
    eventually(lambda: beginning.run("check").returncode == 0, 60)
    with running(beginning.environment, beginning.folder / "consumer.log"):
        eventually(lambda: beginning.config("live:7"), 60)
        with trading.transaction():
            trading.update("live_users", 7, wallet_balance="11500.5")
            trading.insert(
                "user_transactions",
                id=1,
                transaction_id="T1",
                user_id=7,
                type="deposit",
                amount="1",
                status="completed",
            )
        eventually(lambda: beginning.config("live:7").get("last_transaction_id") == "T1", 30)
        found = beginning.config("live:7")
        assert (found["wallet_balance"], found["group"]) == ("11500.50", "VIP")
        assert beginning.redis.get("user_balance:live:7") == "11500.50"
    checked = beginning.run("check")
    assert checked.returncode == 0, checked.stdout
    assert "records of" not in "".join(line for line in checked.stdout.splitlines() if line.startswith("warning"))
    audited = beginning.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    sent = beginning.sent("live_users")
    assert b"11500.5" in sent
    assert not [secret for secret in (b"hunter2", b"password", b"Someone", b"someone@example.org") if secret in sent]


def test_a_deposit_in_tables_of_ones_own(beginning: Beginning, own_tables: Trading) -> None:
    tables = ("--tables", "customers,ledger")
    options = ("--balance", "cash", "--done", "ledger=booked")
    asked = command({"CDC_DATABASE__URL": beginning.database.url_of(beginning.database.logins.admin)}, "init", *tables)
    assert asked.returncode == 1
    assert "--balance customers.COLUMN" in asked.stdout
    beginning.init(*tables, *options)
    own_tables.insert("customers", customer_id=7, cash="1500", tier="gold", full_name="Ann", password_hash="hunter2")
    beginning.set_up()
    eventually(lambda: beginning.run("check").returncode == 0, 60)
    with running(beginning.environment, beginning.folder / "consumer.log"):
        eventually(lambda: beginning.config("customer:7"), 60)
        heard = beginning.redis.pubsub()
        heard.subscribe("balance_updates")
        own_tables.execute("BEGIN")
        own_tables.execute("UPDATE customers SET cash = 11500.5, frozen = 1 WHERE customer_id = 7")
        own_tables.insert("ledger", entry_id=1, customer_id=7, entry_no="E1", type="in", amount="1", state="booked")
        own_tables.execute("COMMIT")
        eventually(lambda: beginning.config("customer:7").get("cash") == "11500.50", 30)
        found = beginning.config("customer:7")
        assert (found["tier"], found["frozen"], found["bonus"]) == ("gold", "1", "")
        assert not {"full_name", "password_hash", "risk", "born"} & found.keys()
        assert beginning.redis.get("user_balance:customer:7") == "11500.50"
        heard.get_message(timeout=5)  # the subscription's own
        message = json.loads(heard.get_message(timeout=5)["data"])
        heard.close()
        assert message["updated_fields"] == {"cash": "11500.50", "frozen": "1"}
    sent = beginning.sent("customers")
    assert b"11500.5" in sent
    assert not [secret for secret in (b"hunter2", b"password_hash", b"Ann") if secret in sent]
    differs = command(
        {"CDC_DATABASE__URL": beginning.database.url_of(beginning.database.logins.admin)},
        *("init", "--diff", "--mapping", str(beginning.folder / "mapping.toml")),
    )
    assert (differs.returncode, differs.stdout.splitlines()[-1]) == (0, "no difference")
    audited = beginning.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
