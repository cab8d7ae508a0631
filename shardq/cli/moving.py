"""What `python -m shardq move` does."""

from __future__ import annotations

import argparse

from shardq.auditing import Deed, record
from shardq.cli.opened import run
from shardq.cli.output import complain
from shardq.cli.render import report
from shardq.connect import signpost
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
        moved = await mover.move(both, options.timeout, lambda said: complain(f"shardq: {said}"))
        if not moved.before:
            await _record(options, both, "move", moved.messages)
        return moved


async def _cancelled(options: argparse.Namespace, source: str, target: str) -> None:
    async with ends(source, target, for_now=True) as both:  # where the target is gone, the source goes on all the same
        await mover.cancel(both)
        await _record(options, both, "move cancel", 1)


async def _record(options: argparse.Namespace, both: mover.Ends, what: str, count: int) -> None:
    """At both ends: each says of the other one."""
    for end, where in ((both.source, f"to {both.go_to}"), (both.target, f"from {both.come_from}")):
        await record(end.storage, Deed(what, where, options.reason, "command", count=count))
