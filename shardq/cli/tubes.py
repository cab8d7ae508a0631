"""`shardq tubes`: the tubes that are not empty."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from shardq.cli.opened import observed, run
from shardq.cli.render import age, as_json, columns
from shardq.model import TubeView
from shardq.pages import all_pages
from shardq.sampling.tubes import largest, length_of


def tubes(options: argparse.Namespace) -> None:
    """Print the tubes that are not empty, the longest first."""
    shown, found = run(_tubes(options))
    if options.json:
        print(as_json(shown))
        return
    titles, rows = _table(shown)
    print(columns(titles, rows, found, "no tubes with requests in them"), end="")


async def _tubes(options: argparse.Namespace) -> tuple[list[TubeView], int]:
    """The tubes with most requests, and how many tubes there are. No more than these are kept."""
    longest, found = list[TubeView](), 0
    with observed(options.url) as observer:
        async for page in all_pages(observer.tubes):
            longest, found = largest(longest, page, length_of, options.limit), found + len(page)
    return longest, found


def _table(shown: Sequence[TubeView]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Titles and rows. A server says less of a tube."""
    says_more = any(view.oldest_age_s is not None for view in shown)
    titles = ("tube", "queued", "oldest", "worker pid", "failed") if says_more else ("tube", "queued", "worker")
    rows = list[Sequence[str]]()
    for view in shown:
        pipe, queued, worker = view.pipe, f"{view.queued:,}", _worker(view)
        more = (age(view.oldest_age_s or 0.0), worker, str(view.attempts or "")) if says_more else (worker,)
        rows.append((pipe, queued, *more))
    if any(view.paused for view in shown) or says_more:
        return titles, rows
    return titles[:2], [row[:2] for row in rows]


def _worker(view: TubeView) -> str:
    if view.unserved:
        return "unserved"
    if view.paused:
        return f"{view.worker_pid or ''} paused".lstrip()
    return f"rests {age(view.rests_s)}" if view.rests_s else str(view.worker_pid or "")
