"""How long a family takes to serve, to do its first request, and to end; and what an import of the package costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import uvloop

from bench.jobs import Ping, SameThread
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


def one_worker() -> dict[str, float]:
    return uvloop.run(_family(1))


def eight_workers() -> dict[str, float]:
    return uvloop.run(_family(8))


def bare() -> dict[str, float]:
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


def package() -> dict[str, float]:
    return _import("import shardq")


def libraries() -> dict[str, float]:
    """The floor of an import: the libraries that it stands on."""
    return _import("import asyncio, uvloop, msgspec")


def nothing() -> dict[str, float]:
    return _import("pass")


def _import(code: str) -> dict[str, float]:
    """Time of a Python that runs the code, and its processor time, which says more on a busy machine."""
    start = time.perf_counter()
    process = subprocess.Popen((sys.executable, "-c", code))
    _, status, usage = os.wait4(process.pid, 0)
    end = time.perf_counter()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return {"wall_ms": 1000 * (end - start), "processor_ms": 1000 * (usage.ru_utime + usage.ru_stime)}


async def _family(workers: int) -> dict[str, float]:
    supervisor = Supervisor("bench.jobs", workers=workers)
    start = time.perf_counter()
    await supervisor.start()
    serving = time.perf_counter()
    await supervisor.queue.register(SameThread, Ping(0, time.monotonic_ns()))
    await supervisor.drain()
    done = time.perf_counter()
    await supervisor.stop()
    return _figures(start, serving, done, time.perf_counter())


def _figures(start: float, serving: float, done: float, end: float) -> dict[str, float]:
    return {
        "start_ms": 1000 * (serving - start),
        "first_done_ms": 1000 * (done - start),
        "stop_ms": 1000 * (end - done),
    }
