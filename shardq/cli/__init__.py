"""`shardq status|tubes|peek|dead|park|recurrent|results|check|move|take-over|destroy`: look from outside into a
segment, also into one without a supervisor, or into a storage on a server. The same as `python -m shardq`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from typing import NoReturn

from shardq.cli import commands, dead, moving, output, recurrent, results
from shardq.errors import ShardqError, shown
from shardq.settings import LONGEST_S
from shardq.text.printable import printable
from shardq.version import __version__

#: Exit codes: the command was done; it could not be done. argparse ends with 2 for a command line that cannot be used.
OK, FAILED = 0, 1

_URL_VARIABLE = "QUEUE_SUPERVISOR_URL"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.url:
        parser.error(f"which storage? give --url shm://NAME or redis://HOST:PORT, or set {_URL_VARIABLE}")
    said = StringIO()
    try:
        try:
            with redirect_stdout(said):
                options.run(options)
        finally:
            output.say(said.getvalue())
    except ShardqError as error:
        output.complain(f"shardq: {error}")
        return FAILED
    return OK


class _Parser(argparse.ArgumentParser):
    """Its error messages repeat the arguments without their control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def _parser() -> _Parser:
    parser = _Parser(prog="shardq", description="Look into a shared-memory segment.")
    parser.add_argument("--version", action="version", version=f"shardq {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    status = _verb(verbs, "status", commands.status, "totals, rates, memory, and each worker with what it has in hand")
    status.add_argument(
        "--sample", type=_seconds, default=1.0, metavar="SECONDS", help="measure rates so long; 0: none (default: 1)"
    )
    tubes = _verb(verbs, "tubes", commands.tubes, "tubes that are not empty: length, age of the oldest, bound worker")
    tubes.add_argument(
        "--limit", type=_count, default=100, help="show at most so many, the longest first (default: 100)"
    )
    peek = _verb(verbs, "peek", commands.peek, "the requests at the head of a tube, without taking them")
    peek.add_argument("pipe", metavar="MODULE/Handler/THREAD/PRIORITY", help="name of the tube, as `tubes` shows it")
    peek.add_argument("--limit", type=_count, default=10, help="show at most so many (default: 10)")
    letters = verbs.add_parser("dead", help="dead letters: list, show, requeue, drop", description="Dead letters.")
    _dead_verbs(letters.add_subparsers(required=True, metavar="COMMAND"))
    park = _verb(verbs, "park", dead.park, "make dead letters of all requests in a tube that no worker serves")
    park.add_argument("pipe", metavar="MODULE/Handler/THREAD/PRIORITY", help="name of the tube, as `tubes` shows it")
    later = verbs.add_parser("recurrent", help="recurrent requests: list, cancel", description="Recurrent requests.")
    _recurrent_verbs(later.add_subparsers(required=True, metavar="COMMAND"))
    kept = _verb(verbs, "results", results.results, "the results that are kept for tickets, the oldest first")
    kept.add_argument("--limit", type=_count, default=100, help="show at most so many (default: 100)")
    kept.add_argument("--drop", type=_count, nargs="+", metavar="ID", help="forget those of these ids instead")
    _move(verbs)
    _take_over(verbs)
    destroy = _verb(verbs, "destroy", commands.destroy, "remove a segment that no process uses, and all in it")
    _verb(verbs, "check", commands.check, "read a whole storage, and say what is wrong in it")
    destroy.add_argument("--with-requests", action="store_true", help="also if requests are left in it, which are lost")
    return parser


def _move(verbs: argparse._SubParsersAction[_Parser]) -> None:
    text = "move all that a storage holds into another one; given again, it goes on where it was cut off"
    move = verbs.add_parser("move", help=text, description=text)
    move.add_argument("url", metavar="SOURCE", help="shm://NAME, redis://HOST:PORT, or env:VARIABLE that has the URL")
    move.add_argument("target", metavar="TARGET", help="the same; a segment is made where there is none")
    _move_options(move)
    move.set_defaults(run=moving.move)


def _take_over(verbs: argparse._SubParsersAction[_Parser]) -> None:
    text = "move what the package sharded-queue has on a server into a storage; its programs have to be ended before"
    verb = verbs.add_parser("take-over", help=text, description=text)
    verb.add_argument("url", metavar="SOURCE", help="redis://HOST:PORT, or env:VARIABLE that has the URL")
    verb.add_argument("target", metavar="TARGET", help="shm://NAME, redis://HOST:PORT, or env:VARIABLE")
    verb.add_argument("modules", nargs="+", metavar="MODULE[:Handler]", help="whose handlers the requests are of")
    verb.add_argument("--prefix", default="tube_", help="its QUEUE_STORAGE_PREFIX (default: tube_)")
    verb.add_argument("--lock-prefix", default="lock_", help="its QUEUE_LOCK_PREFIX (default: lock_)")
    verb.add_argument("--timezone", default="UTC", help="of its hosts, for rules that name none (default: UTC)")
    verb.add_argument("--ignore-locks", action="store_true", help="do not wait for locks that its workers left")
    _move_options(verb)
    verb.set_defaults(run=_taking_over)


def _taking_over(options: argparse.Namespace) -> None:
    """The command, which needs what only the drivers of servers need."""
    import_module("shardq.cli.take_over").take_over(options)


def _move_options(verb: _Parser) -> None:
    verb.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="wait so long for batches in hand (default: 60)",
    )
    verb.add_argument("--capacity", metavar="SIZE", help="of a segment that is made, as 512M")
    verb.add_argument("--cancel", action="store_true", help="undo a move that is not finished")
    verb.add_argument("--json", action="store_true", help="print JSON instead of text")


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{shown(text)} cannot be: give a number from 0 up")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{shown(text)} cannot be: give seconds from 0 up, at most 10 years")
    return seconds


