"""Cancels requests that wait for their time, has them come now, or has them wait again."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress

from shardq.auditing import target_of
from shardq.cli.bulk import add, bulk
from shardq.cli.confirming import confirm
from shardq.cli.opened import opened, run
from shardq.cli.render import report
from shardq.errors import ConfigurationError, QueueFull
from shardq.exporting import Export, new_file_name, whole_path
from shardq.later.exported import lines, read_requests
from shardq.later.match import Match
from shardq.later.requests import Later
from shardq.model import Deferred, When
from shardq.text.wording import counted

#: How many requests are acted upon at once.
_AT_ONCE = 256


def cancel(options: argparse.Namespace) -> None:
    """Have requests never come, after they were written to a file."""
    wanted = run(_chosen(options))
    if not wanted:
        report(options, "0 cancelled", cancelled=0, gone=0, export=None)
        return
    _confirm(options, wanted, "cancelled")
    path = whole_path(options.export or new_file_name("cancelled"))
    done = run(_cancelled(options, wanted, path))
    gone = len(wanted) - done
    text = f"{done:,} cancelled, and written to {path} before{_said(gone)}"
    report(options, text, cancelled=done, gone=gone, export=path)


def run_now(options: argparse.Namespace) -> None:
    """Have requests come now."""
    wanted = run(_chosen(options))
    _confirm(options, wanted, "had come now")
    done = run(_ran(options, wanted))
    gone = len(wanted) - done
    report(options, f"{done:,} came now{_said(gone)}", came=done, gone=gone)


def restore(options: argparse.Namespace) -> None:
    """Have requests of a file wait again."""
    match = Match(*options.match)
    found = [its for its in read_requests(options.file) if options.handler in (None, its.handler) and match(its)]
    if found:
        confirm(options, f"{counted(len(found), 'request')} of {options.file} would wait for their time again")
    count = run(_restored(options, found))
    report(options, f"{count:,} restored", restored=count)


async def _chosen(options: argparse.Namespace) -> list[str]:
    """Ids of what a command names: by ids, a filter, or all. Raises `ConfigurationError` for what is not there."""
    filtered = bool(options.match or options.handler)
    if (options.all and options.ids) or not (options.all or options.ids or filtered):
        raise ConfigurationError("which requests? give their ids, --handler MODULE/Handler, --match, or --all")
    match = Match(*options.match)
    with _later(options) as later:
        if not options.ids:
            return [its.id async for its in later.each(options.handler, match=match)]
        found = [await _one(later, wanted) for wanted in dict.fromkeys(options.ids)]
        return [its.id for its in found if options.handler in (None, its.handler) and match(its)]


async def _one(later: Later, wanted: str) -> Deferred:
    if "#" in wanted:
        raise ConfigurationError(
            f"{wanted} comes again and again: `later skip` leaves out its next time, `recurrent cancel` ends it"
        )
    found = await later.get(wanted)
    if found is None:
        raise ConfigurationError(
            f"{wanted} does not wait any more: it has come, or was cancelled; `later list` shows what there is"
        )
    return found


async def _cancelled(options: argparse.Namespace, wanted: Sequence[str], path: str) -> int:
    done = f"cancelled, and written to {path},"
    async with bulk(options, "later cancel", _target(options), done) as (storage, deed):
        later = Later(storage)
        with Export(path) as export:
            async for page in _pages(later, options, wanted):
                export.add(lines(page))
                await add(deed, await later.cancel(*page))
        return deed.count


async def _ran(options: argparse.Namespace, wanted: Sequence[str]) -> int:
    async with bulk(options, "later run", _target(options), "had come now") as (storage, deed):
        later = Later(storage)
        async for page in _pages(later, options, wanted):
            for its in page:
                await add(deed, await later.run(its))
        return deed.count


async def _restored(options: argparse.Namespace, found: Sequence[Deferred]) -> int:
    target = target_of([f"from {os.path.basename(options.file)}", *_handlers(options)], options.match)
    async with bulk(options, "later restore", target, "restored") as (storage, deed):
        later = Later(storage)
        for its in found:
            # A `cancel` that was cut off may have left there what it had written.
            if await _waits(later, its):
                continue
            if await storage.append([(its.pipe, [its.message])], when=When(its.due_us)) is None:
                raise QueueFull(f"the storage has no room for {its.id}: try again later with those behind it")
            await add(deed, 1)
        return deed.count


async def _waits(later: Later, its: Deferred) -> bool:
    """Whether this very request waits in the storage, which may be another one than it was in."""
    with suppress(ConfigurationError):  # of an id that this kind of storage does not give
        return await later.get(its.id) == its
    return False


async def _pages(later: Later, options: argparse.Namespace, wanted: Sequence[str]) -> AsyncIterator[list[Deferred]]:
    """Those of these ids, as far as they still wait, so many at once. None that came later is among them."""
    page, ids = list[Deferred](), set(wanted)
    async with aclosing(_those(later, options, wanted)) as found:
        async for its in found:
            if its and its.id in ids:
                page.append(its)
            if len(page) == _AT_ONCE:
                yield page
                page = []
    if page:
        yield page


async def _those(
    later: Later, options: argparse.Namespace, wanted: Sequence[str]
) -> AsyncGenerator[Deferred | None, None]:
    """Looked up one by one where each was named, else read in their order."""
    if options.ids:
        for its_id in wanted:
            yield await later.get(its_id)
        return
    async for its in later.each(options.handler):
        yield its


@contextmanager
def _later(options: argparse.Namespace) -> Iterator[Later]:
    with opened(options.url) as storage:
        yield Later(storage)


def _target(options: argparse.Namespace) -> str:
    return target_of([*options.ids, *_handlers(options)], options.match)


def _handlers(options: argparse.Namespace) -> list[str]:
    """The one that is meant, if any."""
    return [options.handler] if options.handler else []


def _confirm(options: argparse.Namespace, wanted: Sequence[str], what: str) -> None:
    """Ask, unless requests are named one by one."""
    if wanted and not options.ids:
        confirm(options, f"{counted(len(wanted), 'request')} would be {what}")


def _said(gone: int) -> str:
    return f"; {gone:,} had come meanwhile, or were cancelled by others" if gone else ""
