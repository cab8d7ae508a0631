"""`shardq tubes --by-handler`: what waits, summed up for each handler, on every storage."""

from __future__ import annotations

import argparse
from typing import Any

from shardq.cli.opened import observed, run
from shardq.cli.render import age, as_json, columns
from shardq.pages import all_pages
from shardq.sampling.tubes import Queued, grouped


def by_handler(options: argparse.Namespace) -> None:
    """Print the handlers that have requests in tubes, those with most requests first."""
    found = run(_summed(options.url))
    shown = found[: options.limit]
    if options.json:
        print(as_json(shown))
        return
    titles = ("handler", "tubes", "queued", "oldest", "unserved", "resting", "state")
    print(columns(titles, [_row(its) for its in shown], len(found), "no tubes with requests in them"), end="")


async def _summed(url: str) -> list[dict[str, Any]]:
    sums = dict[str, Queued]()
    with observed(url) as observer:
        async for page in all_pages(observer.tubes):
            for handler, views in grouped(page).items():
                sums[handler] = sums.get(handler, Queued()).with_tubes(views)
        paused = {its.handler for its in await observer.pauses()}
    return [
        {
            "handler": name,
            "tubes": its.tubes,
            "queued": its.requests,
            "oldest_age_s": its.lag_s,
            "unserved": its.unserved,
            "resting": its.resting,
            "paused": name in paused,
        }
        for name, its in sorted(sums.items(), key=lambda its: (-its[1].requests, its[0]))
    ]


def _row(its: dict[str, Any]) -> tuple[str, ...]:
    counts = [f"{its[name]:,}" for name in ("tubes", "queued")]
    rare = [f"{its[name] or ''}" for name in ("unserved", "resting")]
    return its["handler"], *counts, age(its["oldest_age_s"] or 0.0), *rare, "paused" if its["paused"] else ""
