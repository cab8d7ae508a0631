"""What `python -m shardq take-over` does."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

from shardq.auditing import Deed, record
from shardq.cli.application import handlers_of
from shardq.cli.moving import run_move
from shardq.cli.opened import run
from shardq.cli.render import report
from shardq.connect import is_redis, signpost
from shardq.drivers.redis.ancestor import AncestorServer
from shardq.errors import ConfigurationError, shown
from shardq.moving import mover
from shardq.moving.ancestor import Ancestor, Handlers, Translator
from shardq.moving.ends import opened, url_of
from shardq.settings import parse_bytes
from shardq.text.wording import counted


def take_over(options: argparse.Namespace) -> None:
    """Move what `sharded-queue` has on a server into a storage, or cancel that while it is not finished."""
    source, target = url_of(options.url), url_of(options.target)
    if not is_redis(source):
        raise ConfigurationError("sharded-queue keeps its requests on a server: give redis://HOST:PORT")
    _check_zone(options.timezone)
    handlers = handlers_of(options.modules)
    moved = run(_taken_over(options, source, target, handlers))
    if moved is None:
        report(options, f"{signpost(source)} has nothing of sharded-queue with this prefix", moved=0)
    elif options.cancel:
        report(options, f"nothing of {signpost(source)} moves any more", cancelled=True)
    else:
        text = f"{counted(moved.messages, 'request')} of sharded-queue moved to {signpost(target)}"
        report(options, text, moved=moved.messages, to=signpost(target))


def _check_zone(name: str) -> None:
    """Raise `ConfigurationError` for what is no time zone, before a rule is said to be wrong for it."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # the latter for a folder of zones, as Europe
        raise ConfigurationError(f"there is no time zone {shown(name)}: write it as Europe/Berlin") from error


async def _taken_over(options: argparse.Namespace, source: str, target: str, handlers: Handlers) -> mover.Moved | None:
    """What moved; None: there is nothing."""
    async with _ancestor(options, source, handlers) as ancestor:
        if not options.cancel and await ancestor.nothing_to_do():
            return None
        return await _moved(options, source, target, ancestor)


async def _moved(options: argparse.Namespace, source: str, target: str, ancestor: Any) -> mover.Moved:
    async with _target(options, target) as go_to:
        ends = mover.Ends(ancestor, go_to, f"{options.prefix} on {signpost(source)}", signpost(target))
        if options.cancel:
            await mover.cancel(ends)
            await _record(options, ends, "take-over cancel", 1)
            return mover.Moved(0, before=False)
        moved = await run_move(ends, options.timeout)
        await _record(options, ends, "take-over", moved.messages)
        return moved


async def _record(options: argparse.Namespace, ends: mover.Ends, what: str, count: int) -> None:
    """In the storage that has the requests now: what `sharded-queue` keeps remembers no actions."""
    deed = Deed(what, f"from {ends.come_from}", options.reason, "command", count=count)
    await record(ends.target.storage, deed)


@asynccontextmanager
async def _ancestor(options: argparse.Namespace, source: str, handlers: Handlers) -> AsyncIterator[Any]:
    server = AncestorServer(source, options.prefix, options.lock_prefix)
    try:
        translator = Translator(handlers, options.timezone)
        yield Ancestor(server, translator, time.time_ns() // 1000, ignores_locks=options.ignore_locks)
    finally:
        await server.close()


@asynccontextmanager
async def _target(options: argparse.Namespace, target: str) -> AsyncIterator[Any]:
    capacity_bytes = parse_bytes(options.capacity) if options.capacity else None
    async with opened(target, capacity_bytes, make=True, for_now=options.cancel) as found:
        yield found
