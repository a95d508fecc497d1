"""``python -m tests.support.stack``: the real servers for a person at a shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import Annotated, NoReturn

import psutil
import typer

from tests.support.stack import roster, state
from tests.support.stack.errors import StackError
from tests.support.stack.stack import Stack
from tests.support.stack.state import State

DOWN_TIMEOUT_S = 30.0
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


def _fail(problem: str, code: int = 1) -> NoReturn:
    typer.echo(problem, err=True)
    raise typer.Exit(code)


def _choices(text: str, allowed: tuple[str, ...], option: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    for each in chosen:
        if each not in allowed:
            _fail(f"{option}: {each!r} is none of {', '.join(allowed)}", 2)
    return chosen


def _ports(given: list[str]) -> dict[str, int]:
    ports = {}
    for each in given:
        name, _, number = each.partition("=")
        if not (name and number.isdigit()):
            _fail(f"--port: {each!r} is not NAME=NUMBER", 2)
        ports[name] = int(number)
    return ports


@app.command()
def up(
    databases: Annotated[str, typer.Option(help=f"Of {', '.join(roster.DATABASES)}.")] = "mysql",
    redis: Annotated[str, typer.Option(help=f"Of {', '.join(roster.REDIS)}.")] = "standalone",
    registry: Annotated[bool, typer.Option("--registry", help="With a schema registry.")] = False,
    stack: Annotated[str, typer.Option(help=f"One of {', '.join(roster.KINDS)}.")] = "auto",
    port: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, such as mysql=3306.")] = None,
) -> None:
    """Start the servers, write .stack/env, and stay until Ctrl-C or ``down``."""
    if found := State.load():
        _fail(f"a stack is up already (pid {found.pid}); end it with: python -m tests.support.stack down")
    wanted = _choices(databases, roster.DATABASES, "--databases"), _choices(redis, roster.REDIS, "--redis")
    (kind,) = _choices(stack, roster.KINDS, "--stack")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        with Stack.start(*wanted, registry, kind=kind, ports=_ports(port or [])) as running:
            _stay(running)
    except StackError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        state.forget()


def _stay(running: Stack) -> None:
    env = State.of(running).save(running.exports())
    for server in running.servers.values():
        typer.echo(f"{server.name:15} {server.address}")
    typer.echo(f"addresses and accounts: source {os.path.relpath(env)}    end: Ctrl-C", err=True)
    while True:
        signal.pause()


@app.command()
def down() -> None:
    """End the running stack."""
    found = State.load()
    if found is None:
        return typer.echo("no stack is up", err=True)
    process = psutil.Process(found.pid)
    process.terminate()
    try:
        process.wait(DOWN_TIMEOUT_S)
    except psutil.TimeoutExpired:
        process.kill()  # its servers go with it


@app.command()
def status() -> None:
    """Tell how each server is; exit code 1 unless all are up."""
    found = State.load()
    if found is None:
        _fail("no stack is up")
    states = {entry: entry.describe() for entry in found.servers}
    for entry, how in states.items():
        typer.echo(f"{entry.name:15} {entry.host}:{entry.port:<6} {how}")
    if set(states.values()) != {"up"}:
        raise typer.Exit(1)


@app.command()
def logs(name: str, follow: Annotated[bool, typer.Option("--follow", "-f")] = False) -> None:
    """Print the log of one server."""
    found = State.load()
    if found is None:
        _fail("no stack is up")
    files = {entry.name: entry.log for entry in found.servers}
    if name not in files:
        _fail(f"no server {name!r}; there are {', '.join(files)}", 2)
    with contextlib.suppress(KeyboardInterrupt):
        subprocess.run(["tail", "-n", "+1", *(["-F"] if follow else []), files[name]], check=False)


if __name__ == "__main__":
    app(prog_name="python -m tests.support.stack")
