"""Mapping files: one is refused with the name of the key, or it decides recorded records."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from random import Random
from typing import Any

import tomli_w

from consumer.errors import ConfigError
from consumer.events.avro import NO_SCHEMAS
from consumer.mapping import file
from consumer.mapping.reference import reference
from consumer.mapping.rules import Rules
from consumer.mapping.visible import hidden_columns, visible_columns
from tests.fuzz import corpus
from tests.fuzz.damage import damaged_document, damaged_text
from tests.fuzz.decided import outcome_of
from tests.fuzz.target import Broken, Plain, check_error
from tests.support.stack.login import PROJECT

_WORDS: tuple[Any, ...] = (
    *("money", "text", "time", "integer", "boolean", "reference", "live", "demo", "<type>", "<id>", "<type>:<id>"),
    *("user:{<type>:<id>}:config", "x:<type>:<id>:*", "*", "x:*", "<id>", "cdc:{<type>:<id>}", "{}", "}{", "<typ>"),
    *("wallet_balance", "group", "id", "live_users", "demo_users", "user_updates", "last_updated", "bank_*", "[", "[!"),
    *(2**63 - 1, -(2**63), 2**63, 0, -1, 10**6, 3600, 100_000, ["completed"], ["group"], [], {"name": "x"}, 0.5),
    *(
        {"name": "margin", "kind": "money", "required": True},
        {"column": "a", "field": "b"},
        "x" * 5000,
        "a b",
        "ä",
        "\u200b",
    ),
    *(
        {"maxlen": 1000},
        {"field": "transaction_id"},
        {"name": "y", "fields": ["group"], "channels": ["c"]},
        "-",
        ":",
        "::",
    ),
)
_KEY = re.compile(r"[^\n]+:( [^\n]+|[0-9]+)", re.DOTALL)


class Mapping:
    """Texts of mapping files."""

    name = "mapping"

    def __init__(self) -> None:
        self._records = corpus.few()[::4]

    def make(self, chance: Random) -> Plain:
        """A mapping of this project with a few keys and values changed, or with damaged text."""
        text = chance.choice(_texts())
        if chance.random() < 0.2:
            return damaged_text(text, chance)
        document = damaged_document(tomllib.loads(text), chance, _WORDS)
        if chance.random() < 0.3:
            document = {"extends": "reference", **document}
        return tomli_w.dumps(tomlable(document))

    def attempt(self, given: Plain) -> str:
        try:
            rules = file.parse(given)
        except ConfigError as error:
            if not _KEY.fullmatch(error.field) and error.problem != "nested too deeply":
                raise Broken(f"an error that names no key and no line: {error}") from None
            return f"refused: {check_error(error, must_not_have=())}"
        self._check(rules)
        return "accepted"

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, rules: Rules) -> None:
        if file.parse(file.to_toml(rules)) != rules:
            raise Broken("a mapping that is another one when it is written and read")
        list(hidden_columns(rules, reference()))
        for table in rules.captured():
            visible_columns(rules, table)
        rules.stream_keys()
        rules.wildcards()
        for record in self._records:
            outcome_of([record], rules, NO_SCHEMAS)


@cache
def _texts() -> list[str]:
    """The reference, those of the tests, and the examples of docs/mapping.md and docs/events.md."""
    found = [file.to_toml(reference()), 'extends = "reference"\n'] + [path.read_text() for path in corpus.MAPPINGS]
    for page in ("mapping.md", "events.md"):
        found += re.findall(r"```toml\n(.*?)```", (PROJECT / "docs" / page).read_text(), re.DOTALL)
    return [each for each in found if _is_toml(each)]


def _is_toml(text: str) -> bool:
    try:
        return bool(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return False


def tomlable(value: Any) -> Any:
    """TOML has no null, and numbers of any size."""
    if isinstance(value, dict):
        return {name: tomlable(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [tomlable(each) for each in value if each is not None]
    return value
