"""What `python -m shardq move` does."""

from __future__ import annotations

import argparse

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
        run(_cancelled(source, target))
        report(options, f"{come_from} moves no more", cancelled=True)
        return
    capacity_bytes = parse_bytes(options.capacity) if options.capacity else None
    moved = run(_moved(source, target, capacity_bytes, options.timeout))
    text = f"{counted(moved.messages, 'message')} moved from {come_from} to {go_to}"
    if moved.before:
        text = f"{come_from} moved to {go_to} before"
    report(options, text, moved=moved.messages, to=go_to)


async def _moved(source: str, target: str, capacity_bytes: int | None, timeout_s: float) -> mover.Moved:
    async with ends(source, target, capacity_bytes) as both:
        return await mover.move(both, timeout_s, lambda said: complain(f"shardq: {said}"))


async def _cancelled(source: str, target: str) -> None:
    async with ends(source, target) as both:
        await mover.cancel(both)
