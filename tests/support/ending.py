"""Handlers and a module that leave something to do for the end of their process.

What ended what is a line in the file `told` of the folder in the environment.
"""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import multiprocessing
import os
import tempfile
import threading
import time
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, NamedTuple

from shardq import Handler, Retry, Route
from tests.support.hosted import tell
from tests.support.programs import until
from tests.support.tasks import LIMIT_S

#: The folder, for the handlers of a supervisor that was started with this in its environment.
FOLDER = "TESTS_ENDING_FOLDER"
#: Which pool the module makes, if any.
POOL = "TESTS_ENDING_POOL"

#: What Python starts processes by differs by version.
_context = multiprocessing.get_context("fork")
_folder = os.environ.get(FOLDER, "")
_pool: ProcessPoolExecutor | None = None
_temporary: tempfile.TemporaryDirectory[str] | None = None
_log = logging.getLogger("buffered")


class Maker:
    """Something that has to be taken down once, by the process that made it."""


_maker = Maker()

if _folder:  # in a supervisor and its workers
    atexit.register(lambda: tell(_folder, "hook", os.getpid()))
    _temporary = tempfile.TemporaryDirectory(dir=_folder)
    weakref.finalize(_maker, lambda: tell(_folder, "finalizer", os.getpid()))
    if os.environ.get(POOL):
        _pool = ProcessPoolExecutor(2, mp_context=_context)
    _buffer = logging.handlers.MemoryHandler(1000, target=logging.FileHandler(Path(_folder, "log")))
    _log.addHandler(_buffer)
    _log.propagate = False


class Act(NamedTuple):
    what: str
    thread: int = 0


def _where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def _forever() -> None:
    time.sleep(LIMIT_S * 10)


class Ending(Handler[Act]):
    retry = Retry(max_attempts=1)
    kept: ClassVar[list[object]] = []

    @classmethod
    def route(cls, *acts: Act) -> list[Route]:
        return [Route(act.thread) for act in acts]

    def perform(self, *acts: Act) -> None:
        for act in acts:
            came = getattr(self, act.what)()
            tell(_folder, act.what, f"{os.getpid()} {came}")

    def nothing(self) -> bool:
        """Whether the folder that the module made is there."""
        return _temporary is not None and Path(_temporary.name).is_dir()

    def pool(self) -> str:
        """Use the pool of the module. Says whose processes did it, where the answers are those to what was asked."""
        assert _pool is not None
        asked = range(os.getpid() * 1000, os.getpid() * 1000 + 100)
        answers = list(_pool.map(_where, asked))
        assert [number for number, _ in answers] == list(asked)
        return " ".join(map(str, sorted({pid for _, pid in answers})))

    def own_pool(self) -> str:
        pool = ProcessPoolExecutor(1, mp_context=_context)
        self.kept.append(pool)
        return str(pool.submit(_where, 1).result()[1])

    def daemon(self) -> int | None:
        process = _context.Process(target=_forever, daemon=True)
        process.start()
        return process.pid

    def log(self) -> None:
        _log.error("buffered by %s", os.getpid())

    def hook(self) -> None:
        atexit.register(lambda: tell(_folder, "late hook", os.getpid()))

    def bad_hook(self) -> None:
        atexit.register(lambda: tell(_folder, "after a bad hook", os.getpid()))
        atexit.register(_fail)

    def thread(self) -> None:
        """Leave a thread behind that has something to do until the main thread ends."""

        def work() -> None:
            threading.main_thread().join()
            tell(_folder, "thread ended", os.getpid())

        threading.Thread(target=work).start()

    def thread_pool(self) -> None:
        """Leave work to a pool that ends when there is a file `go` in the folder."""

        def work() -> None:
            until(Path(_folder, "go").exists, "the work may end")
            tell(_folder, "pool's work ended", os.getpid())

        pool = ThreadPoolExecutor(1)
        self.kept.append(pool)
        pool.submit(work)

    def endless(self) -> int | None:
        """Leave a thread behind that never ends, and a process."""
        process = _context.Process(target=_forever)
        process.start()
        threading.Thread(target=_forever, name="endless").start()
        return process.pid


def _fail() -> None:
    raise ValueError("a bad hook")
