"""What a worker process does, from the fork to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import uvloop

from shardq.handler import Handler
from shardq.supervisor import interpreter, signals
from shardq.supervisor.exits import Exit
from shardq.worker import Worker

log = logging.getLogger("shardq.supervisor")


def run_worker(
    make_worker: Callable[[], Worker],
    handlers: dict[str, type[Handler[Any]]],
    life: int,
    close: Sequence[int],
) -> NoReturn:
    """Serve until told to stop, or until the supervisor is gone; then end the process.

    `life` is the reading end of a pipe whose writing end only the supervisor has: end-of-file is its death. `close` are
    the supervisor's descriptors, which a child must not keep.
    """
    code = Exit.WORKER_FAILED
    try:
        signals.reset_in_child()
        for descriptor in close:
            os.close(descriptor)
        random.seed()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(make_worker(), handlers, life))
        code = Exit.OK
    except BaseException:
        traceback.print_exc()
    finally:
        # Not sys.exit: the supervisor's own cleanup stands further down this very stack.
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # nobody may read it any more, and a handler may have put anything in its place
                stream.flush()
        os._exit(code)


def execute_worker(arguments: Sequence[str], life: int, close: Sequence[int]) -> NoReturn:
    """Replace this forked child by a fresh Python that runs `shardq.supervise` with these arguments: a child of a
    process with threads may hold locks that nobody will ever release.
    """
    for descriptor in close:
        os.close(descriptor)
    os.set_inheritable(life, True)
    words = interpreter.command(arguments)
    os.execv(words[0], words)


async def _serve(worker: Worker, handlers: dict[str, type[Handler[Any]]], life: int) -> None:
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        log.warning("supervisor gone, ending after the batch in hand", extra={"pid": os.getpid()})
        loop.remove_reader(life)
        worker.stop()

    worker.alarm, worker.interruptible = signals.alarm, False
    signals.on_term(loop, worker)
    loop.add_reader(life, orphaned)
    try:
        await worker.loop(handler=tuple(handlers.values()))
    finally:
        loop.remove_reader(life)
        await worker.queue.close()
