"""The proposal as a connector file, made from the file in ``connect/`` for this kind of database. Pure.

Only the settings that name tables and columns are written anew. All others are taken as they are, so that a connector
of ``init`` and the reference's connector behave alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from consumer.commands.init.proposal import LinkedProposal, Proposal, Use, UsersProposal
from consumer.events.topic_tables import sanitized

_LINE = re.compile(r'^(?P<indent>\s*)"(?P<name>[^"]+)": "(?:[^"\\]|\\.)*"(?P<comma>,?)$')
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_MASK = "column.mask.hash.v2.SHA-256.with.salt.${CDC_MASK_SALT}"
_KEYED = "message.key.columns"
_ONLY_LINKED = ("transforms", "predicates")


def to_json(proposal: Proposal, template: str) -> str:
    """The connector file as text. ``template``: the text of the file in ``connect/``."""
    settings = _settings(proposal)
    lines = []
    for line in with_defaults(template, proposal).splitlines():
        found = _LINE.match(line)
        name = found["name"] if found else ""
        if not proposal.linked and name.partition(".")[0] in _ONLY_LINKED:
            continue
        if found is None or name not in settings:
            lines.append(line)
        elif value := settings[name]:
            lines.append(f'{found["indent"]}"{name}": {json.dumps(value, ensure_ascii=False)}{found["comma"]}')
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def with_defaults(template: str, proposal: Proposal) -> str:
    """``template`` with this database and schema as the defaults of its placeholders."""
    catalogue = proposal.catalogue
    if "}" in catalogue.database + catalogue.schema:  # no default may contain it: the environment must name it
        return re.sub(r"(_(?:DATABASE|SCHEMA)):-\w+\}", r"\1}", template)
    text = re.sub(r"(_DATABASE):-\w+\}", lambda match: f"{match[1]}:-{catalogue.database}}}", template)
    return re.sub(r"(_SCHEMA):-\w+\}", lambda match: f"{match[1]}:-{catalogue.schema}}}", text)


def include_pattern(place: str, table: str, columns: Sequence[str]) -> str:
    """The pattern of ``column.include.list`` for columns of one table; ``place``: of :func:`place_of`."""
    return f"{place}\\.{_literal(table)}\\.{_one_of(columns)}"


def place_of(kind: str, database: str, schema: str) -> str:
    """The database (PostgreSQL: the schema) as the connector's patterns name it."""
    name, variable = (schema, "SCHEMA") if kind == "postgres" else (database, "DATABASE")
    # A placeholder's value is used as a pattern: only a name without special characters means itself there.
    return f"${{CDC_{kind.upper()}_{variable}:-{name}}}" if _PLAIN.fullmatch(name) else _literal(name)


def _settings(proposal: Proposal) -> Mapping[str, str]:
    """The settings that name tables and columns; "" for one that is not needed."""
    catalogue = proposal.catalogue
    place = place_of(catalogue.kind, catalogue.database, catalogue.schema)
    users, linked = proposal.users, proposal.linked
    masked = [(each.table.table, each.names(Use.MASKED)) for each in users]
    masks = [include_pattern(place, table, names) for table, names in masked if names]
    included = [include_pattern(place, each.table.table, each.captured) for each in users]
    included += [include_pattern(place, each.table.table, each.captured) for each in linked]
    return {
        "table.include.list": f"{place}\\.{_one_of(proposal.rules.captured())}",
        "column.include.list": ",".join([*included, *masks]),
        _MASK: ",".join(masks),
        _KEYED: ";".join(_keys(place, users, linked)),
        "transforms.userKey.renames": ",".join(dict.fromkeys(_renames(users, linked))),
        "predicates.keyedByUserId.pattern": f".*\\.{_one_of([sanitized(each.table.table) for each in linked])}",
        "topic.creation.users.include": f".*\\.{_one_of([sanitized(each.table.table) for each in users])}",
    }


def _keys(place: str, users: Sequence[UsersProposal], linked: Sequence[LinkedProposal]) -> list[str]:
    """The key columns of each table whose records are not keyed by the user already."""
    keys = [(each.table.table, each.table.key) for each in users if each.source.primary_key != (each.table.key,)]
    keys += [(each.table.table, each.table.user_id) for each in linked]
    return [f"{place}.{_literal(table)}:{_literal(column)}" for table, column in keys]


def _renames(users: Sequence[UsersProposal], linked: Sequence[LinkedProposal]) -> list[str]:
    """From the column with the user's id to the users' own key: equal key bytes give equal partitions."""
    return [f"{each.table.user_id}:{each.owners(users)[0].table.key}" for each in linked]


def _one_of(names: Sequence[str]) -> str:
    return f"({'|'.join(_literal(name) for name in names)})"


def _literal(name: str) -> str:
    """A regular expression of Java that matches only ``name``."""
    return re.sub(r"([^\w-])", r"\\\1", name)
