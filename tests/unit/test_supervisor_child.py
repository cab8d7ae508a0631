"""A forked child ends as a process of its own, whatever happens on its way out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from shardq.supervisor.exits import Exit
from shardq.supervisor.workers.child import run_worker
from shardq.working.worker import Worker


class Spoilt:
    """What a handler may have put in the place of standard output."""

    def flush(self) -> None:
        raise RuntimeError("no flushing here")


def no_worker() -> Worker:
    raise ZeroDivisionError("no worker today")


def exit_code(run: Callable[[], NoReturn]) -> int:
    """Run it in a forked child. A child that comes back ends with 99."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("output", [Spoilt(), None], ids=["spoilt", "none"])
def test_an_output_that_cannot_be_flushed_keeps_no_process_from_ending(output: object) -> None:
    def run() -> NoReturn:
        sys.stdout = output  # type: ignore[assignment]
        run_worker(no_worker, {}, -1, ())

    assert exit_code(run) == Exit.WORKER_FAILED
