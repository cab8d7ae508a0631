"""Puts dead letters back, or forgets them, as many as a filter hits."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from shardq.auditing import target_of
from shardq.cli.bulk import add, bulk
from shardq.cli.confirming import confirm
from shardq.cli.dead.reading import chosen, letters_of
from shardq.cli.opened import run
from shardq.cli.render import report
from shardq.deadletters import Buried, DeadLetters
from shardq.errors import ConfigurationError, QueueFull
from shardq.exporting import Export, new_file_name, whole_path
from shardq.letters.chosen import Chosen, count_of, pages
from shardq.letters.exported import lines, read_letters
from shardq.letters.match import Match
from shardq.protocols import Storage
from shardq.text.wording import counted


def requeue(options: argparse.Namespace) -> None:
    """Put requests back."""
    if options.file:
        count = _put_back_from_file(options)
    else:
        wanted = run(_chosen(options))
        _confirm(options, wanted, "put back")
        count = run(_put_back(options, wanted))
    report(options, f"{count:,} requeued", requeued=count)


def drop(options: argparse.Namespace) -> None:
    """Forget letters, after they were written to a file."""
    wanted = run(_chosen(options))
    if not wanted:
        report(options, "0 dropped", dropped=0, export=None)
        return
    _confirm(options, wanted, "dropped")
    path = whole_path(options.export or new_file_name("dropped"))
    count = run(_dropped(options, wanted, path))
    report(options, f"{count:,} dropped, and written to {path} before", dropped=count, export=path)


async def _chosen(options: argparse.Namespace) -> Chosen:
    with letters_of(options.url) as letters:
        return await chosen(letters, options)


async def _put_back(options: argparse.Namespace, wanted: Chosen) -> int:
    async with bulk(options, "dead requeue", _target(options), "put back") as (storage, deed):
        letters = DeadLetters(storage)
        async for page in pages(letters, wanted):
            for buried in page:
                await add(deed, await letters.requeue(buried, ahead=options.head))
        return deed.count


def _put_back_from_file(options: argparse.Namespace) -> int:
    if options.ids or options.all or options.head:
        raise ConfigurationError("--from FILE puts back what is in the file: choose of it by --match only")
    match = Match(*options.match)
    found = [letter for letter in read_letters(options.file) if match(letter)]
    if found:
        confirm(options, f"{counted(len(found), 'request')} would be put back from {options.file}")
    return run(_registered(options, found))


async def _registered(options: argparse.Namespace, found: Sequence[Buried]) -> int:
    """Append the requests of letters, in their order."""
    target = target_of([f"from {os.path.basename(options.file)}"], options.match)
    async with bulk(options, "dead requeue", target, "put back") as (storage, deed):
        letters = DeadLetters(storage)
        for buried in found:
            # A drop that was cut off may have left in its grave what it had written: then that goes back, and once.
            is_there = await letters.get(buried.id) == buried
            if not (is_there and await letters.requeue(buried)):
                await _append(storage, buried)
            await add(deed, 1)
        return deed.count


async def _append(storage: Storage, buried: Buried) -> None:
    letter = buried.letter
    if await storage.append([(letter.pipe, [letter.message])]) is None:
        raise QueueFull(f"the storage has no room for {buried.id}: try again later with those behind it")


async def _dropped(options: argparse.Namespace, wanted: Chosen, path: str) -> int:
    async with bulk(options, "dead drop", _target(options), f"dropped, and written to {path},") as (storage, deed):
        letters = DeadLetters(storage)
        with Export(path) as export:
            async for page in pages(letters, wanted):
                export.add(lines(page))
                await add(deed, await letters.drop(*page))
        return deed.count


def _target(options: argparse.Namespace) -> str:
    return target_of(options.ids, options.match)


def _confirm(options: argparse.Namespace, wanted: Chosen, what: str) -> None:
    """Ask, unless letters are named one by one."""
    if wanted and not _names_each(options.ids):
        confirm(options, f"{counted(count_of(wanted), 'dead letter')} would be {what}")


def _names_each(ids: Sequence[str]) -> bool:
    return bool(ids) and all("#" in each for each in ids)
