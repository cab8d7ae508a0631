"""What all commands have in common: their options, and the kinds of values that these take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from shardq.cli.examples import EXAMPLES
from shardq.errors import shown
from shardq.settings import LONGEST_S
from shardq.text.arguments import Parser

URL_VARIABLE = "QUEUE_SUPERVISOR_URL"
#: Views are renewed after so many seconds at the earliest.
_SHORTEST_S = 0.1


if TYPE_CHECKING:
    #: Where commands are added.
    Verbs = argparse._SubParsersAction[Parser]
else:
    Verbs = argparse._SubParsersAction


def verb(verbs: Verbs, name: str, run: Callable[[argparse.Namespace], None], text: str) -> Parser:
    """A command with `--json`, and with the examples of its name in its help."""
    made = group(verbs, name, text)
    made.add_argument("--json", action="store_true", help="print JSON instead of text")
    made.set_defaults(run=run)
    return made


def on_storage(verbs: Verbs, name: str, run: Callable[[argparse.Namespace], None], text: str) -> Parser:
    """A command for a storage that `--url` names."""
    made = verb(verbs, name, run, text)
    names_storage(made)
    return made


def names_storage(made: Parser) -> None:
    """The option that says which storage a command is for."""
    made.add_argument(
        "--url",
        default=os.environ.get(URL_VARIABLE),
        help=f"shm://NAME or redis://HOST:PORT (environment: {URL_VARIABLE})",
    )


def later(module: str, name: str) -> Callable[[argparse.Namespace], None]:
    """What a command does, in a module that is imported only when it is done: most commands do without it."""

    def done(options: argparse.Namespace) -> None:
        getattr(import_module(module), name)(options)

    return done


def group(verbs: Verbs, name: str, text: str) -> Parser:
    """A command, or several whose names begin with this one."""
    made = verbs.add_parser(name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    examples = EXAMPLES.get(made.prog.removeprefix("shardq "), ())
    made.epilog = "examples:\n" + "\n".join(f"  shardq {each}" for each in examples) if examples else None
    return made


def takes_reason(made: Parser) -> None:
    """The option of commands that change something."""
    made.add_argument("--reason", default="", metavar="TEXT", help="why, for those who look: `audit` shows it")


def shows_requests(made: Parser, *, runs_handler: bool = False) -> None:
    """Options of commands that show requests. `runs_handler`: whether they cannot do without the application."""
    why = "which has the handler" if runs_handler else "which knows the types of requests, to hide all their secrets"
    made.add_argument(
        "--app",
        action="append",
        default=[],
        required=runs_handler,
        metavar="MODULE[:Handler]",
        help=f"a module to import, {why}",
    )
    made.add_argument("--reveal", action="store_true", help="show secrets instead of ***")


def count(text: str) -> int:
    """A number from 0 up."""
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{shown(text)} cannot be: give a number from 0 up")
    return int(text)


def seconds(text: str) -> float:
    """So many seconds, at most 10 years."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{shown(text)} cannot be: give seconds from 0 up, at most 10 years")
    return found


def interval(text: str) -> float:
    """The same, from a tenth of a second up."""
    found = seconds(text)
    if found < _SHORTEST_S:
        raise argparse.ArgumentTypeError(f"{shown(text)} cannot be: give seconds from {_SHORTEST_S} up")
    return found
