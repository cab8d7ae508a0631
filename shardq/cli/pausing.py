"""What `python -m shardq pause` and `resume` do, and how pauses are shown."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import asdict

from shardq.cli.opened import changed, run
from shardq.cli.output import complain
from shardq.cli.render import age, report
from shardq.model import Pause, When
from shardq.text.printable import printable


def pause(options: argparse.Namespace) -> None:
    """Keep workers off a handler."""
    made, served = run(_paused(options))
    for_s = "" if options.for_s is None else f" for {age(options.for_s) or '0 s'}"
    report(options, f"{options.handler} is paused{for_s}", **asdict(made))
    if not served:
        complain(f"shardq: no worker looks for requests of {options.handler}: is that its name?")


def resume(options: argparse.Namespace) -> None:
    """Let workers have a handler again."""
    resumed = run(_resumed(options))
    text = f"{options.handler} {'goes on' if resumed else 'was not paused'}"
    report(options, text, handler=options.handler, resumed=resumed)


def pause_lines(pauses: Iterable[Pause]) -> list[str]:
    """A line for each handler that is paused."""
    now, lines = time.time(), list[str]()
    for its in pauses:
        left = "until it is resumed" if its.until_us is None else f"for {age(its.until_us / 1e6 - now) or '0 s'} more"
        why = f": {its.reason}" if its.reason else ""
        since = age(now - its.since_us / 1e6) or "0 s"
        lines.append(printable(f"paused:   {its.handler} {since} ago, {left}{why}"))
    return lines


async def _paused(options: argparse.Namespace) -> tuple[Pause, bool]:
    """The pause, and whether the handler may be served."""
    until = None if options.for_s is None else When(after_us=round(options.for_s * 1e6))
    async with changed(options, "pause", options.handler) as (storage, deed):
        await storage.pause(options.handler, until, options.reason)
        deed.count = 1
        stands = [its for its in await storage.pauses() if its.handler == options.handler]
        over = Pause(options.handler, now_us := time.time_ns() // 1000, now_us, options.reason)
        return stands[0] if stands else over, await storage.serving(options.handler) != 0


async def _resumed(options: argparse.Namespace) -> bool:
    async with changed(options, "resume", options.handler) as (storage, deed):
        deed.count = int(await storage.resume(options.handler))
        return bool(deed.count)
