"""What keys do to the storage, without a word about how it is asked for. Each answers with a line for the user."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shardq.auditing import Deed, recorded, target_of
from shardq.cli.dead.editing import editable
from shardq.cli.opened import observed, opened
from shardq.cli.views import View
from shardq.deadletters import Buried, DeadLetters, Letters
from shardq.errors import RequestError, ShardqError
from shardq.exporting import Export
from shardq.letters.edited import Edit
from shardq.letters.exported import lines
from shardq.protocols import Storage


class Doing:
    """Acts on the storage that a command names. All of it is called from one event loop."""

    def __init__(self, url: str, view: View) -> None:
        self._url = url
        self._view = view

    async def requeue(self, ids: Sequence[str]) -> str:
        """Put these letters back. Those that are gone already are not counted."""
        deed = self._deed("dead requeue", target_of(ids))
        try:
            async with self._changed(deed) as storage:
                letters = DeadLetters(storage)
                for wanted in ids:
                    found = await letters.get(wanted)
                    deed.count += found is not None and await letters.requeue(found)
        except ShardqError as error:
            return f"{deed.count:,} put back, and then: {error}"
        return f"{deed.count:,} put back"

    async def drop(self, ids: Sequence[str], path: str) -> str:
        """Drop these letters, once they are written to a new file. Those that are gone already are not counted."""
        deed = self._deed("dead drop", target_of(ids))
        try:
            async with self._changed(deed) as storage:
                letters = DeadLetters(storage)
                found = [its for wanted in ids if (its := await letters.get(wanted))]
                if not found:
                    return "they are gone already"
                with Export(path, "begin in a folder that takes a new file") as export:
                    export.add(lines(found))
                deed.count += await letters.drop(*found)
        except ShardqError as error:
            return f"{deed.count:,} dropped: {error}"
        return f"{deed.count:,} dropped, and written to {path} before"

    async def request(self, wanted: str) -> str | None:
        """The request of a letter as JSON to be edited. None: the letter is gone. Raises `ConfigurationError` for what
        has no such form.
        """
        found = await self._letter(wanted)
        return None if found is None else json.dumps(editable(found, self._view), indent=2)

    async def edit(self, wanted: str, shown: str, edited: str) -> str:
        """Put a letter back with its request as it was edited. Raises `RequestError` for what cannot be its request."""
        found = await self._letter(wanted)
        if found is None:
            return f"{wanted} is gone meanwhile: nothing is changed"
        try:
            after = json.loads(edited)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"this is no JSON: {error}") from error
        message = Edit(json.loads(shown), after, free=False).applied(found.letter.message)
        if message == found.letter.message:
            return "nothing was changed: the dead letter stays"
        deed = self._deed("dead edit", wanted)
        try:
            async with self._changed(deed) as storage:
                deed.count = int(await DeadLetters(storage).requeue(found, message=message))
        except ShardqError as error:
            return f"nothing is changed: {error}"
        return "1 put back as edited" if deed.count else f"{wanted} is gone meanwhile: nothing is changed"

    async def pause(self, handler: str, reason: str) -> str:
        """Keep workers off a handler until it is resumed."""
        deed = self._deed("pause", handler, reason)
        try:
            async with self._changed(deed) as storage:
                await storage.pause(handler, None, reason)
                deed.count = 1
        except ShardqError as error:
            return str(error)
        return f"{handler} is paused"

    async def resume(self, handler: str) -> str:
        """Let workers have a handler again."""
        deed = self._deed("resume", handler)
        try:
            async with self._changed(deed) as storage:
                deed.count = int(await storage.resume(handler))
        except ShardqError as error:
            return str(error)
        return f"{handler} {'goes on' if deed.count else 'was not paused'}"

    async def _letter(self, wanted: str) -> Buried | None:
        with observed(self._url) as observer:
            return await Letters(observer).get(wanted)

    @asynccontextmanager
    async def _changed(self, deed: Deed) -> AsyncIterator[Storage]:
        with opened(self._url) as storage:
            async with recorded(storage, deed):
                yield storage

    @staticmethod
    def _deed(what: str, target: str, reason: str = "") -> Deed:
        return Deed(what, target, reason.strip(), "command")
