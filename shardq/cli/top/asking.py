"""What keys ask before something is done: each says first what it hits."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from textual.app import App

from shardq.cli.top.aside import Aside
from shardq.cli.top.dialogs import Editing, Question, Why
from shardq.cli.top.doing import Doing
from shardq.errors import ShardqError
from shardq.exporting import new_file_name
from shardq.text.printable import printable
from shardq.text.wording import counted


class Asking:
    """Asks on top of an application, and has it done aside. `changed` is called when something was done."""

    def __init__(self, app: App[Any], aside: Aside, doing: Doing, changed: Callable[[], None]) -> None:
        self._app = app
        self._aside = aside
        self._doing = doing
        self._changed = changed

    def requeue(self, ids: Sequence[str]) -> None:
        """Put letters back."""
        if ids:
            self._confirm(f"{_letters(ids)} would be put back. Go on?", partial(self._doing.requeue, ids))

    def drop(self, ids: Sequence[str]) -> None:
        """Drop letters, which are written to a file before."""
        if ids:
            path = os.path.abspath(new_file_name("dropped"))
            question = f"{_letters(ids)} would be dropped, and written to {path} before. Go on?"
            self._confirm(question, partial(self._doing.drop, ids, path))

    def edit(self, ids: Sequence[str]) -> None:
        """Edit the request of the first of these letters, and put it back."""
        if ids:
            self._run(self._edited(ids[0]))

    def pause(self, handler: str, queued: int) -> None:
        """Keep workers off a handler that has so many requests queued."""
        waiting = counted(queued, "queued request")
        question = f"{handler}, with {waiting}, would be handed out to no worker until it is resumed. Go on?"

        def answered(reason: str | None) -> None:
            if reason is not None:
                self._run(self._done(partial(self._doing.pause, handler, reason)))

        self._app.push_screen(Why(question), answered)

    def resume(self, handler: str, queued: int) -> None:
        """Let workers have it again."""
        waiting = counted(queued, "queued request")
        question = f"{handler}, with {waiting}, would be handed out again. Go on?"
        self._confirm(question, partial(self._doing.resume, handler))

    def _confirm(self, question: str, work: Callable[[], Coroutine[Any, Any, str]]) -> None:
        self._app.push_screen(Question(question), lambda yes: self._run(self._done(work)) if yes else None)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._app.run_worker(work)

    async def _done(self, work: Callable[[], Coroutine[Any, Any, str]]) -> None:
        told = await self._aside.do(work)
        self._changed()
        self._tell(told)

    async def _edited(self, wanted: str) -> None:
        """Ask for a text until it can be the request, or is given up."""
        try:
            given = await self._aside.do(partial(self._doing.request, wanted))
        except ShardqError as error:
            self._tell(str(error))
            return
        if given is None:
            self._tell(f"{wanted} is there no more")
            return
        text, wrong = given, ""
        while (answer := await self._app.push_screen_wait(Editing(f"Edit {wanted}", text, wrong))) is not None:
            text, wrong = answer, ""
            if not await self._app.push_screen_wait(Question("1 dead letter would be put back as edited. Go on?")):
                continue
            try:
                await self._done(partial(self._doing.edit, wanted, given, text))
                return
            except ShardqError as error:
                wrong = str(error)

    def _tell(self, text: str) -> None:
        self._app.notify(printable(text), markup=False)


def _letters(ids: Sequence[str]) -> str:
    return counted(len(ids), "dead letter")
