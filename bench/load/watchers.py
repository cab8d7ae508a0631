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
#: How often each looks.
EACH_S = 1.0


def metrics(url: str) -> Watch:
    """As a monitoring server that asks for metrics each second."""
    looks = Looks(url, SLICE_S)

    async def look() -> str:
        return text_of(await looks.look())

    return look


def nothing(url: str) -> Watch:
    """No look: what a process beside the workers costs by itself."""

    async def look() -> None:
        pass

    return look


WATCHERS: Mapping[str, Look] = {"nothing": nothing, "metrics": metrics}


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
