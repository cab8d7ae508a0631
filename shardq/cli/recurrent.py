"""What `python -m shardq recurrent ...` does."""

from __future__ import annotations

import argparse
import time
from hashlib import blake2b
from typing import Any

from shardq.auditing import target_of
from shardq.cli.bulk import add, bulk
from shardq.cli.opened import first, observed, run
from shardq.cli.render import as_json, columns, moment, report, until
from shardq.cli.views import View
from shardq.errors import ConfigurationError
from shardq.model import Scheduled, key_of, split_key
from shardq.model.trace import untraced
from shardq.pages import each
from shardq.scheduling.schedule import next_times_us
from shardq.text.wording import counted


def list_(options: argparse.Namespace) -> None:
    """Print recurrent requests."""
    view = View(options)
    shown, found = run(_found(options))
    if options.json:
        print(as_json([as_values(scheduled, view) for scheduled in shown]))
        return
    now_us = time.time_ns() // 1000
    rows = [(id_of(s), s.schedule, until(s.due_us, now_us), as_json(_request(s, view))) for s in shown]
    print(columns(("id", "schedule", "due", "request"), rows, found, "no recurrent requests"), end="")


def cancel(options: argparse.Namespace) -> None:
    """End recurrent requests. Raises `ConfigurationError` for an id that is not there, and then ends none."""
    if bool(options.ids) == options.all:
        raise ConfigurationError("which recurrent requests? give their ids, or --all")
    count = run(_cancelled(options))
    report(options, f"{counted(count, 'recurrent request')} ended", ended=count)


async def _found(options: argparse.Namespace) -> tuple[list[Scheduled], int]:
    """The first of them, and how many there are."""
    with observed(options.url) as observer:
        return await first(each(observer.scheduled), options.limit), (await observer.backlog()).recurrent


async def _cancelled(options: argparse.Namespace) -> int:
    wanted_ids = frozenset(options.ids)
    async with bulk(options, "recurrent cancel", target_of(options.ids), "ended") as (storage, deed):
        found = {its: one async for one in each(storage.scheduled) if (its := id_of(one)) in wanted_ids or options.all}
        for wanted in options.ids:
            if wanted not in found:
                raise ConfigurationError(
                    f"there is no recurrent request {wanted}: `recurrent list` shows what there is"
                )
        chosen = found.values() if options.all else [found[wanted] for wanted in dict.fromkeys(options.ids)]
        for scheduled in chosen:
            await add(deed, await storage.unschedule(scheduled.pipe, scheduled.message))
        return deed.count


def id_of(scheduled: Scheduled) -> str:
    """The pipe, and a digest of the request: both together are its identity."""
    return f"{scheduled.pipe}#{blake2b(untraced(scheduled.message), digest_size=8).hexdigest()}"


def _request(scheduled: Scheduled, view: View) -> Any:
    return view.request(scheduled.message, split_key(key_of(scheduled.pipe))[0])


def as_values(scheduled: Scheduled, view: View) -> dict[str, Any]:
    """A recurrent request as JSON shows it."""
    due = moment(scheduled.due_us)
    values = {"id": id_of(scheduled), "pipe": scheduled.pipe, "schedule": scheduled.schedule, "due": due}
    following = list(map(moment, next_times_us(scheduled.schedule, scheduled.due_us)))
    return values | {"next": following, "request": _request(scheduled, view)}
