"""The proposal as a mapping file, with the evidence as comments. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tomli_w

from consumer.commands.init.proposal import ColumnUse, LinkedProposal, Proposal, Use, UsersProposal
from consumer.events.value import Kind
from consumer.mapping.catalogue import CatalogueTable
from consumer.mapping.file import parse, plain
from consumer.mapping.rules import Column

_WIDTH = 120
_SHORT = 90
_HEAD = """\
# The mapping that `cdc-consumer init` proposed from the catalogue of {place}.
# docs/mapping.md explains every key. `cdc-consumer init --diff` compares this file with the catalogue later.
"""


def to_toml(proposal: Proposal, name: str) -> str:
    """The mapping as text; ``name``: the file's name in an error.

    Raises:
        ConfigError: the mapping would be refused; the error says why.
    """
    whole = plain(proposal.rules)
    scalars = {key: value for key, value in whole.items() if not _is_table(value)}
    parts = [_HEAD.format(place=_place(proposal)), *_decisions(proposal)]
    parts.append("".join(_line(key, value) for key, value in scalars.items()))
    parts.append(_section("names", whole["names"]))
    parts += [_users(users, raw) for users, raw in zip(proposal.users, whole["tables"], strict=True)]
    parts += [_array("consequences", each) for each in whole["consequences"]]
    parts += [_section("profile", whole["profile"]), _section("outside", whole["outside"])]
    parts += [_linked(linked, raw) for linked, raw in zip(proposal.linked, whole["linked"], strict=True)]
    text = "\n".join(parts)
    parse(text, name)
    return text


def column_line(column: Column) -> str:
    """A column as an element of ``columns``."""
    raw: dict[str, Any] = {"name": column.name, "kind": column.kind.value}
    return _inline({**raw, "scale": column.scale} if column.kind is Kind.MONEY else raw)


def _decisions(proposal: Proposal) -> Iterator[str]:
    texts = [f"{each.subject}: {each.decided} ({each.because})" for each in proposal.decisions]
    texts += [f"{each.subject}: not used ({each.question})" for each in proposal.left_out]
    yield "# Decided, and by which evidence:\n" + "".join(_comment(each, "#   ") for each in texts)


def _comment(text: str, mark: str = "# ") -> str:
    """Lines of a comment. Control characters, which a name may contain, would end it."""
    printable = "".join(each if each.isprintable() else " " for each in text)
    return textwrap.fill(printable, _WIDTH, initial_indent=mark, subsequent_indent=f"{mark}  ") + "\n"


def _users(users: UsersProposal, raw: Mapping[str, Any]) -> str:
    """``[[tables]]``, one column a line, with its type."""
    lines = [_comment(f"{users.table.table}: users, because {users.because}.").rstrip("\n"), "[[tables]]"]
    by_name = {each.column.name: each for each in users.columns}
    for key, value in raw.items():
        if key == "columns":
            lines += ["columns = [", *_columns(value, by_name), "]"]
        elif key in ("outside", "ignored"):
            lines += [f"{key} = [", *_names(value, by_name), "]"]
        else:
            lines.append(_line(key, value).rstrip("\n"))
    return "".join(f"{line}\n" for line in lines)


def _columns(columns: Sequence[Mapping[str, Any]], by_name: Mapping[str, ColumnUse]) -> Iterator[str]:
    for each in columns:
        yield f"    {_inline(each)},  {_comment(by_name[each['name']].column.type)}".rstrip("\n")


def _names(names: Sequence[str], by_name: Mapping[str, ColumnUse]) -> Iterator[str]:
    for name in names:
        use = by_name.get(name)
        if use is None:
            yield f"    {_value(name)},"
            continue
        hidden = "; only a hash leaves the database" if use.use is Use.MASKED else ""
        yield f"    {_value(name)},  # {use.because}{hidden}"


def _linked(linked: LinkedProposal, raw: Mapping[str, Any]) -> str:
    head = _comment(f"{linked.table.table}: rows that belong to users. Evidence: {'; '.join(linked.because)}.")
    note = "" if linked.table.not_done else _unlisted(linked.source, linked.table.status)
    return head + note + _array("linked", raw)


def _unlisted(table: CatalogueTable, status: str) -> str:
    column = table.column(status)
    if column is None or column.values:
        return ""
    advice = "add the others as not_done, then unknown ones are reported"
    return _comment(f"The catalogue does not list the values of {status}: {advice}.")


def _array(name: str, raw: Mapping[str, Any]) -> str:
    return f"[[{name}]]\n" + "".join(_line(key, value) for key, value in raw.items())


def _section(name: str, raw: Mapping[str, Any]) -> str:
    return f"[{name}]\n" + "".join(_line(key, value) for key, value in raw.items())


def _line(key: str, value: Any) -> str:
    return f"{_key(key)} = {_value(value)}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        line = f"[{', '.join(_value(each) for each in value)}]"
        if len(line) <= _SHORT:
            return line
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "[\n" + "".join(f"    {_inline(each)},\n" for each in value) + "]"
    if isinstance(value, Mapping):
        return _inline(value)
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _inline(raw: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{_key(key)} = {_value(value)}" for key, value in raw.items()) + " }" if raw else "{}"


def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).partition(" = ")[0]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _place(proposal: Proposal) -> str:
    catalogue = proposal.catalogue
    schema = f", schema {catalogue.schema}" if catalogue.schema else ""
    return f"the {catalogue.kind} database {catalogue.database}{schema}"
