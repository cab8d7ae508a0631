"""All commands and their options: what argparse knows of `shardq` and of `python -m shardq.supervise`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docs.extensions.facts.tables import code, table
from shardq.cli.parser import new_parser
from shardq.serving.command_line import parser as new_supervise_parser
from shardq.settings import SupervisorSettings


def text() -> str:
    """A section for each command of `shardq`."""
    return "\n".join(part for its in _leaves(new_parser()) for part in _section(its))


def supervise() -> str:
    """The options of `python -m shardq.supervise`."""
    meanings = SupervisorSettings.descriptions()
    return _options(new_supervise_parser(), meanings)


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Commands without commands below them."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for below in action.choices.values():
            yield from _leaves(below)


def _section(parser: argparse.ArgumentParser) -> Iterator[str]:
    description = (parser.description or "").rstrip(".")
    yield f"## {parser.prog}\n"
    yield f"{description[:1].upper()}{description[1:]}.\n"
    yield _options(parser, {})
    if parser.epilog:
        examples = "\n".join(line.strip() for line in parser.epilog.splitlines()[1:])
        yield f"```sh\n{examples}\n```\n"


def _options(parser: argparse.ArgumentParser, meanings: dict[str, str]) -> str:
    rows = [
        (_spelled(action), f"{meanings.get(action.dest, '')} {_help(action)}")
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    return table(("argument", "meaning"), rows)


def _spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return code(str(action.metavar or action.dest))
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(code(f"{option}{value}") for option in action.option_strings)


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
