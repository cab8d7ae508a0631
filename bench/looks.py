"""What looks cost in a large storage: `python -m bench.looks` prints the processor time of one look of each kind, and
which part of a core a watched page takes. The segment has as many threads as there can be, letters, and
the slots of all workers taken, by processes that sleep.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
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
_TRACEBACK = "Traceback (most recent call last):\n" + 8 * _FRAME


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


def command(*words: str) -> None:
    """A command, without the start of its process."""
    with redirect_stdout(StringIO()):
        assert shardq(words) == 0


def spent_ms(look: Callable[[], object]) -> float:
    """Processor time of one, the median of several."""
    found = list[float]()
    for _ in range(_ROUNDS):
        began = time.process_time()
        look()
        found.append((time.process_time() - began) * 1000)
    return median(found)


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

    async def ask(self, endpoint: Endpoint) -> None:
        """With a look of its own."""
        self._desk.lookout.forget()
        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        assert (await endpoint(self._desk, Request(scope))).status_code == 200

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
        print(f"  shardq {' '.join(words):24} {spent_ms(lambda words=words: command(*words, '--url', url)):8.1f} ms")
    viewer = Viewer(url)
    print(f"  page {'the map of threads':26} {run(viewer.scan()):8.1f} ms, at most in a fiftieth of the time")
    pages: dict[str, Endpoint] = {
        "api/v1/status": api.status,
        "Overview": family.overview,
        "Threads": threads.threads,
        "Dead": dead.dead,
    }
    for name, endpoint in pages.items():
        print(f"  page {name:26} {spent_ms(lambda endpoint=endpoint: run(viewer.ask(endpoint))):8.1f} ms")
    for name in ("Overview", "Threads"):
        share = run(viewer.watch(pages[name], _WATCHED_S))
        print(f"  page {name:26} {share * 100:8.2f} % of a core, watched")


if __name__ == "__main__":
    sys.exit(main())
