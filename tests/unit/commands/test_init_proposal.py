"""``init`` decides by evidence, says by which, and asks for what it can't know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.commands.init.choices import choices_of
from consumer.commands.init.column_names import is_bookkeeping, is_personal, is_secret
from consumer.commands.init.column_types import fits, kind_of
from consumer.commands.init.proposal import Use
from consumer.commands.init.propose import propose
from consumer.commands.init.users import column_use
from consumer.errors import ConfigError
from consumer.events.value import Kind
from consumer.mapping.catalogue import Catalogue
from consumer.mapping.reference import reference
from tests.unit.commands.init_catalogues import (
    CUSTOMERS,
    LEDGER,
    chosen,
    column,
    of_reference,
    proposed,
    shop,
    table,
    undecided,
)


def test_the_reference_tables_give_the_reference_mapping() -> None:
    """Except the user types that the database lists and the reference does not name."""
    found = proposed(of_reference()).rules
    transactions, requests = found.linked
    assert transactions.other_types == {"strategy_provider", "copy_follower"}
    assert replace(found, linked=(replace(transactions, other_types=frozenset()), requests)) == reference()


def test_a_reference_table_that_lacks_columns_keeps_the_rest_of_its_rules() -> None:
    live = of_reference().table("live_users")
    assert live is not None
    fewer = replace(live, columns=tuple(each for each in live.columns if each.name not in ("margin", "group")))
    rules = proposed(replace(of_reference(), tables=(fewer,))).rules
    assert rules.financial == {"wallet_balance", "net_profit"}
    assert rules.group_field == ""
    assert [each.name for each in rules.consequences] == ["financial", "balance", "trading"]
    assert rules.linked == ()


def test_a_new_money_column_of_a_reference_table_is_financial() -> None:
    live = of_reference().table("live_users")
    assert live is not None
    more = replace(live, columns=(*live.columns, column("credit", "decimal(18,4)")))
    rules = proposed(replace(of_reference(), tables=(more,))).rules
    assert rules.financial == {"wallet_balance", "margin", "net_profit", "credit"}
    assert rules.tables[0].columns[-1].scale == 4


def test_tables_of_another_deployment() -> None:
    found = proposed(shop())
    (customers,), (ledger,) = found.rules.tables, found.rules.linked
    assert (customers.user_type, customers.key) == ("customer", "customer_id")
    assert {each.name: each.kind for each in customers.columns} == {
        "cash": Kind.MONEY,
        "tier": Kind.TEXT,
        "is_frozen": Kind.INTEGER,
        "flags": Kind.BITS,
        "last_trade": Kind.TIME,
    }
    assert (customers.columns[0].required, customers.columns[0].scale) == (True, 2)
    assert (customers.outside, customers.ignored) == (("email", "zip"), ("password_hash", "risk", "born", "updated_at"))
    assert found.users[0].names(Use.SECRET) == ("password_hash",)
    assert (ledger.user_id, ledger.user_type, ledger.key, ledger.status) == (
        "customer_id",
        "customer",
        "entry_id",
        "state",
    )
    assert (ledger.done, ledger.not_done) == (frozenset({"booked"}), frozenset({"pending", "rejected"}))
    assert [each.field for each in ledger.enriches] == ["entry_no", "transaction_type", "amount"]
    assert (found.rules.balance_field, found.rules.group_field) == ("cash", "tier")


def test_keys_that_nobody_may_have_are_not_cleared_and_that_is_said() -> None:
    found = proposed(shop())
    assert found.rules.derived() == ()
    assert [each.name for each in found.rules.consequences] == ["financial", "balance", "group"]
    assert "a catalogue does not show which keys" in found.decisions[-1].because
    assert proposed(of_reference()).rules.derived() == reference().derived()


@pytest.mark.parametrize(
    ("catalogue", "options", "question", "fix"),
    [
        (
            shop(table("customers", {**CUSTOMERS, "bonus": "decimal(18,2)"}, "customer_id")),
            {"balance": "customers.cash"},
            "which column is the balance: cash, bonus?",
            "--balance customers.COLUMN",
        ),
        (
            shop(table("wallets", {"id": "int", "cash": "decimal(18,2)"})),
            {"users": "wallets=live"},
            "does it hold users, or rows that belong to users?",
            "--users wallets=TYPE, or --linked wallets=COLUMN, or leave it out of --tables",
        ),
        (
            shop(table("customers", CUSTOMERS, "customer_id,tier")),
            {"users": "customers=live:customer_id"},
            "its name says users, but it lacks a key of one column with whole numbers",
            "--users customers=TYPE:COLUMN, or --linked customers=COLUMN, or leave it out of --tables",
        ),
    ],
)
def test_a_question_is_answered_by_the_option_that_it_names(
    catalogue: Catalogue, options: dict[str, str], question: str, fix: str
) -> None:
    name = catalogue.tables[0].name
    (asked,) = undecided(catalogue, chosen(name)).open
    assert (asked.subject, asked.question, asked.fix) == (name, question, fix)
    (asked,) = undecided(catalogue).open
    assert asked.question == question, "without --tables too, because nothing else could be proposed"
    assert proposed(catalogue, chosen(name, **options)).rules.tables[0].table == name


LINKED = "customers,ledger"


@pytest.mark.parametrize(
    ("columns", "options", "question"),
    [
        (
            {"state": "enum('new','old')"},
            {"done": "ledger=old"},
            "with which values of state does a row count: new, old?",
        ),
        ({"state": "varchar(9)"}, {"done": "ledger.state=old"}, "with which values of state does a row count?"),
        ({"state": "int"}, {"done": "ledger.type=in,out"}, "no text column says when a row counts"),
    ],
)
def test_when_a_row_counts(columns: dict[str, str], options: dict[str, str], question: str) -> None:
    customers = table("customers", CUSTOMERS, "customer_id")
    catalogue = shop(customers, table("ledger", LEDGER | columns, "entry_id"))
    (asked,) = undecided(catalogue, chosen(LINKED)).open
    assert asked.question == question
    assert asked.fix.startswith("--done ledger.")
    assert proposed(catalogue, chosen(LINKED, **options)).rules.linked[0].done == set(
        options["done"].partition("=")[2].split(",")
    )
    left_out = proposed(catalogue)
    assert left_out.rules.linked == (), "nobody named it"
    assert [each.question for each in left_out.left_out] == [question]


def test_a_row_of_one_of_two_types_of_users() -> None:
    two = [table(name, CUSTOMERS, "customer_id") for name in ("live_customers", "demo_customers")]
    without = shop(*two, table("ledger", LEDGER, "entry_id"))
    named = "live_customers,demo_customers,ledger"
    (asked,) = undecided(without, chosen(named)).open
    assert (asked.question, asked.fix) == (
        "of which type are its users?",
        "--linked ledger=customer_id:TYPE, with one of live, demo",
    )
    (linked,) = proposed(without, chosen(named, linked="ledger=customer_id:demo")).rules.linked
    assert linked.user_type == "demo"
    by_column = shop(*two, table("ledger", LEDGER | {"user_type": "enum('live','demo','staff')"}, "entry_id"))
    (linked,) = proposed(by_column).rules.linked
    assert (linked.user_type_column, linked.other_types) == ("user_type", frozenset({"staff"}))
    by_key = shop(*two, table("ledger", LEDGER, "entry_id", references={"customer_id": "demo_customers.customer_id"}))
    (linked,) = proposed(by_key).rules.linked
    assert linked.user_type == "demo"


OF_ACCOUNTS = table("customers", {"id": "bigint", "account_id": "bigint", "cash": "decimal(9,2)"}, "id", "account_id")


@pytest.mark.parametrize("options", [{}, {"linked": "ledger=customer_id"}])
def test_a_foreign_key_to_another_column_than_the_users_key_names_no_user(options: dict[str, str]) -> None:
    """Its values are those of the other column: a row would be applied to the user who happens to have that number."""
    catalogue = shop(OF_ACCOUNTS, table("ledger", LEDGER, "entry_id", references={"customer_id": "customers.id"}))
    question = "its foreign key customer_id names customers.id, but the users' key is account_id"
    (asked,) = undecided(catalogue, chosen(LINKED, users="customers=customer:account_id", **options)).open
    assert (asked.subject, asked.question) == ("ledger", question)
    assert "--linked ledger=COLUMN" in asked.fix
    by_id = proposed(catalogue, chosen(LINKED, users="customers=customer:id", **options))
    assert by_id.rules.linked[0].user_id == "customer_id"
    if not options:
        alone = proposed(catalogue, chosen(users="customers=customer:account_id"))
        assert (alone.rules.linked, [each.question for each in alone.left_out]) == ((), [question])


def test_another_column_with_the_users_key_is_taken_instead() -> None:
    references = {"customer_id": "customers.id", "owner": "customers.account_id"}
    ledger = table("ledger", LEDGER | {"owner": "bigint"}, "entry_id", references=references)
    found = proposed(shop(OF_ACCOUNTS, ledger), chosen(LINKED, users="customers=customer:account_id")).linked[0]
    assert found.table.user_id == "owner"
    assert found.because[0] == "its foreign key owner names customers"


def test_a_table_with_the_name_of_users_that_names_another_users_row_is_a_question() -> None:
    columns = {"id": "bigint", "customer_id": "bigint", "cash": "decimal(9,2)"}
    accounts = table("accounts", columns, references={"customer_id": "customers.id"})
    catalogue = shop(OF_ACCOUNTS, accounts)
    (asked,) = undecided(catalogue, chosen("customers,accounts", users="customers=customer:account_id")).open
    assert asked.question == "its foreign key customer_id names customers.id, but the users' key is account_id"


def test_keys_of_two_names_are_told_because_they_give_two_partitions() -> None:
    live = table("live_customers", CUSTOMERS, "customer_id")
    demo = table("demo_customers", {"demo_id": "int", "cash": "decimal(18,2)"}, "demo_id")
    ledger = table("ledger", LEDGER | {"user_type": "enum('live','demo')"}, "entry_id")
    found = proposed(shop(live, demo, ledger), chosen(balance="cash"))
    (told,) = [each for each in found.decisions if each.subject == "partitions"]
    assert told.decided == "a row of ledger may be in another partition than its user in demo_customers"
    assert told.because == "the records' keys are customer_id and demo_id; only equal keys are in equal partitions"
    one = shop(
        live, demo, table("ledger", LEDGER, "entry_id", references={"customer_id": "live_customers.customer_id"})
    )
    alone = proposed(one, chosen(balance="cash"))
    assert "partitions" not in {each.subject for each in alone.decisions}


def test_a_column_whose_field_the_program_writes_itself_is_no_field() -> None:
    columns = CUSTOMERS | {"id": "int", "last_updated": "datetime", "last_balance_update": "datetime"}
    (customers,) = proposed(shop(table("customers", columns, "customer_id"))).rules.tables
    assert {"id", "last_updated", "last_balance_update"} <= set(customers.ignored)


def test_a_number_of_a_person_does_not_leave_the_database() -> None:
    found = proposed(shop(table("customers", CUSTOMERS | {"phone": "bigint"}, "customer_id")))
    (phone,) = [each for each in found.users[0].columns if each.column.name == "phone"]
    assert (phone.use, phone.because) == (Use.IGNORED, "personal, by its name; only text can be masked")


def test_a_column_that_the_log_does_not_have_is_no_field_and_no_balance() -> None:
    """Its field would keep the value of the snapshot, whatever changes."""
    people = table("people_users", {"id": "bigint", "cash": "decimal(9,2)", "balance": "decimal(9,2)"})
    columns = tuple(replace(each, is_sent=each.name != "balance") for each in people.columns)
    found = proposed(shop(replace(people, columns=columns)))
    assert found.rules.balance_field == "cash"
    assert [each.column.name for each in found.users[0].columns if each.use is Use.IGNORED] == ["balance"]
    with pytest.raises(ConfigError, match=r"--balance: people_users\.balance"):
        propose(shop(replace(people, columns=columns)), chosen(balance="balance"), reference())


def test_columns_of_two_names_are_one_balance() -> None:
    demo = table("demo_customers", {"customer_id": "int", "credit": "decimal(18,2)"}, "customer_id")
    rules = proposed(shop(table("customers", CUSTOMERS, "customer_id"), demo)).rules
    assert [(each.columns[0].name, each.columns[0].field) for each in rules.tables] == [
        ("cash", "cash"),
        ("credit", "cash"),
    ]


def test_evidence_for_both_is_a_question() -> None:
    users = table("users", {"id": "int", "name": "varchar(9)"})
    accounts = table(
        "accounts", {"id": "int", "user_id": "int", "balance": "decimal(9,2)"}, references={"user_id": "users.id"}
    )
    questions = {each.subject: each.question for each in undecided(shop(users, accounts)).open}
    assert questions == {
        "users": "its name says users, but it lacks a decimal column for the balance",
        "accounts": "its name and its money say users, its column user_id says rows that belong to users",
    }
    assert proposed(shop(users, accounts), chosen(users="accounts=live")).rules.tables[0].user_type == "live"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"users": "customers"}, r"--users: 'customers' does not have the form \(allowed: TABLE=TYPE"),
        ({"users": "customers=Live"}, "--users: 'Live' is no user type"),
        ({"linked": "ledger"}, "--linked: 'ledger' does not have the form"),
        ({"done": "ledger"}, "--done: 'ledger' does not have the form"),
        ({"balance": "a.b.c"}, "--balance: 'a.b.c' is no column"),
        ({"balance": "nope"}, "--balance: customers has no column nope"),
        ({"balance": "customer_id"}, r"--balance: customers.customer_id is the user's id"),
        ({"balance": "email"}, r"--balance: customers.email has the type varchar\(100\)"),
        ({"group": "nope"}, "--group: no field nope"),
        (
            {"tables": "customer"},
            r"--tables: there is no table customer in the database shop.*allowed: customers, ledger",
        ),
        ({"users": "absent=live"}, "--tables: there is no table absent"),
    ],
)
def test_an_option_that_fits_nothing_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        proposed(shop(), chosen(options.pop("tables", None), **options))


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="--linked: ledger is in --users too"):
        chosen(users="ledger=live", linked="ledger=customer_id")
    with pytest.raises(ConfigError, match="--users: two tables have the type live"):
        choices_of(None, ["a=live", "b=live"], [], [], [], None)
    with pytest.raises(ConfigError, match="--users: given twice for a"):
        choices_of(None, ["a=live", "a=demo"], [], [], [], None)
    with pytest.raises(ConfigError, match="--done: given twice for a"):
        choices_of(None, [], [], ["a=booked", "a.state=done"], [], None)
    with pytest.raises(ConfigError, match="--balance: given twice for every table"):
        choices_of(None, [], [], [], ["cash", "bonus"], None)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        *((each, Kind.MONEY) for each in ("decimal(18,6)", "decimal(5,1)")),
        *((each, Kind.INTEGER) for each in ("int", "bigint", "tinyint(1)", "year", "decimal(10,0)", "bit(1)", "int8")),
        *((each, Kind.TEXT) for each in ("varchar(9)", "char(9)", "text", "enum('a')", "uuid", "citext")),
        *((each, Kind.TIME) for each in ("datetime", "timestamp", "timestamptz")),
        ("bit(8)", Kind.BITS),
        *((each, None) for each in ("double", "float4", "money", "date", "time", "json", "bytea", "array", "blob")),
    ],
)
def test_a_kind_for_each_type(written: str, kind: Kind | None) -> None:
    found = column("x", written)
    assert kind_of(found) == kind
    assert kind is None or fits(kind, found)


@pytest.mark.parametrize(
    ("primary", "unique", "is_said"), [("id", "no", False), ("no", "", False), ("no,part", "", True), ("", "", True)]
)
def test_a_key_that_may_have_two_rows_is_said(primary: str, unique: str, is_said: bool) -> None:
    """Such a user would have the balance of the row that changed last."""
    columns = {"id": "bigint", "no": "bigint", "part": "bigint", "cash": "decimal(9,2)"}
    found = proposed(shop(table("people", columns, primary, unique)), chosen(users="people=person:no"))
    said = [(each.decided, each.because) for each in found.decisions if each.subject == "key"]
    reason = (
        "given with an option; no unique key shows that a value has only one row; if it has two, the last change wins"
    )
    assert said == ([("no in people", reason)] if is_said else [])


@pytest.mark.parametrize(
    "name",
    [
        *("pw", "encrypted_pw", "passcode", "recovery_code", "backup_codes", "seed_phrase", "mnemonic", "authkey"),
        *("jwt", "cookie", "reset_code", "verification_code", "activation_link", "digest", "hashed"),
        *("card_number", "cc_no", "contraseña", "kennwort", "mot_de_passe", "MFASeed", "enc_data", "ciphertext"),
    ],
)
def test_a_name_of_a_secret(name: str) -> None:
    assert is_secret(column(name, "varchar(99)"))


@pytest.mark.parametrize("name", ["bank_pin", "bank_otp", "bank_password", "bank_api_token"])
def test_a_secret_is_not_captured_although_the_reference_masks_such_names(name: str) -> None:
    (live, *_) = reference().tables
    assert live.is_outside(name)
    assert column_use(column(name, "varchar(99)"), live).use is Use.SECRET


@pytest.mark.parametrize("name", ["compass", "bypass_reason", "discard_reason", "encoding", "access_level"])
def test_a_name_that_only_contains_such_a_word(name: str) -> None:
    assert not is_secret(column(name, "varchar(99)"))


def test_a_name_with_other_letters_gives_a_user_type_of_plain_ones() -> None:
    columns = {"id": "bigint", "cash": "decimal(9,2)"}
    assert proposed(shop(table("ünï_users", columns))).rules.tables[0].user_type == "uni"


def test_what_a_name_says() -> None:
    secret = ("password", "passwordHash", "view_password", "api_token", "security_answer", "otp", "accessToken", "salt")
    assert [name for name in secret if not is_secret(column(name, "varchar(99)"))] == []
    assert [name for name in ("pin", "reset_code", "card_number") if not is_secret(column(name, "bigint"))] == []
    assert is_secret(column("card_number", "decimal(16,0)"))
    flags = [("has_password", "tinyint(1)"), ("token_balance", "decimal(9,2)"), ("password_changed_at", "datetime")]
    assert [name for name, written in flags if is_secret(column(name, written))] == []
    assert not is_secret(column("pincode", "varchar(9)"))
    personal = ("email", "firstName", "bank_iban", "phone_number", "city", "id_proof_image", "name", "notes", "id_no")
    assert [name for name in personal if not is_personal(column(name, "varchar(99)"))] == []
    assert not is_personal(column("group_name", "varchar(99)"))
    assert not is_personal(column("state", "enum('open','closed')"))
    assert not is_personal(column("email_verified", "tinyint(1)"))
    numbers = [("phone", "bigint"), ("mobile_no", "decimal(15,0)"), ("ssn", "int"), ("birth_time", "datetime")]
    assert [name for name, written in numbers if not is_personal(column(name, written))] == []
    others = [("phone_verified", "tinyint(1)"), ("address_id", "int"), ("tax", "decimal(9,2)"), ("country", "int")]
    assert [name for name, written in others if is_personal(column(name, written))] == []
    assert all(
        is_bookkeeping(column(name, "datetime")) for name in ("created_at", "updatedAt", "last_login", "version")
    )
    assert not is_bookkeeping(column("last_trade", "datetime"))
