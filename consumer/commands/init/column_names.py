"""What the name of a column says about its values: secret, personal, bookkeeping. Pure.

A name is evidence, not proof: ``init`` prints what it concluded. Where it errs, it must err on the side of a value that
does not leave the database.
"""

from __future__ import annotations

import re

from consumer.commands.init.column_types import Family, family_of, is_text
from consumer.mapping.catalogue import CatalogueColumn

_SECRET_PARTS = re.compile(r"passw|secret|token|credential|api_?key|private_?key|access_?key|signature")
_SECRET_WORDS = frozenset(
    {"pwd", "pass", "passphrase", "otp", "totp", "mfa", "2fa", "pin", "cvv", "cvc", "salt", "hash", "security"}
    | {"session", "answer"}
)
_SECRET_NUMBERS = frozenset({"otp", "totp", "pin", "cvv", "cvc"})
_PERSONAL_WORDS = frozenset(
    {"name", "firstname", "lastname", "fullname", "surname", "nickname", "username", "login", "email", "mail"}
    | {"phone", "mobile", "tel", "telephone", "fax", "address", "street", "city", "state", "country", "pincode"}
    | {"postcode", "postal", "zip", "zipcode", "bank", "iban", "bic", "swift", "ifsc", "ssn", "passport", "tax"}
    | {"aadhaar", "national", "proof", "document", "gender", "birth", "birthday", "dob", "ip"}
)
# A name with one of these is the name of a thing, such as group_name.
_THINGS = frozenset({"group", "plan", "tier", "role", "level", "broker", "server", "product", "symbol", "currency"})
_BOOKKEEPING = re.compile(
    r"(created|updated|modified|changed|deleted|inserted)(_(at|on|by|date|time))?|date_(created|updated|modified)"
    r"|last_(login|seen|activity|active)(_\w+)?|(row|lock)?_?version"
)


def is_secret(column: CatalogueColumn) -> bool:
    """Whether the value is a secret by the column's name, such as a password or a token.

    Numbers and flags are none (``has_password``, ``token_balance``), except those that people type in, such as a PIN.
    """
    name = _plain(column.name)
    words = set(name.split("_"))
    if family_of(column) in (Family.INTEGER, Family.DECIMAL, Family.TIME, Family.BITS, Family.FLOAT):
        return family_of(column) is Family.INTEGER and bool(words & _SECRET_NUMBERS)
    return bool(_SECRET_PARTS.search(name) or words & _SECRET_WORDS)


def is_personal(column: CatalogueColumn) -> bool:
    """Whether the value describes a person or a bank account, by the column's name. Listed values are not personal."""
    words = set(_plain(column.name).split("_"))
    is_open_text = (is_text(column) or family_of(column) is Family.OTHER) and not column.values
    return is_open_text and bool(words & _PERSONAL_WORDS) and not words & _THINGS


def is_bookkeeping(column: CatalogueColumn) -> bool:
    """Whether the column only says when or by whom the row was written."""
    return _BOOKKEEPING.fullmatch(_plain(column.name)) is not None


def words_of(name: str) -> list[str]:
    """The words of a name: ``userId`` and ``user_id`` are two words each."""
    return _plain(name).split("_")


def singular(table: str) -> str:
    """A table's name for one of its rows: ``live_users`` → ``live_user``."""
    name = _plain(table)
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")


def _plain(name: str) -> str:
    """In lower case, with ``_`` between words."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()).strip("_")
