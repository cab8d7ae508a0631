"""What looks cost in a large storage: `python -m bench.looks` prints the processor time of one look of each kind, how
many bytes it says, and which part of a core a watched page takes. The segment has as many threads as there can be,
letters, and the slots of all workers taken, by processes that sleep.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from statistics import median
from typing import Any

from starlette.requests import Request

from bench.load.segment import segment
from shardq.cli import main as shardq
from shardq.deadletters import DeadLetter
from shardq.drivers import SharedStorage
from shardq.drivers.shared.membership import join, take_worker_slot
from shardq.model import Hand, Terms, dead_pipe, key_of
from shardq.web import api
from shardq.web.access import Token
from shardq.web.desk import Desk, Endpoint, Site
from shardq.web.pages import dead, family, threads

THREADS, LETTERS, WORKERS = 65_530, 10_000, 128
CAPACITY_BYTES = 1 << 30
HANDLER = "app.jobs/Resize"
_ROUNDS = 7
#: For so long a page is watched, which is asked for again each second.
_WATCHED_S = 20
_FRAME = '  File "/app/jobs.py", line 3, in perform\n    resize(image)\n'
#: About 9 KiB.
_TRACEBACK = "Traceback (most recent call last):\n" + (9 << 10) // len(_FRAME) * _FRAME


async def fill(storage: SharedStorage) -> None:
    """One request in each thread, and letters."""
    for first in range(0, THREADS, 1000):
        pipes = [f"{HANDLER}/{thread}/0" for thread in range(first, min(THREADS, first + 1000))]
        for pipe in pipes:
            assert await storage.append([(pipe, [b"\x01"])])
    grave, pipe = dead_pipe(HANDLER), f"{HANDLER}/bad/0"
    token, now_us = await storage.claim(key_of(pipe)), time.time_ns() // 1000
    for number in range(LETTERS):
        assert await storage.append([(pipe, [b"\x01"])])
        hand = Hand(key_of(pipe), token, await storage.take(key_of(pipe), token, Terms((0,), 1)))
        text = f"ValueError: number {number % 10}"
        letter = DeadLetter(pipe, number, b"\x01", "raised", text, 3, now_us, now_us, f"{_TRACEBACK}{text}\n")
        assert await storage.bury(hand, hand.batch.sequence, grave, letter.encoded())


@contextmanager
def workers(storage: SharedStorage) -> Iterator[None]:
    """Processes in the slots of workers, which do nothing."""
    with ExitStack() as started:
        for number in range(1, WORKERS + 1):
            started.callback(_ended, _worker(storage, number))
        yield


def _worker(storage: SharedStorage, number: int) -> int:
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        with open(reading, "rb") as said:
            assert said.read() == b"there"
        return pid
    try:
        take_worker_slot(storage)
        join(storage, number)
        os.write(writing, b"there")
        os.close(writing)
        signal.pause()
    finally:
        os._exit(1)


def _ended(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def command(*words: str) -> int:
    """A command, without the start of its process. Returns how many bytes it says."""
    with redirect_stdout(StringIO()) as said:
        assert shardq(words) == 0
    return len(said.getvalue().encode())


def tell(name: str, look: Callable[[], int]) -> None:
    """Print the processor time of a look, the median of several, and how many bytes it says."""
    found, nbytes = list[float](), 0
    for _ in range(_ROUNDS):
        began = time.process_time()
        nbytes = look()
        found.append((time.process_time() - began) * 1000)
    print(f"  {name:31} {median(found):8.1f} ms {nbytes:10,} bytes")


class Viewer:
    """Asks for pages, in this process."""

    def __init__(self, url: str) -> None:
        self._desk = Desk(Site(url), Token("none", "none"))

    async def scan(self) -> float:
        """The map of threads, once. Returns how many milliseconds of processor time that took."""
        began = time.process_time()
        while await self._desk.heat.found() is None:
            pass  # it waits until the map is there, or for two seconds
        return (time.process_time() - began) * 1000

    async def ask(self, endpoint: Endpoint) -> int:
        """With a look of its own. Returns how many bytes the answer has."""
        self._desk.lookout.forget()
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        answer = await endpoint(self._desk, Request(scope))
        assert answer.status_code == 200
        return len(answer.body)

    async def watch(self, endpoint: Endpoint, span_s: float) -> float:
        """Ask each second. Returns which part of a core that took."""
        began, spent_s = time.monotonic(), time.process_time()
        while time.monotonic() < began + span_s:
            await self.ask(endpoint)
            await asyncio.sleep(1)
        return (time.process_time() - spent_s) / (time.monotonic() - began)


def main() -> None:
    with segment(CAPACITY_BYTES) as storage, asyncio.Runner() as runner:
        runner.run(fill(storage))
        with workers(storage):
            _measure(f"shm://{storage.name}", runner.run)


def _measure(url: str, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
    print(f"{THREADS:,} threads, {LETTERS:,} letters, {WORKERS} workers; processor time of one look")
    for words in (("status",), ("status", "--json"), ("tubes",), ("dead", "list", "--limit", "50"), ("metrics",)):
        tell(f"shardq {' '.join(words)}", partial(command, *words, "--url", url))
    viewer = Viewer(url)
    print(f"  page {'the map of threads':26} {run(viewer.scan()):8.1f} ms, at most in a hundredth of the time")
    pages: dict[str, Endpoint] = {
        "api/v1/status": api.status,
        "Overview": family.overview,
        "Threads": threads.threads,
        "Dead": dead.dead,
    }
    for name, endpoint in pages.items():
        tell(f"page {name}", partial(_asked, run, viewer, endpoint))
    for name in ("Overview", "Threads"):
        share = run(viewer.watch(pages[name], _WATCHED_S))
        print(f"  page {name:26} {share * 100:8.2f} % of a core, watched")


def _asked(run: Callable[[Coroutine[Any, Any, int]], int], viewer: Viewer, endpoint: Endpoint) -> int:
    return run(viewer.ask(endpoint))


if __name__ == "__main__":
    sys.exit(main())
