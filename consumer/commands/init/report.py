"""The proposal and the differences as lines for a reader, and as JSON lines. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from consumer.commands.init.connector_text import include_pattern, place_of
from consumer.commands.init.differences import Difference, What
from consumer.commands.init.grants_text import grant, quoted
from consumer.commands.init.proposal import LinkedProposal, Proposal, Undecided, Use, UsersProposal
from consumer.commands.shared.finding import Level
from consumer.commands.shared.screen import Summary
from consumer.events.value import Kind
from consumer.mapping.catalogue import Catalogue

_LABEL = 11
_MARKS = {What.NEW: "+", What.MISSING: "-", What.TYPE: "~", What.VALUES: "~", What.UNSEEN: "?"}


def to_text(found: Proposal | Undecided, width: int) -> Iterator[str]:
    """The lines of the report, at most ``width`` wide where no word is longer."""
    yield from _head(found.catalogue, width)
    if isinstance(found, Undecided):
        yield ""
        yield "to decide first"
        for question in found.open:
            yield from _wrapped(question.subject, question.question, width)
            yield from _wrapped("", question.fix, width)
    else:
        for users in found.users:
            yield from _users(users, width)
        for linked in found.linked:
            yield from _linked(linked, width)
        yield ""
        yield "decided"
        for each in found.decisions:
            yield from _wrapped(each.subject, f"{each.decided} ({each.because})", width)
    if found.left_out:
        yield ""
        yield "not used; nobody named them"
        for reason in dict.fromkeys(each.question for each in found.left_out):
            names = ", ".join(each.subject for each in found.left_out if each.question == reason)
            yield from _wrapped("", f"{names} ({reason})", width, 0)


def summary(found: Proposal | Undecided, paths: Sequence[str]) -> Summary:
    """The last line. ``paths``: of the written files."""
    if isinstance(found, Undecided):
        return Summary(Level.FAILURE, f"{_counted(len(found.open), 'question')} to decide first; nothing is written")
    tables = _counted(len(found.users) + len(found.linked), "table")
    files = f"wrote {', '.join(paths)}" if paths else "nothing is written without --to FOLDER"
    return Summary(Level.OK, f"{tables}: {files}")


def summary_of_differences(found: Sequence[Difference]) -> Summary:
    """The last line of ``--diff``."""
    return Summary(
        Level.FAILURE if found else Level.OK, _counted(len(found), "difference") if found else "no difference"
    )


def next_steps(proposal: Proposal, paths: Sequence[str], address: str) -> Iterator[str]:
    """What to do with the files. ``paths``: of mapping, connector file and grants. ``address``: of the database."""
    mapping, connector, grants = paths
    catalogue, kind = proposal.catalogue, proposal.catalogue.kind
    salt = " CDC_MASK_SALT=…" if any(each.names(Use.MASKED) for each in proposal.users) else ""
    scheme = "postgresql" if kind == "postgres" else kind
    client = f"psql {catalogue.database}" if kind == "postgres" else f"{kind} --user=root --password"
    yield ""
    yield "next (with the addresses of Kafka, Connect and Redis in the environment)"
    yield f"  export CDC_MAPPING={mapping}"
    yield f"  export CDC_{kind.upper()}_PASSWORD=…{salt}"
    yield f"  export CDC_DATABASE__URL={scheme}://cdc_reader:…@{address}/{catalogue.database}"
    yield f"  cdc-consumer grants {kind} --file {grants} | {client}"
    yield f"  cdc-consumer connect apply {connector}"
    yield "  cdc-consumer check"
    yield "  cdc-consumer run"


def to_json(found: Proposal | Undecided) -> Iterator[str]:
    """One object a line: the database, each table, each decision, each question."""
    catalogue = found.catalogue
    place = {"database": catalogue.database, "schema": catalogue.schema, "kind": catalogue.kind}
    yield _json({**place, "version": catalogue.version, "problems": list(catalogue.problems)})
    if isinstance(found, Proposal):
        for users in found.users:
            columns = [
                {"name": use.column.name, "type": use.column.type, "use": use.use, "because": use.because}
                | ({"kind": use.mapped.kind, "field": use.mapped.field} if use.mapped else {})
                for use in users.columns
            ]
            head = {"table": users.table.table, "role": "users", "user_type": users.table.user_type}
            yield _json({**head, "because": users.because, "complete": users.source.is_whole, "columns": columns})
        for linked in found.linked:
            head = {"table": linked.table.table, "role": "linked", "user_id": linked.table.user_id}
            yield _json({**head, "because": "; ".join(linked.because), "columns": list(linked.captured)})
        for each in found.decisions:
            yield _json({"subject": each.subject, "decided": each.decided, "because": each.because})
    else:
        for question in found.open:
            yield _json({"subject": question.subject, "open": question.question, "fix": question.fix})
    for left_out in found.left_out:
        yield _json({"table": left_out.subject, "role": "not used", "because": left_out.question, "fix": left_out.fix})


def written_to_json(paths: Sequence[str]) -> Iterator[str]:
    """One object a line for each written file."""
    yield from (_json({"wrote": path}) for path in paths)


def difference_to_json(each: Difference) -> str:
    """One object on one line."""
    return _json(
        {"what": each.what, "table": each.table, "column": each.column, "found": each.found}
        | {"key": each.key, "line": each.line}
    )


def differences_to_text(
    catalogue: Catalogue, found: Sequence[Difference], accounts: Mapping[str, str], width: int
) -> Iterator[str]:
    """The lines of ``--diff``. ``accounts``: the names of the accounts, by the names of their placeholders."""
    yield from _head(catalogue, width)
    for table in dict.fromkeys(each.table for each in found):
        yield ""
        yield table
        mine = [each for each in found if each.table == table]
        for each in mine:
            yield from _wrapped(f"{_MARKS[each.what]} {each.column or 'table'}", each.found, width, _width_of(mine))
            if each.line:
                yield f"      {each.key}: {each.line}"
        yield from _captures(catalogue, table, mine, accounts)


def _captures(
    catalogue: Catalogue, table: str, found: Iterable[Difference], accounts: Mapping[str, str]
) -> Iterator[str]:
    """What the connector file and the accounts need for new columns."""
    fields = [each.column for each in found if each.use is Use.FIELD]
    masked = [each.column for each in found if each.use is Use.MASKED]
    place = place_of(catalogue.kind, catalogue.database, catalogue.schema)
    if fields or masked:
        yield "  then, in the connector file"
        yield f"    column.include.list: {include_pattern(place, table, [*fields, *masked])}"
    if masked:
        yield f"    column.mask.hash.…: {include_pattern(place, table, masked)}"
    statements = list(_statements(catalogue, table, fields, masked, accounts))
    if statements:
        yield "  and in the database"
        yield from (f"    {statement}" for statement in statements)


def _statements(
    catalogue: Catalogue, table: str, fields: list[str], masked: list[str], accounts: Mapping[str, str]
) -> Iterator[str]:
    kind = catalogue.kind
    is_postgres = kind == "postgres"
    place = quoted(kind, catalogue.schema or catalogue.database)
    mark = '"{}"' if is_postgres else "'{}'@'%'"
    if is_postgres and (fields or masked):
        debezium = accounts.get("CDC_POSTGRES_USER", "debezium")
        yield grant(kind, [*fields, *masked], place, table, mark.format(debezium))
    if fields:
        yield grant(kind, fields, place, table, mark.format(accounts.get("CDC_READER_USER", "cdc_reader")))


def _head(catalogue: Catalogue, width: int) -> Iterator[str]:
    schema = f", schema {catalogue.schema}" if catalogue.schema else ""
    yield f"{catalogue.kind} {catalogue.version}, database {catalogue.database}{schema}"
    for each in catalogue.problems:
        yield from _wrapped("the server", f"{each}: the connector will not run before that is changed", width)


def _users(users: UsersProposal, width: int) -> Iterator[str]:
    yield ""
    yield f"{users.table.table}: users of the type {users.table.user_type}, key {users.table.key}"
    if not users.source.is_whole:
        yield from _wrapped("incomplete", "the account may not see every column of this table", width)
    yield from _wrapped("because", users.because, width)
    for kind in Kind:
        names = [each.column.name for each in users.columns if each.mapped and each.mapped.kind is kind]
        if names:
            yield from _wrapped(kind.value, ", ".join(names), width)
    if masked := users.names(Use.MASKED):
        yield from _wrapped("masked", f"{', '.join(masked)} (only that they change is published)", width)
    if secret := users.names(Use.SECRET):
        yield from _wrapped("secret", f"{', '.join(secret)} (do not leave the database)", width)
    reasons: dict[str, list[str]] = {}
    for each in users.columns:
        if each.use is Use.IGNORED:
            reasons.setdefault(each.because, []).append(each.column.name)
    for reason, names in reasons.items():
        yield from _wrapped("left out", f"{', '.join(names)} ({reason})", width)


def _linked(linked: LinkedProposal, width: int) -> Iterator[str]:
    table = linked.table
    yield ""
    yield f"{table.table}: rows that belong to users"
    yield from _wrapped("because", "; ".join(linked.because), width)
    whose = f"of the type {table.user_type}" if table.user_type else f"of the type in {table.user_type_column}"
    yield from _wrapped("user", f"{table.user_id}, {whose}", width)
    counts = f"with {table.status} {', '.join(sorted(table.done))}"
    counts += f"; not with {', '.join(sorted(table.not_done))}" if table.not_done else ""
    yield from _wrapped("counts", counts, width)
    if table.enriches:
        yield from _wrapped("messages", f"get {', '.join(each.field for each in table.enriches)}", width)
    if table.writes:
        yield from _wrapped("writes", ", ".join((*table.writes.values(), table.time_field)), width)


def _wrapped(label: str, text: str, width: int, label_width: int = _LABEL) -> Iterator[str]:
    first = f"  {label:<{label_width}}"
    if label and len(label) >= label_width:
        yield f"  {label}"
        first = " " * (label_width + 2)
    lines = textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=first,
        subsequent_indent=" " * (label_width + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from lines


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _width_of(found: Sequence[Difference]) -> int:
    return min(26, max(len(each.column or "table") for each in found) + 4)


def _json(raw: Mapping[str, Any]) -> str:
    return msgspec.json.encode(raw).decode()
