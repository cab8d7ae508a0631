"""What one read tells of a process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from shardq.system.processes import glance, is_stopped
from tests.support.drivers import MIB
from tests.support.programs import until


@pytest.fixture
def child() -> Iterator[int]:
    pid = os.fork()
    if not pid:
        try:
            signal.pause()
        finally:
            os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_memory_and_stops_are_seen(child: int) -> None:
    assert glance(child).stopped is False
    os.kill(child, signal.SIGSTOP)
    until(lambda: is_stopped(child), "it is stopped")
    seen = glance(child)
    assert seen.stopped is True
    # The kernel counts pages for each core, and adds them up when it is asked in another way.
    assert seen.resident == pytest.approx(psutil.Process(child).memory_info().rss, abs=4 * MIB)


def test_what_has_ended_is_no_process() -> None:
    ended = os.fork()
    if not ended:
        os._exit(0)
    os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError, match="has ended"):
        glance(ended)
    os.waitpid(ended, 0)
    with pytest.raises(ProcessLookupError, match="there is no process"):
        glance(ended)
