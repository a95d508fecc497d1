"""What the name of a column says about its values: secret, personal, bookkeeping. Pure.

A name is evidence, not proof: ``init`` prints what it concluded. Where it errs, it must err on the side of a value that
does not leave the database.
"""

from __future__ import annotations

import re
import unicodedata

from consumer.commands.init.column_types import Family, family_of, is_text, is_whole
from consumer.mapping.catalogue import CatalogueColumn

_SECRET_PARTS = re.compile(
    r"passw|pwd|passcode|secret|token|credential|(api|auth|private|access)_?key|signature|mnemonic|cipher"
    r"|kennwort|contrasena"
)
# What a person types in, or what opens something for everybody who knows it; also as a number.
_SECRET_CODES = re.compile(
    r"(recovery|backup|reset|verification|verify|activation|confirmation)_(code|key|link|url)s?"
    r"|(card|cc)_(no|num|number)|(credit|debit)_card"
)
_SECRET_WORDS = frozenset(
    {"pw", "pass", "passphrase", "otp", "totp", "mfa", "2fa", "pin", "cvv", "cvc", "salt", "hash", "hashed", "digest"}
    | {"security", "session", "cookie", "jwt", "answer", "seed", "enc", "encrypted", "passe", "senha"}
)
_SECRET_NUMBERS = frozenset({"otp", "totp", "pin", "cvv", "cvc"})
_PERSONAL_WORDS = frozenset(
    {"name", "firstname", "lastname", "fullname", "surname", "nickname", "username", "login", "email", "mail"}
    | {"phone", "mobile", "tel", "telephone", "fax", "address", "street", "city", "state", "country", "pincode"}
    | {"postcode", "postal", "zip", "zipcode", "bank", "iban", "bic", "swift", "ifsc", "ssn", "passport", "tax"}
    | {"aadhaar", "national", "proof", "document", "gender", "birth", "birthday", "dob", "ip", "license", "licence"}
    | {"holder", "skype", "telegram", "whatsapp", "note", "notes", "comment", "comments", "remark", "remarks"}
)
# Words that are not also the name of a reference or of an amount, such as address_id or tax.
_PERSONAL_WHOLE = frozenset(
    {"phone", "mobile", "tel", "telephone", "fax", "ssn", "aadhaar", "passport", "iban", "dob", "birth", "birthday"}
    | {"pincode", "postcode", "zip", "zipcode"}
)
_PERSONAL_TIMES = frozenset({"dob", "birth", "birthday"})
_FLAGS = frozenset({"tinyint", "smallint", "int2"})
_PERSONAL_NUMBERS = re.compile(r"id_(no|num|number|card)")
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
        is_typed = bool(words & _SECRET_NUMBERS or _SECRET_CODES.search(name))
        return (family_of(column) is Family.INTEGER or is_whole(column)) and is_typed
    return bool(_SECRET_PARTS.search(name) or _SECRET_CODES.search(name) or words & _SECRET_WORDS)


def is_personal(column: CatalogueColumn) -> bool:
    """Whether the value describes a person or a bank account, by the column's name. Listed values are not personal."""
    name = _plain(column.name)
    words = set(name.split("_"))
    if family_of(column) is Family.TIME:
        return bool(words & _PERSONAL_TIMES)
    if is_whole(column):
        return column.base not in _FLAGS and bool(words & _PERSONAL_WHOLE)
    is_open_text = (is_text(column) or family_of(column) is Family.OTHER) and not column.values
    is_named = bool(words & _PERSONAL_WORDS or _PERSONAL_NUMBERS.fullmatch(name))
    return is_open_text and is_named and not words & _THINGS


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
    """In lower case, with ``_`` between words, and without accents."""
    letters = "".join(each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", letters)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
