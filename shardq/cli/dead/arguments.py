"""The command lines of `shardq dead ...`."""

from __future__ import annotations

from shardq.cli.dead import acting, looking
from shardq.cli.verbs import Verbs, count, group, later, on_storage, shows_requests, takes_reason
from shardq.text.arguments import Parser

_HERE = "shardq.cli.dead"


def add_dead(verbs: Verbs) -> None:
    """Add the commands for dead letters."""
    letters = group(verbs, "dead", "dead letters: list, show, requeue, drop, edit, replay, test")
    inner: Verbs = letters.add_subparsers(required=True, metavar="COMMAND")
    _looking(inner)
    _acting(inner)
    _one_by_one(inner)


def _looking(verbs: Verbs) -> None:
    listing = on_storage(verbs, "list", looking.list_, "the dead letters of each handler, the oldest first")
    listing.add_argument("handler", nargs="?", metavar="MODULE/Handler", help="of this handler only")
    listing.add_argument("--after", metavar="ID", help="those behind this one")
    listing.add_argument("--limit", type=count, default=100, help="show at most so many (default: 100)")
    _takes_filters(listing)
    shows_requests(listing)
    show = on_storage(verbs, "show", looking.show, "one dead letter: its request, error and traceback")
    _takes_one(show)
    shows_requests(show)


def _acting(verbs: Verbs) -> None:
    requeue = on_storage(verbs, "requeue", acting.requeue, "put requests back into their tubes, with new attempts")
    requeue.add_argument("--from", dest="file", metavar="FILE", help="put back what `dead drop` wrote to this file")
    drop = on_storage(verbs, "drop", acting.drop, "forget dead letters, with their requests, and write them to a file")
    drop.add_argument("--export", metavar="FILE", help="a new file (default: shardq-dropped-TIME-PID.jsonl)")
    for verb in (requeue, drop):
        verb.add_argument("ids", nargs="*", metavar="ID", help="as `list` shows them, or MODULE/Handler for all of it")
        verb.add_argument("--all", action="store_true", help="all dead letters of the storage")
        verb.add_argument("--yes", action="store_true", help="do not ask, whatever number it is")
        takes_reason(verb)
        _takes_filters(verb)
    _goes_ahead(requeue)


def _one_by_one(verbs: Verbs) -> None:
    edit = on_storage(
        verbs,
        "edit",
        later(f"{_HERE}.editing", "edit"),
        "change the request of a dead letter in $EDITOR, and put it back",
    )
    edit.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change this field, and open no editor"
    )
    _goes_ahead(edit)
    takes_reason(edit)
    shows_requests(edit)
    replay = on_storage(
        verbs, "replay", later(f"{_HERE}.replaying", "replay"), "run the handler on the request here; the letter stays"
    )
    replay.add_argument(
        "--pdb",
        action="store_true",
        help="if it raises, look at it in the debugger, whose output is as it is: with control characters and secrets",
    )
    test = on_storage(
        verbs,
        "test",
        later(f"{_HERE}.replaying", "test"),
        "write a test for pytest that runs the handler on the request",
    )
    for verb in (replay, test):
        shows_requests(verb, runs_handler=True)
    for verb in (edit, replay, test):
        _takes_one(verb)


def _takes_one(verb: Parser) -> None:
    verb.add_argument("id", metavar="ID", help="as `dead list` shows it")


def _takes_filters(verb: Parser) -> None:
    verb.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="FILTER",
        help="those that fit all filters: FIELD=VALUE, FIELD~TEXT, error~TEXT, type=EXCEPTION, frame~TEXT, older=1h, "
        "newer=1h",
    )


def _goes_ahead(verb: Parser) -> None:
    verb.add_argument("--head", action="store_true", help="ahead of what waits there (default: behind it)")
