"""The command lines of `shardq later ...`."""

from __future__ import annotations

from shardq.cli.deferred import acting, looking, skipping
from shardq.cli.verbs import Verbs, count, group, on_storage, shows_requests, takes_reason
from shardq.text.arguments import Parser


def add_later(verbs: Verbs) -> None:
    """Add the commands for requests that wait for their time."""
    inner: Verbs = group(
        verbs, "later", "requests that wait for their time: list, cancel, run, skip, restore"
    ).add_subparsers(required=True, metavar="COMMAND")
    _looking(inner)
    _acting(inner)


def _looking(verbs: Verbs) -> None:
    text = "what waits for its time, and what comes again and again, the next due first"
    listing = on_storage(verbs, "list", looking.list_, text)
    listing.add_argument("--after", metavar="ID", help="those behind this one")
    listing.add_argument("--limit", type=count, default=100, help="show at most so many (default: 100)")
    _takes_filters(listing)
    shows_requests(listing)


def _acting(verbs: Verbs) -> None:
    cancel = on_storage(verbs, "cancel", acting.cancel, "have requests never come, and write them to a file")
    cancel.add_argument("--export", metavar="FILE", help="a new file (default: shardq-cancelled-TIME-PID.jsonl)")
    run = on_storage(verbs, "run", acting.run_now, "have requests come now, each behind what waits in its tube")
    skip = on_storage(verbs, "skip", skipping.skip, "have recurrent requests leave out their next time")
    for verb, which in ((cancel, "that wait for their time"), (run, "that wait for their time"), (skip, "that recur")):
        verb.add_argument("ids", nargs="*", metavar="ID", help="as `list` shows them")
        verb.add_argument("--all", action="store_true", help=f"all {which}")
        verb.add_argument("--yes", action="store_true", help="do not ask, whatever number it is")
        takes_reason(verb)
        _takes_filters(verb)
    restore = on_storage(verbs, "restore", acting.restore, "have requests wait again that `cancel` wrote to a file")
    restore.add_argument("file", metavar="FILE", help="the file; what is due by now comes at once")
    restore.add_argument("--yes", action="store_true", help="do not ask, whatever number it is")
    takes_reason(restore)
    _takes_filters(restore)


def _takes_filters(verb: Parser) -> None:
    verb.add_argument("--handler", metavar="MODULE/Handler", help="of this handler only")
    verb.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="FILTER",
        help="those that fit all filters: FIELD=VALUE, FIELD~TEXT, within=1h, beyond=1h",
    )
