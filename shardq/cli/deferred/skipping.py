"""Has recurrent requests leave out their next time."""

from __future__ import annotations

import argparse

from shardq.auditing import target_of
from shardq.cli.bulk import add, bulk
from shardq.cli.confirming import confirm
from shardq.cli.deferred.coming import again
from shardq.cli.opened import observed, run
from shardq.cli.render import report
from shardq.errors import ConfigurationError
from shardq.later.match import Match
from shardq.later.requests import Later
from shardq.recurrent import Recurring, recurring_of
from shardq.text.wording import counted


def skip(options: argparse.Namespace) -> None:
    """Have recurrent requests leave out their next time, and come again at the time after it."""
    wanted = run(_chosen(options))
    if wanted and not options.ids:
        confirm(options, f"{counted(len(wanted), 'recurrent request')} would not come next time")
    done = run(_skipped(options, wanted))
    gone = len(wanted) - done
    said = f"; {gone:,} had come meanwhile, or were skipped or ended by others" if gone else ""
    report(options, f"{done:,} skipped{said}", skipped=done, gone=gone)


async def _chosen(options: argparse.Namespace) -> list[Recurring]:
    """Those that a command names: by ids, a filter, or all. Raises `ConfigurationError` for what is not there."""
    filtered = bool(options.match or options.handler)
    if (options.all and options.ids) or not (options.all or options.ids or filtered):
        raise ConfigurationError(
            "which recurrent requests? give their ids, --handler MODULE/Handler, --match, or --all"
        )
    match = Match(*options.match)
    with observed(options.url) as observer:
        found = {its.id: its async for its in again(observer)}
    for wanted in options.ids:
        if wanted not in found:
            raise ConfigurationError(f"there is no recurrent request {wanted}: `later list` shows what there is")
    named = (found[its_id] for its_id in dict.fromkeys(options.ids or found))
    return [
        recurring_of(its.as_scheduled)
        for its in named
        if options.handler in (None, its.handler) and match(its.as_deferred)
    ]


async def _skipped(options: argparse.Namespace, wanted: list[Recurring]) -> int:
    target = target_of([*options.ids, *([options.handler] if options.handler else [])], options.match)
    async with bulk(options, "later skip", target, "skipped") as (storage, deed):
        later = Later(storage)
        for its in wanted:
            await add(deed, await later.skip(its))
        return deed.count
