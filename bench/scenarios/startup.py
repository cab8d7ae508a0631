"""How long a family takes to serve, to do its first request, and to end; and what an import of the package costs."""

from __future__ import annotations

import subprocess
import sys
import time

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Figure, Kind, Scenario
from bench.harness.size import Size
from bench.load.jobs import JOBS, Ping, SameThread
from shardq import Supervisor

#: The floor's process: it says a word, forks, its child says a word, and both end when their input does.
_BARE = """
import os, sys
os.write(1, b"serving\\n")
child = os.fork()
if not child:
    os.write(1, b"done\\n")
sys.stdin.read()
if child:
    os.waitpid(child, 0)
"""


def family(size: Size, *, workers: int) -> Figures:
    return uvloop.run(_family(workers))


def bare(size: Size) -> Figures:
    """The floor: a Python that imports nothing, and forks one child."""
    start = time.perf_counter()
    with subprocess.Popen((sys.executable, "-c", _BARE), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        serving = time.perf_counter()
        process.stdout.readline()
        done = time.perf_counter()
        process.stdin.close()
        process.wait()
        return _figures(start, serving, done, time.perf_counter())


async def _family(workers: int) -> Figures:
    supervisor = Supervisor(JOBS, workers=workers)
    start = time.perf_counter()
    await supervisor.start()
    serving = time.perf_counter()
    await supervisor.queue.register(SameThread, Ping(0, time.monotonic_ns()))
    await supervisor.drain()
    done = time.perf_counter()
    await supervisor.stop()
    return _figures(start, serving, done, time.perf_counter())


def _figures(start: float, serving: float, done: float, end: float) -> Figures:
    return {
        "start_ms": 1000 * (serving - start),
        "first_done_ms": 1000 * (done - start),
        "stop_ms": 1000 * (end - done),
    }


SCENARIOS = (
    Scenario(
        "startup",
        "a family, from start to stop",
        (
            Figure("start_ms", "until it serves", "ms", less_is_better=True),
            Figure("first_done_ms", "until its first request is done", "ms", less_is_better=True),
            Figure("stop_ms", "to stop", "ms", less_is_better=True),
        ),
        (
            Contestant("8 workers", f"{__name__}:family", {"workers": 8}),
            Contestant("1 worker", f"{__name__}:family", {"workers": 1}),
            Contestant("bare Python, and one fork", f"{__name__}:bare", kind=Kind.FLOOR),
        ),
        "The supervisor is a process of its own, which imports shardq and the handlers once; the workers are forked "
        "from it.",
    ),
)
