"""The proposal as SQL for the accounts, made from the file in ``connect/grants`` for this kind of database. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from consumer.commands.init.connector_text import with_defaults
from consumer.commands.init.proposal import Proposal, Use

_GRANT = re.compile(r"^GRANT SELECT \(.*\) ON (?P<place>.*)\.\w+ TO (?P<account>.*);$")
_OF_FILE = "-- `cdc-consumer grants "
_OF_INIT = "-- `cdc-consumer grants … --file …` prints it with the placeholders filled from the environment."
_PUBLICATION = re.compile(r"^CREATE PUBLICATION (?P<name>\S+) FOR TABLE (?P<place>[^,]*)\.\w+,.*;$")


def to_sql(proposal: Proposal, template: str) -> str:
    """The grants as text. ``template``: the text of the file in ``connect/grants``."""
    lines: list[str] = []
    previous = ""
    for line in with_defaults(template, proposal).splitlines():
        if grant := _GRANT.match(line):
            if grant["account"] != previous:  # the first of the lines for this account
                lines += _grants(proposal, grant["place"], grant["account"])
            previous = grant["account"]
        elif publication := _PUBLICATION.match(line):
            lines += _publication(proposal, publication["name"], publication["place"])
        else:
            lines.append(_OF_INIT if line.startswith(_OF_FILE) else line)
    lines += _search_path(proposal, previous)
    return "\n".join(lines) + "\n"


def grant(kind: str, columns: Sequence[str], place: str, table: str, account: str) -> str:
    """The statement that lets an account read columns."""
    names = ", ".join(quoted(kind, name) for name in columns)
    return f"GRANT SELECT ({names}) ON {place}.{quoted(kind, table)} TO {account};"


def quoted(kind: str, name: str) -> str:
    """A name as SQL: always in quotes, because any name may be a reserved word."""
    mark = '"' if kind == "postgres" else "`"
    return f"{mark}{name.replace(mark, mark * 2)}{mark}"


def _grants(proposal: Proposal, place: str, account: str) -> list[str]:
    kind = proposal.catalogue.kind
    masks = (Use.MASKED,) if "_READER_" not in account else ()  # Debezium reads them; this program must not
    tables = [(each.table.table, (*each.captured, *each.names(*masks))) for each in proposal.users]
    tables += [(each.table.table, each.captured) for each in proposal.linked]
    return [grant(kind, columns, place, table, account) for table, columns in tables]


def _publication(proposal: Proposal, name: str, place: str) -> list[str]:
    named = [f"{place}.{quoted('postgres', table)}" for table in proposal.rules.captured()]
    return [
        "-- Without FULL an update comes without its old row, and nothing shows what changed.",
        *(f"ALTER TABLE {each} REPLICA IDENTITY FULL;" for each in named),
        f"CREATE PUBLICATION {name} FOR TABLE {', '.join(named)};",
    ]


def _search_path(proposal: Proposal, account: str) -> list[str]:
    """On PostgreSQL, for a schema that an account does not find by itself: the program names tables without it."""
    if not proposal.catalogue.schema or proposal.catalogue.is_default_schema:
        return []
    return [f'ALTER ROLE {account} SET search_path = "${{CDC_POSTGRES_SCHEMA:-{proposal.catalogue.schema}}}";']
