"""What a worker process does, from the fork to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import uvloop

from shardq.errors import SegmentError, StorageMoved, StorageRefused, SupervisorError
from shardq.handler import Handler
from shardq.handling.inside import take_process
from shardq.logs import identify
from shardq.supervisor.code import launch
from shardq.supervisor.exits import Exit
from shardq.supervisor.wishes import signals
from shardq.supervisor.workers import interpreter
from shardq.supervisor.workers.forked import Offspring
from shardq.system import stacks
from shardq.system.refusals import refusing
from shardq.text.portrait import portrait
from shardq.working.worker import Worker

log = logging.getLogger("shardq.supervisor")

#: Runs a worker process: (number of the worker, its end of the life pipe, descriptors to close).
RunWorker = Callable[[int, int, Sequence[int]], NoReturn]

#: Descriptors that a worker opens once it is attached: its event loop has 9 (epoll, io_uring, two pipes, a pair of
#: sockets, an eventfd), and it has its own bell, that of its supervisor, and the watch over the others.
OPENED_TO_SERVE = 9 + 3
#: All descriptors that a process of a family needs. A worker needs the most: also those of the segment and its mapping,
#: of the lock file and of the life pipe, two that stacks are written to, and the one that libffi has of itself in many
#: systems, from the first call of the C library on, as that of the supervisor's timer.
OPENED_IN_ALL = OPENED_TO_SERVE + 7

#: How many seconds a worker has for its end by default.
_END_WITHIN_S = 25.0
#: A worker that does not come to its end breaks off by itself so many seconds before the supervisor would kill it: on a
#: busy machine it does not run at once. Of a short time it has half.
_BEFORE_KILLED_S = 1.0


def become_worker(run: RunWorker, number: int, life: int, close: Sequence[int]) -> NoReturn:
    """Run the worker in a forked child. It must not return, because the supervisor's own cleanup would run then."""
    try:
        run(number, life, close)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(Exit.WORKER_FAILED)


def run_worker(
    make_worker: Callable[[], Worker],
    handlers: dict[str, type[Handler[Any]]],
    life: int,
    close: Sequence[int],
    end_within_s: float = _END_WITHIN_S,
    *,
    forked: bool = True,
) -> NoReturn:
    """Serve until the supervisor sends TERM, or is gone. Then end the process as a Python program ends, within so many
    seconds after TERM, or after it served if there was no TERM.

    `life` is the reading end of a pipe whose writing end only the supervisor has: end of file says that it died.
    `close` are the supervisor's descriptors, which a child must not keep. `forked`: whether this process is a fork of
    one that imported the modules. If the system refuses what `make_worker` opens or the event loop needs, no batch is
    in hand yet, and the process ends with `Exit.SEGMENT`; so it does where a server lets it in no more. If
    `make_worker` raises `SupervisorError`, no worker can serve, and it ends with `Exit.BOOT`.
    """
    code, served = Exit.WORKER_FAILED, _Service(life)
    try:
        started = _started(served, make_worker, close, forked=forked)
        if started is None:
            code = Exit.SEGMENT
        else:
            runner, worker = started
            try:
                runner.run(served.run(worker, handlers))
                code = Exit.OK
            except StorageMoved as moved:
                log.info("worker ends: its storage moved", extra={"pid": os.getpid(), "to": moved.to})
                code = Exit.MOVED
            runner.close()
    except StorageRefused as error:
        served.end_child(error)
        code = Exit.SEGMENT
        log.error("worker cannot serve", extra={"pid": os.getpid(), "reason": str(error)})
    except SupervisorError as error:
        served.end_child(error)
        code = Exit.BOOT
        log.error("worker cannot serve", extra={"pid": os.getpid()}, exc_info=portrait(error))
    except BaseException as error:
        served.end_child(error)
        with suppress(BaseException):
            traceback.print_exception(portrait(error))
    finally:
        # Not sys.exit: it would run the supervisor's own cleanup, which is further down this stack.
        interpreter.end_within(code, served.left_s(end_within_s))


def _started(
    served: _Service, make_worker: Callable[[], Worker], close: Sequence[int], *, forked: bool
) -> tuple[asyncio.Runner, Worker] | None:
    """The worker and its event loop; None, and a line in the log, where the system refuses what they need."""
    try:
        with refusing("start a worker"):
            for descriptor in close:  # first, because there may be no other descriptors left for what follows
                os.close(descriptor)
            served.dumps = signals.reset_in_child(), stacks.keep()
            if forked:
                interpreter.part_from_parent()
            _reseed()
            worker = make_worker()
            runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
            runner.get_loop()
            return runner, worker
    except SegmentError as error:
        log.error("worker cannot serve", extra={"pid": os.getpid(), "reason": str(error)})
        return None


def execute_worker(arguments: Sequence[str], life: int, close: Sequence[int]) -> NoReturn:
    """Replace this forked child by a fresh Python that runs `shardq.supervise` with these arguments. If the parent has
    threads, one of them may have held a lock at the fork; in the child that lock is never released.
    """
    for descriptor in close:
        os.close(descriptor)
    os.set_inheritable(life, True)
    words = launch.command(arguments)
    os.execv(words[0], words)


class _Service:
    """The time in which a worker serves, with what it sets up in its process for that."""

    def __init__(self, life: int) -> None:
        self._life = life
        self.dumps: tuple[int, ...] = ()
        """Descriptors that stacks are written to: standard error, and the file for those who ask."""
        self._term: signals.Term | None = None
        self._offspring: Offspring | None = None

    async def run(self, worker: Worker, handlers: dict[str, type[Handler[Any]]]) -> None:
        loop = asyncio.get_running_loop()
        self._offspring = offspring = Offspring(loop, (self._life, *self.dumps))
        self._term = term = signals.Term(loop, worker)

        def orphaned() -> None:
            log.warning("supervisor is gone: the worker ends after the batch in hand", extra={"pid": os.getpid()})
            loop.remove_reader(self._life)
            worker.stop()

        def after_step(outcome: BaseException | None) -> None:
            offspring.end_child(outcome)
            term.keep_following()

        take_process()
        identify()
        worker.hooks = worker.hooks._replace(
            alarm=signals.alarm,
            after_step=after_step,
            before_sleep=term.keep_awake,
            interruptible=False,
        )
        offspring.watch()
        term.follow()
        loop.add_reader(self._life, orphaned)
        try:
            await worker.loop(handler=tuple(handlers.values()))
        finally:
            loop.remove_reader(self._life)
            await worker.queue.close()

    def end_child(self, error: BaseException) -> None:
        """In a child that a handler forked: end it, because its exception was not caught. In the worker: nothing."""
        if self._offspring:
            self._offspring.end_child(error)

    def left_s(self, timeout_s: float) -> float:
        """How many seconds are left of those that a worker has after TERM."""
        told_at = self._term.told_at if self._term else None
        if told_at is None:
            return timeout_s
        return told_at + timeout_s - min(_BEFORE_KILLED_S, timeout_s / 2) - time.monotonic()


def _reseed() -> None:
    """Let no two workers draw the same numbers from the generators that belong to modules."""
    random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        with suppress(Exception):
            numpy.seed()
