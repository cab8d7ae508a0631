"""The command lines of `shardq`."""

from __future__ import annotations

import argparse

from shardq.cli import commands, completion, moving, recurrent, results, status
from shardq.cli.dead.arguments import add_dead
from shardq.cli.dead.parking import park
from shardq.cli.deferred.arguments import add_later
from shardq.cli.verbs import (
    Verbs,
    count,
    group,
    interval,
    later,
    names_storage,
    on_storage,
    seconds,
    shows_requests,
    takes_reason,
    verb,
)
from shardq.cli.version import ShowVersion
from shardq.cli.web import add_web
from shardq.text.arguments import Parser


def new_parser() -> Parser:
    """A parser of all commands. What it parses has `run`, which takes it."""
    starts = "A family that serves a storage is started by `python -m shardq.supervise MODULE --url shm://NAME`."
    parser = Parser(prog="shardq", description="Look into a storage, and steer what is in it.", epilog=starts)
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version, and whether the core is in C")
    verbs: Verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    _looking(verbs)
    _why(verbs)
    _stack(verbs)
    add_dead(verbs)
    _parking(verbs)
    add_later(verbs)
    _pausing(verbs)
    _audit(verbs)
    _recurrent(verbs)
    _results(verbs)
    _move(verbs)
    _take_over(verbs)
    _whole(verbs)
    _metrics(verbs)
    add_web(verbs)
    _completion(verbs)
    return parser


def _looking(verbs: Verbs) -> None:
    text = "totals, rates, memory, and each worker with what it has in hand"
    made = on_storage(verbs, "status", status.status, text)
    rates = made.add_mutually_exclusive_group()
    rates.add_argument(
        "--watch",
        type=interval,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="look again each so many seconds, until Ctrl-C (2 where nothing is said)",
    )
    rates.add_argument(
        "--sample",
        type=seconds,
        metavar="SECONDS",
        help="measure rates so long; 0: none (default: those of the last seconds)",
    )
    _top(verbs)
    text = "tubes that are not empty: length, age of the oldest, bound worker"
    tubes = on_storage(verbs, "tubes", _tubes, text)
    tubes.add_argument(
        "--limit", type=count, default=100, help="show at most so many, the longest first (default: 100)"
    )
    tubes.add_argument("--by-handler", action="store_true", help="sum up the tubes of each handler")
    peek = on_storage(verbs, "peek", commands.peek, "the requests at the head of a tube, without taking them")
    peek.add_argument("pipe", metavar="MODULE/Handler/THREAD/PRIORITY", help="name of the tube, as `tubes` shows it")
    peek.add_argument("--limit", type=count, default=10, help="show at most so many (default: 10)")
    peek.add_argument("--traces", action="store_true", help="in JSON as well, say in which trace each was sent")
    shows_requests(peek)


def _tubes(options: argparse.Namespace) -> None:
    name = "by_handler" if options.by_handler else "tubes"
    later(f"shardq.cli.{name}", name)(options)


def _why(verbs: Verbs) -> None:
    text = "why requests do not run, of a tube, a handler or all, in sentences, the most important reason first"
    made = on_storage(verbs, "why", later("shardq.cli.why", "why"), text)
    made.add_argument(
        "name",
        nargs="?",
        metavar="MODULE/Handler[/THREAD[/PRIORITY]]",
        help="a tube as `tubes` shows it, or all tubes of a thread or a handler (default: of the storage)",
    )
    made.add_argument(
        "--limit", type=count, default=10, help="of so many tubes at most, the longest waiting first (default: 10)"
    )


def _top(verbs: Verbs) -> None:
    made = group(verbs, "top", "handlers, workers, dead letters and threads on a terminal, renewed each second")
    made.set_defaults(run=later("shardq.cli.top.command", "top"), top=True)
    names_storage(made)
    made.add_argument("--read-only", action="store_true", help="without the keys that change something")
    shows_requests(made)


def _stack(verbs: Verbs) -> None:
    text = "where the code of workers is: the Python stacks of one of them or of all"
    made = on_storage(verbs, "stack", later("shardq.cli.stack", "stack"), text)
    made.add_argument("worker", nargs="?", type=count, metavar="WORKER", help="number as `status` shows it, or pid")


def _parking(verbs: Verbs) -> None:
    made = on_storage(verbs, "park", park, "make dead letters of all requests in a tube that no worker serves")
    made.add_argument("pipe", metavar="MODULE/Handler/THREAD/PRIORITY", help="name of the tube, as `tubes` shows it")
    takes_reason(made)