def _dead_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    listing = _verb(verbs, "list", dead.list_, "the dead letters of each handler, the oldest first")
    listing.add_argument("handler", nargs="?", metavar="MODULE/Handler", help="of this handler only")
    listing.add_argument("--limit", type=_count, default=100, help="show at most so many (default: 100)")
    show = _verb(verbs, "show", dead.show, "one dead letter: its request, error and traceback")
    show.add_argument("id", metavar="ID", help="as `list` shows it")
    requeue = _verb(verbs, "requeue", dead.requeue, "put requests back into their tubes, with new attempts")
    requeue.add_argument("--head", action="store_true", help="ahead of what waits there (default: behind it)")
    drop = _verb(verbs, "drop", dead.drop, "forget dead letters, with their requests")
    for verb in (requeue, drop):
        verb.add_argument("ids", nargs="*", metavar="ID", help="as `list` shows them, or MODULE/Handler for all of it")
        verb.add_argument("--all", action="store_true", help="all dead letters of the segment")


def _recurrent_verbs(verbs: argparse._SubParsersAction[_Parser]) -> None:
    listing = _verb(verbs, "list", recurrent.list_, "the recurrent requests, the next due first")
    listing.add_argument("--limit", type=_count, default=100, help="show at most so many (default: 100)")
    cancel = _verb(verbs, "cancel", recurrent.cancel, "have requests come no more")
    cancel.add_argument("ids", nargs="*", metavar="ID", help="as `list` shows them")
    cancel.add_argument("--all", action="store_true", help="all recurrent requests of the segment")


def _verb(
    verbs: argparse._SubParsersAction[_Parser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
) -> _Parser:
    verb = verbs.add_parser(name, help=text, description=text)
    verb.add_argument(
        "--url",
        default=os.environ.get(_URL_VARIABLE),
        help=f"shm://NAME or redis://HOST:PORT (environment: {_URL_VARIABLE})",
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of text")
    verb.set_defaults(run=run)
    return verb
