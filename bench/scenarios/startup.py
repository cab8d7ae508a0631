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

#: A floor's process: it says a word, forks, its child says a word, and both end when their input does.
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

#: Another floor's process: it imports what shardq cannot do without, forks 8 children with an event loop each, and says
#: both words once all loops run. It ends with its children when its input does.
_LOOPS = """
import asyncio, os, sys
import msgspec, uvloop
reader, writer = os.pipe()
async def serve():
    os.write(writer, b".")
    await asyncio.Event().wait()
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        uvloop.run(serve())
    children.append(child)
for _ in children:
    os.read(reader, 1)
os.write(1, b"serving\\ndone\\n")
sys.stdin.read()
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
"""


def family(size: Size, *, workers: int) -> Figures:
    return uvloop.run(_family(workers))


def bare(size: Size) -> Figures:
    """A floor: a Python that imports nothing, and forks one child."""
    return _program(_BARE)


def loops(size: Size) -> Figures:
    """A floor: 8 processes with an event loop, and nothing for them to do."""
    return _program(_LOOPS)


def _program(code: str) -> Figures:
    start = time.perf_counter()
    with subprocess.Popen((sys.executable, "-P", "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
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
            Contestant("asyncio, uvloop and msgspec, and 8 forks with a loop", f"{__name__}:loops", kind=Kind.FLOOR),
            Contestant("bare Python, and one fork", f"{__name__}:bare", kind=Kind.FLOOR),
        ),
        "The supervisor is a process of its own, which imports shardq and the handlers once; the workers are forked "
        "from it. The floor with 8 loops does what no family in Python can do without: it imports asyncio, uvloop and "
        "msgspec, and forks.",
    ),
)
