"""The text of an error, with names from outside in it."""

from __future__ import annotations

import pytest

from consumer.errors import ConfigError, NotAnEnvelope, UnknownTable


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\x1b[2J", "\ud800", "\u2028", "\x00"])
def test_an_error_is_one_line_that_can_be_printed(name: str) -> None:
    for error in (UnknownTable(f"no rule names {name}", name), ConfigError(name, name, allowed=name, fix=name)):
        text = str(error)
        assert text.isprintable()
        assert text.encode()
        assert ascii(name)[1:-1] in text


def test_an_error_is_not_as_long_as_a_name_in_it() -> None:
    assert len(str(UnknownTable("9" * 10_000_000))) < 1100
    assert str(NotAnEnvelope("x" * 1001)).endswith("… (1001 characters)")
    assert str(NotAnEnvelope("x" * 1000)) == "x" * 1000


def test_letters_of_every_language_stay() -> None:
    assert str(ConfigError("Größe", "größer als 7 €")) == "Größe: größer als 7 €"
