"""`shardq top` on a terminal of Textual's, as a test sees it and presses its keys."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from shardq.cli.parser import new_parser
from shardq.cli.top.app import Top
from shardq.cli.top.pane import Pane
from shardq.cli.top.rows import TABLES
from shardq.cli.top.source import Source
from tests.support.tasks import LIMIT_S


class Screen:
    """What a test sees and does."""

    def __init__(self, pilot: Pilot[Any], app: Top) -> None:
        self.app = app
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def go(self, name: str) -> None:
        """Show a pane, and have the keys there."""
        await self.press(str([*TABLES].index(name) + 1))
        await self.until(lambda: self.app.focused is self.app.screen.query_one(f"#{name}", Pane))

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait until it did, while looks go on."""
        async with asyncio.timeout(LIMIT_S):
            while not happened():
                await self._pilot.pause(0.02)

    def rows(self, name: str) -> list[list[str]]:
        pane = self.app.screen_stack[0].query_one(f"#{name}", Pane)
        return [[str(cell) for cell in pane.get_row_at(place)] for place in range(pane.row_count)]

    def text(self, name: str) -> str:
        return str(self.app.screen.query_one(f"#{name}", Static).content)

    @property
    def seen(self) -> str:
        """All that stands on the terminal."""
        return "\n".join(
            "".join(segment.text for segment in strip) for strip in self.app.screen._compositor.render_strips()
        )


@asynccontextmanager
async def shown(url: str, *words: str, size: tuple[int, int] = (120, 30)) -> AsyncIterator[Screen]:
    """The command's application, on a terminal of Textual's."""
    options: argparse.Namespace = new_parser().parse_args(["top", "--url", url, *words])
    app = Top(Source(options), read_only=options.read_only, interval_s=0.2)
    async with app.run_test(size=size) as pilot:
        screen = Screen(pilot, app)
        await screen.until(lambda: "looking" not in screen.text("heading"))
        yield screen