def _pausing(verbs: Verbs) -> None:
    text = "hand out no more requests of a handler; what is in hand is finished, and what comes is accepted"
    pause = on_storage(verbs, "pause", later("shardq.cli.pausing", "pause"), text)
    pause.add_argument("handler", metavar="MODULE/Handler", help="name of the handler, as `tubes` shows it")
    pause.add_argument(
        "--for", dest="for_s", type=seconds, metavar="SECONDS", help="so long (default: until it is resumed)"
    )
    takes_reason(pause)
    resume = on_storage(verbs, "resume", later("shardq.cli.pausing", "resume"), "end the pause of a handler")
    resume.add_argument("handler", metavar="MODULE/Handler", help="name of the handler, as `status` shows it")
    takes_reason(resume)


def _audit(verbs: Verbs) -> None:
    text = "the last 256 things that operators did to a storage: when, who, what, how many and why"
    made = on_storage(verbs, "audit", later("shardq.cli.audit", "audit"), text)
    made.add_argument("--limit", type=count, default=20, help="show at most so many, the latest first (default: 20)")
    made.add_argument("--follow", action="store_true", help="show each that comes, until Ctrl-C")


def _recurrent(verbs: Verbs) -> None:
    inner: Verbs = group(verbs, "recurrent", "recurrent requests: list, cancel").add_subparsers(
        required=True, metavar="COMMAND"
    )
    listing = on_storage(inner, "list", recurrent.list_, "the recurrent requests, the next due first")
    listing.add_argument("--limit", type=count, default=100, help="show at most so many (default: 100)")
    shows_requests(listing)
    cancel = on_storage(inner, "cancel", recurrent.cancel, "have requests come no more")
    cancel.add_argument("ids", nargs="*", metavar="ID", help="as `list` shows them")
    cancel.add_argument("--all", action="store_true", help="all recurrent requests of the storage")
    takes_reason(cancel)


def _results(verbs: Verbs) -> None:
    text = "the results that are kept for tickets, the oldest first"
    kept = on_storage(verbs, "results", results.results, text)
    kept.add_argument("--limit", type=count, default=100, help="show at most so many (default: 100)")
    kept.add_argument("--drop", type=count, nargs="+", metavar="ID", help="forget those of these ids instead")
    takes_reason(kept)
    shows_requests(kept)


def _move(verbs: Verbs) -> None:
    text = "move all that a storage holds into another one; given again, it goes on where it was cut off"
    move = verb(verbs, "move", moving.move, text)
    move.add_argument("url", metavar="SOURCE", help="shm://NAME, redis://HOST:PORT, or env:VARIABLE that has the URL")
    move.add_argument("target", metavar="TARGET", help="the same; a segment is made where there is none")
    _move_options(move)


def _take_over(verbs: Verbs) -> None:
    text = "move what the package sharded-queue has on a server into a storage; its programs have to be ended before"
    made = verb(verbs, "take-over", later("shardq.cli.take_over", "take_over"), text)
    made.add_argument("url", metavar="SOURCE", help="redis://HOST:PORT, or env:VARIABLE that has the URL")
    made.add_argument("target", metavar="TARGET", help="shm://NAME, redis://HOST:PORT, or env:VARIABLE")
    made.add_argument("modules", nargs="+", metavar="MODULE[:Handler]", help="whose handlers the requests are of")
    made.add_argument("--prefix", default="tube_", help="its QUEUE_STORAGE_PREFIX (default: tube_)")
    made.add_argument("--lock-prefix", default="lock_", help="its QUEUE_LOCK_PREFIX (default: lock_)")
    made.add_argument("--timezone", default="UTC", help="of its hosts, for rules that name none (default: UTC)")
    made.add_argument("--ignore-locks", action="store_true", help="do not wait for locks that its workers left")
    _move_options(made)


def _move_options(made: Parser) -> None:
    made.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="wait so long for batches in hand (default: 60)",
    )
    made.add_argument("--capacity", metavar="SIZE", help="of a segment that is made, as 512M")
    made.add_argument("--cancel", action="store_true", help="undo a move that is not finished")
    takes_reason(made)


def _whole(verbs: Verbs) -> None:
    text = "remove a storage that no process uses, and all in it"
    destroy = on_storage(verbs, "destroy", commands.destroy, text)
    destroy.add_argument("--with-requests", action="store_true", help="also if requests are left in it, which are lost")
    on_storage(verbs, "check", commands.check, "read a whole storage, and say what is wrong in it")


def _metrics(verbs: Verbs) -> None:
    made = group(verbs, "metrics", "print metrics once, in the text format of Prometheus")
    names_storage(made)
    made.add_argument(
        "--output",
        metavar="FILE",
        help="write them into this file instead, all or nothing, for a textfile collector",
    )
    made.set_defaults(run=later("shardq.cli.metrics", "metrics"))


def _completion(verbs: Verbs) -> None:
    made = group(verbs, "completion", "print a script with which a shell completes these commands")
    made.add_argument("shell", choices=completion.SHELLS, metavar="bash|zsh|fish", help="the shell")
    made.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    made.set_defaults(run=lambda options: completion.completion(options, new_parser()))
