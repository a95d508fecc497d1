"""Every refusal of a setting, an option or a mapping says what is allowed, or what to do: never one for the other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from consumer.errors import ConfigError
from tests.docs.markdown import PROJECT

MAKERS = {"ConfigError", "Fault", "Wrong"}
# How an instruction begins, which is no value.
INSTRUCTION = re.compile(
    r"(set|give|name|leave|install|pip|correct|use|with|without|one of the|either|say|write|run|let|add|remove)( |$)"
)


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for file in sorted((PROJECT / "consumer").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                yield f"{file.name}:{node.lineno}", node


def _text(node: ast.expr) -> str:
    """The constant that a text begins with; nothing where it is worked out."""
    if isinstance(node, ast.JoinedStr):
        return _text(node.values[0]) if node.values else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_refusal_of_a_setting_has_a_cure() -> None:
    bare = [
        place
        for place, call in _calls()
        if isinstance(call.func, ast.Name)
        and call.func.id == "ConfigError"
        and not {"allowed", "fix"} & {each.arg for each in call.keywords}
    ]
    assert bare == []


def test_what_is_allowed_is_a_value_and_no_instruction() -> None:
    wrong = []
    for place, call in _calls():
        said = [each.value for each in call.keywords if each.arg == "allowed"]
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        said += call.args[2:3] if name == "Fault" else []
        wrong += [(place, _text(each)) for each in said if INSTRUCTION.match(_text(each))]
    assert wrong == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("A", "wrong"), "A: wrong"),
        (ConfigError("A", "wrong", allowed="1, 2"), "A: wrong (allowed: 1, 2)"),
        (ConfigError("A", "wrong", fix="set B"), "A: wrong (fix: set B)"),
    ],
)
def test_how_it_is_said(error: ConfigError, said: str) -> None:
    assert str(error) == said
