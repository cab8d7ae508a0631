"""Puts dead letters back, or forgets them, as many as a filter hits."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime

from shardq.cli.confirming import confirm
from shardq.cli.dead.reading import Chosen, chosen, count_of, letters_of, pages
from shardq.cli.opened import opened, run
from shardq.cli.render import report
from shardq.deadletters import Buried
from shardq.errors import ConfigurationError, QueueFull
from shardq.letters.exported import Export, read_letters
from shardq.letters.match import Match
from shardq.text.wording import counted


def requeue(options: argparse.Namespace) -> None:
    """Put requests back."""
    count = run(_put_back_from_file(options) if options.file else _put_back(options))
    report(options, f"{count:,} requeued", requeued=count)


def drop(options: argparse.Namespace) -> None:
    """Forget letters, after they were written to a file."""
    path = os.path.abspath(options.export or _file_name())
    count, file = run(_dropped(options, path))
    where = f", and written to {file} before" if file else ""
    report(options, f"{count:,} dropped{where}", dropped=count, export=file)


async def _put_back(options: argparse.Namespace) -> int:
    with letters_of(options.url) as letters:
        wanted = await chosen(letters, options)
        _confirm(options, wanted, "put back")
        count = 0
        async for page in pages(letters, wanted):
            for buried in page:
                count += await letters.requeue(buried, ahead=options.head)
        return count


async def _put_back_from_file(options: argparse.Namespace) -> int:
    """Append what a file has, in its order."""
    if options.ids or options.all or options.head:
        raise ConfigurationError("--from FILE puts back what is in the file: choose of it by --match only")
    match = Match(*options.match)
    found = [letter for id_, letter in read_letters(options.file) if match(Buried("", 0, letter))]
    if found:
        confirm(options, f"{counted(len(found), 'request')} would be put back from {options.file}")
    with opened(options.url) as storage:
        for count, letter in enumerate(found):
            if await storage.append([(letter.pipe, [letter.message])]) is None:
                raise QueueFull(
                    f"the storage has no room: the first {count:,} of {counted(len(found), 'request')} are put back; "
                    f"take their lines out of {options.file}, and try again later"
                )
    return len(found)


async def _dropped(options: argparse.Namespace, path: str) -> tuple[int, str | None]:
    """How many letters, and where they are now."""
    with letters_of(options.url) as letters:
        wanted = await chosen(letters, options)
        if not wanted:
            return 0, None
        _confirm(options, wanted, "dropped")
        count = 0
        with Export(path) as export:
            async for page in pages(letters, wanted):
                export.add(page)
                count += await letters.drop(*page)
        return count, export.path


def _confirm(options: argparse.Namespace, wanted: Chosen, what: str) -> None:
    """Ask, unless letters are named one by one."""
    if wanted and not _names_each(options.ids):
        confirm(options, f"{counted(count_of(wanted), 'dead letter')} would be {what}")


def _names_each(ids: Sequence[str]) -> bool:
    return bool(ids) and all("#" in each for each in ids)


def _file_name() -> str:
    return f"shardq-dropped-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"
