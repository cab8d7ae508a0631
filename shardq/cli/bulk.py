"""What commands have in common that change many things: they say what was done before an error, and it is recorded."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shardq.auditing import Deed
from shardq.cli.opened import changed
from shardq.cli.output import CommandFailed
from shardq.errors import ShardqError
from shardq.protocols import Storage


@asynccontextmanager
async def bulk(options: argparse.Namespace, what: str, target: str, done: str) -> AsyncIterator[tuple[Storage, Deed]]:
    """As `changed`. An error says how much was done before it, in the word `done`."""
    async with changed(options, what, target) as (storage, deed):
        try:
            yield storage, deed
        except ShardqError as error:
            if not deed.count:
                raise
            raise CommandFailed(f"{error}; {deed.count:,} were {done} before that") from error
