"""What `python -m shardq move` does."""

from __future__ import annotations

import argparse
import asyncio

from shardq.auditing import Deed, record
from shardq.cli.opened import run
from shardq.cli.output import Interrupted, complain
from shardq.cli.render import report
from shardq.connect import signpost
from shardq.model import Standing
from shardq.moving import mover
from shardq.moving.ends import ends, url_of
from shardq.settings import parse_bytes
from shardq.text.wording import counted


def move(options: argparse.Namespace) -> None:
    """Move all that a storage holds, or cancel a move that is not finished."""
    source, target = url_of(options.url), url_of(options.target)
    come_from, go_to = signpost(source), signpost(target)
    if options.cancel:
        run(_cancelled(options, source, target))
        report(options, f"{come_from} moves no more", cancelled=True)
        return
    capacity_bytes = parse_bytes(options.capacity) if options.capacity else None
    moved = run(_moved(options, source, target, capacity_bytes))
    text = f"{counted(moved.messages, 'message')} moved from {come_from} to {go_to}"
    if moved.before:
        text = f"{come_from} moved to {go_to} before"
    report(options, text, moved=moved.messages, to=go_to)


async def _moved(options: argparse.Namespace, source: str, target: str, capacity_bytes: int | None) -> mover.Moved:
    async with ends(source, target, capacity_bytes) as both:
        moved = await run_move(both, options.timeout)
        if not moved.before:
            await _record(options, both, "move", moved.messages)
        return moved


async def run_move(both: mover.Ends, timeout_s: float) -> mover.Moved:
    """As `mover.move`. Raises `Interrupted` where Ctrl-C leaves the source as one that moves."""
    try:
        return await mover.move(both, timeout_s, lambda said: complain(f"shardq: {said}"))
    except asyncio.CancelledError as error:
        if (await both.source.stand()).standing is Standing.OPEN:
            raise
        raise Interrupted(
            f"interrupted: {both.come_from} waits for the rest of its move: give the same command again, or cancel the "
            "move with --cancel"
        ) from error


async def _cancelled(options: argparse.Namespace, source: str, target: str) -> None:
    async with ends(source, target, for_now=True) as both:  # where the target is gone, the source goes on all the same
        await mover.cancel(both)
        await _record(options, both, "move cancel", 1)


async def _record(options: argparse.Namespace, both: mover.Ends, what: str, count: int) -> None:
    """At both ends: each says of the other one."""
    for end, where in ((both.source, f"to {both.go_to}"), (both.target, f"from {both.come_from}")):
        await record(end.storage, Deed(what, where, options.reason, "command", count=count))
