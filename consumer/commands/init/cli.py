"""``cdc-consumer init``: mapping, connector file and grants from the catalogue of a database."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.shared.options import (
    AsJson,
    ConfigFile,
    MappingFile,
    need_database,
    rules_of,
    settings_of,
    without_password,
)
from consumer.errors import ConfigError

if TYPE_CHECKING:
    from consumer.commands.init.proposal import Proposal
    from consumer.mapping.catalogue import Catalogue
    from consumer.settings.sources import Settings


def init(
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            "--database",
            help="mysql://…, mariadb://… or postgresql://…, of a read-only account, without its password.",
            callback=without_password,
        ),
    ] = None,
    tables: Annotated[
        str | None, typer.Option("--tables", help="The tables, comma separated; default: all whose use is evident.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for the files; without it they are only described.")
    ] = None,
    users: Annotated[
        list[str] | None, typer.Option(help="TABLE=TYPE or TABLE=TYPE:KEY, whose rows are users; may be repeated.")
    ] = None,
    linked: Annotated[
        list[str] | None,
        typer.Option(help="TABLE=COLUMN or TABLE=COLUMN:TYPE, whose rows belong to users; may be repeated."),
    ] = None,
    done: Annotated[
        list[str] | None,
        typer.Option(help="TABLE=VALUE,… or TABLE.COLUMN=VALUE,… with which a linked row counts; may be repeated."),
    ] = None,
    balance: Annotated[
        list[str] | None, typer.Option(help="COLUMN or TABLE.COLUMN with the balance; may be repeated.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Field with the user's group, or none.")] = None,
    schema: Annotated[str | None, typer.Option(help="Schema of the tables, on PostgreSQL.")] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Compare the present mapping with the catalogue, and write nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
    mapping_file: MappingFile = None,
) -> None:
    """Propose mapping, connector file and grants from the catalogue of a database, for tables of your own.

    It reads no row. Exit code 1 if something necessary could not be decided, or with --diff if anything differs.
    """
    from consumer.commands.init.choices import choices_of

    choices = choices_of(tables, users or (), linked or (), done or (), balance or (), group)
    if diff and (to is not None or choices.named()):
        raise ConfigError("--diff", "compares the present mapping, and takes no other decision", fix="give it alone")
    settings = settings_of(config_file, mapping_file, database_url=_with_password(database_url))
    need_database(settings)
    if diff:
        _compare(settings, schema or "", as_json=as_json)
        return
    from consumer.commands.init.files import check_free, write
    from consumer.commands.init.proposal import Proposal
    from consumer.commands.init.propose import propose
    from consumer.commands.init.report import next_steps, summary, to_json, to_text, written_to_json
    from consumer.commands.shared.screen import Screen
    from consumer.mapping.reference import reference

    found = propose(_read(settings, schema or ""), choices, reference())
    texts = _texts(found) if isinstance(found, Proposal) and to is not None else {}
    if to is not None:
        check_free(to, texts, force=force)
    _print(to_json(found) if as_json else to_text(found, _width()))
    paths = [str(path) for path in write(to, texts)] if to is not None else []
    if as_json:
        _print(written_to_json(paths))
    else:
        _print(next_steps(found, paths, _address(settings)) if isinstance(found, Proposal) and paths else ())
        typer.echo()
        Screen().show(summary(found, paths))
    if not isinstance(found, Proposal):
        raise typer.Exit(1)


def _texts(proposal: Proposal) -> dict[str, str]:
    """The texts of the files by name."""
    from consumer.commands.init.connector_text import to_json
    from consumer.commands.init.grants_text import to_sql
    from consumer.commands.init.mapping_text import to_toml
    from consumer.commands.shared.connect_files import connector_text, grants_text

    kind = proposal.catalogue.kind
    return {
        "mapping.toml": to_toml(proposal, "mapping.toml"),
        f"{kind}.json": to_json(proposal, connector_text(kind)),
        f"{kind}.sql": to_sql(proposal, grants_text(kind)),
    }


def _compare(settings: Settings, schema: str, *, as_json: bool) -> None:
    from consumer.commands.init.differences import differences
    from consumer.commands.init.report import difference_to_json, differences_to_text, summary_of_differences
    from consumer.commands.shared.screen import Screen

    rules = rules_of(settings)
    catalogue = _read(settings, schema)
    found = differences(catalogue, rules)
    if as_json:
        _print(map(difference_to_json, found))
    else:
        _print(differences_to_text(catalogue, found, os.environ, _width()))
        typer.echo()
        Screen().show(summary_of_differences(found))
    if found:
        raise typer.Exit(1)


def _read(settings: Settings, schema: str) -> Catalogue:
    from consumer.database.catalogue import read_catalogue

    return read_catalogue(settings.database, schema)


def _with_password(url: str | None) -> str | None:
    """Ask for the password of a URL with a user, if somebody is there to answer."""
    from urllib.parse import quote, urlsplit

    if url is None or sys.stdin is None or not sys.stdin.isatty():
        return url
    try:
        parts = urlsplit(url)
    except ValueError:  # reported later, with what is allowed
        return url
    if not parts.username or parts.password:
        return url
    password: str = typer.prompt(
        f"password of {parts.username}", default="", hide_input=True, show_default=False, err=True
    )
    return url.replace(f"://{parts.username}@", f"://{parts.username}:{quote(password, safe='')}@", 1)


def _address(settings: Settings) -> str:
    """Host and port of the database's URL, without the login."""
    from sqlalchemy import make_url

    if settings.database.url is None:
        return ""
    url = make_url(settings.database.url.get_secret_value())  # a password may contain a slash
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host or ""
    return host if url.port is None else f"{host}:{url.port}"


def _width() -> int:
    """Of the terminal. Elsewhere each thing is one line, as with every command."""
    if not sys.stdout.isatty():
        return 10_000
    return min(shutil.get_terminal_size((80, 24)).columns, 100)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
