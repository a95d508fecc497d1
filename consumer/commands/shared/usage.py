"""Errors of a command line, in this program's words; and the names that options had in the previous version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

import typer
from pydantic import ValidationError

from consumer.errors import ConfigError
from consumer.settings.faults import fault

# typer includes click and does not export this class.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_FROM_TO = {"--since": "--from", "--until": "--to"}
_CONNECT = {"--url": "--connect-url"}
# By command. They will be removed in the next version.
OLD_NAMES = {
    ("dead-letters", "list"): _FROM_TO,
    ("dead-letters", "replay"): _FROM_TO,
    ("connect", "apply"): _CONNECT,
    ("connect", "status"): _CONNECT,
    ("connect", "diff"): _CONNECT,
}


def renamed(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line with the present names of options, and a sentence for each replaced one."""
    names = OLD_NAMES.get(tuple(arguments[:2]), {})  # type: ignore[arg-type]  # a shorter tuple is not found
    kept, notes = list(arguments), []
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if word == "--":
            break
        if name in names:
            kept[place] = f"{names[name]}{equals}{value}"
            notes.append(f"{name} is now {names[name]}; the next version will remove the old name")
    return kept, notes


def refusal(error: Exception, root: Any, arguments: Sequence[str]) -> ConfigError:
    """An error of the command line library, in this program's words. ``root``: the program as one command."""
    kind, (command, path) = type(error).__name__, _command(root, arguments)
    fix = f"see {path} --help"
    if kind in ("NoSuchOption", "BadOptionUsage"):
        name = str(getattr(error, "option_name", "option"))
        option = next((each for each in command.params if name in each.opts), None)
        if kind == "NoSuchOption":
            near = get_close_matches(name, [each for one in command.params for each in one.opts], 1)
            return ConfigError(name, "no such option", fix=near[0] if near else fix)
        if getattr(option, "is_flag", False):
            return ConfigError(name, "takes no value", fix=f"give {name} alone")
        return _error(name, "a value is missing", option, path)
    if (parameter := getattr(error, "param", None)) is not None:
        if kind == "MissingParameter":
            return _error(_name(parameter), "missing", parameter, path)
        cause = error.__cause__
        problem = fault(cause.errors()[0]).problem if isinstance(cause, ValidationError) else "can't be used"
        return _error(_name(parameter), problem, parameter, path)
    if commands := sorted(getattr(command, "commands", {})):
        return _no_such_command(arguments[path.count(" ") :], commands)
    # Click says "Got unexpected extra argument(s) (one two)"; older versions leave out "(s)" for one.
    extra = re.search(r"arguments?(?:\(s\))? \((.*)\)$", str(error), re.DOTALL)
    return ConfigError(extra[1] if extra else "arguments", "no argument is expected here", fix=fix)


def _command(root: Any, arguments: Sequence[str]) -> tuple[Any, str]:
    """The command that the first known words name, and its full name."""
    command, path = root, "cdc-consumer"
    for word in arguments:
        below = getattr(command, "commands", {}).get(word)
        if below is None:
            break
        command, path = below, f"{path} {word}"
    return command, path


def _no_such_command(left: Sequence[str], commands: Sequence[str]) -> ConfigError:
    if not left:
        return ConfigError("COMMAND", "missing", allowed=", ".join(commands))
    near = get_close_matches(left[0], commands, 1, 0.6)
    return ConfigError(left[0], "no such command", allowed="" if near else ", ".join(commands), fix="".join(near))


def _name(parameter: Any) -> str:
    if getattr(parameter, "param_type_name", "") == "option":
        return str(parameter.opts[0])
    return str(parameter.metavar or parameter.name).upper()


def _error(name: str, problem: str, parameter: Any, command: str) -> ConfigError:
    """The error with the allowed numbers; for other parameters it refers to the help."""
    about = getattr(parameter, "type_descriptor", None)
    kinds = get_args(annotation := getattr(about, "annotation", None)) or (annotation,)
    kind = next((each for each in (int, float) if each in kinds), None)
    if kind is None:
        return ConfigError(name, problem, fix=f"see {command} --help")
    allowed = "whole numbers" if kind is int else "numbers"
    limits = getattr(about, "parameter_info", None)
    for word, limit in (("from", getattr(limits, "min", None)), ("to", getattr(limits, "max", None))):
        allowed += f" {word} {limit}" if limit is not None else ""
    return ConfigError(name, problem, allowed=allowed)
