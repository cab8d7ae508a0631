"""Who looks at a storage while it works, each in a process of its own. To add one, write what it does in a look."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from shardq.metrics.exposition import text_of
from shardq.metrics.looks import SLICE_S, Looks

_CONTEXT = multiprocessing.get_context("fork")

Watch = Callable[[], Coroutine[Any, Any, object]]
#: Makes what one look does.
Look = Callable[[str], Watch]
#: Without which packages some cannot look.
NEEDS: Mapping[str, str] = {"page": "starlette", "top": "textual"}
#: How often each looks.
EACH_S = 1.0


def metrics(url: str) -> Watch:
    """As a monitoring server that asks for metrics each second."""
    looks = Looks(url, SLICE_S)

    async def look() -> str:
        return text_of(await looks.look())

    return look


def page(url: str) -> Watch:
    """As a browser that has the first page open, which asks for it anew each second."""
    from starlette.requests import Request

    from shardq.web.access import Token
    from shardq.web.desk import Desk, Site
    from shardq.web.pages import family

    desk = Desk(Site(url), Token("none", "none"))
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}

    async def look() -> object:
        return await family.overview(desk, Request(scope))

    return look


def top(url: str) -> Watch:
    """What `shardq top` reads, and the rows of all of its tables. It draws them in a process of its own."""
    from argparse import Namespace

    from shardq.cli.top.rows import TABLES
    from shardq.cli.top.source import Source

    source = Source(Namespace(url=url, app=(), reveal=False))

    async def look() -> object:
        seen = await source.look(letters=True)
        return [table.rows(*seen) for table in TABLES.values()]

    return look


def nothing(url: str) -> Watch:
    """No look: what a process beside the workers costs by itself."""

    async def look() -> None:
        pass

    return look


WATCHERS: Mapping[str, Look] = {"nothing": nothing, "top": top, "page": page, "metrics": metrics}


class Watcher:
    """The process of a watcher. It is forked on entering, and looks only while it is `awake`."""

    def __init__(self, name: str, url: str) -> None:
        self._look, self._url = WATCHERS[name], url
        self.awake = _CONTEXT.Event()
        self._process = _CONTEXT.Process(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def _run(self) -> None:
        look = self._look(self._url)
        with asyncio.Runner() as runner:
            while True:
                self.awake.wait()
                began = time.monotonic()
                runner.run(look())
                time.sleep(max(0.0, began + EACH_S - time.monotonic()))
