"""Shows what waits for its time."""

from __future__ import annotations

import argparse
import time
from contextlib import aclosing
from typing import Any

from shardq.cli.deferred.coming import Coming, coming
from shardq.cli.opened import observed, run
from shardq.cli.render import as_json, columns, moment, until
from shardq.cli.views import View
from shardq.later.match import Match
from shardq.scheduling.schedule import next_times_us
from shardq.text.printable import printable

#: Most bytes of a request that is decoded here, and most characters of it in a line.
_DECODED_BYTES, _LONGEST = 4096, 120


def list_(options: argparse.Namespace) -> None:
    """Print what waits, and what comes again."""
    view = View(options)
    found = run(_found(options))
    shown = found[: options.limit]
    if options.json:
        print(as_json([_as_values(its, view) for its in shown]))
        return
    now_us = time.time_ns() // 1000
    rows = [
        (its.id, until(its.due_us, now_us), moment(its.due_us), its.pipe, its.schedule or "once", _short(its, view))
        for its in shown
    ]
    suffix = " that matches" if options.match or options.handler or options.after else ""
    titles = ("id", "due", "utc", "tube", "comes", "request")
    if rows or not found:
        print(columns(titles, rows, len(rows), f"nothing waits for its time{suffix}"), end="")
    if shown and len(found) > len(shown):
        print(f"the next ones: --after {printable(shown[-1].id)}")


async def _found(options: argparse.Namespace) -> list[Coming]:
    """What is to be shown, and one more where there is one."""
    match, found = Match(*options.match), list[Coming]()
    with observed(options.url) as observer:
        async with aclosing(coming(observer, options.after)) as requests:
            async for its in requests:
                if options.handler in (None, its.handler) and match(its.as_deferred):
                    found.append(its)
                if len(found) > options.limit:
                    break
    return found


def _as_values(its: Coming, view: View) -> dict[str, Any]:
    values = {"id": its.id, "handler": its.handler, "tube": its.pipe, "due": moment(its.due_us)}
    following = list(map(moment, next_times_us(its.schedule, its.due_us))) if its.schedule else []
    return values | {"schedule": its.schedule or None, "next": following, "request": _request(its, view)}


def _request(its: Coming, view: View) -> Any:
    """The request, unless it is large: then how many bytes it has."""
    if len(its.message) > _DECODED_BYTES:
        return {"bytes": len(its.message)}
    return view.request(its.message, its.handler)


def _short(its: Coming, view: View) -> str:
    text = as_json(_request(its, view))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
