"""From the death of a worker with a batch in hand to the start of the next handler on the same thread.

A worker is killed again and again, while another one sleeps. The request it held goes to the sleeper, which is killed
next; the supervisor replaces each at once.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
from pathlib import Path

import uvloop

from bench.harness.contestant import Figures
from bench.harness.scenario import Contestant, Kind, Scenario
from bench.harness.size import Size
from bench.load.inside import asleep, shared
from bench.load.jobs import JOBS, Held, Hold
from bench.load.percentiles import DELAYS, percentiles_us
from shardq import Supervisor
from shardq.drivers import SharedStorage

#: What a worker writes when it begins: its pid and the time.
_LINE_BYTES = 16
#: For what happens within milliseconds.
_LIMIT_S = 30.0
#: Deaths of a round.
KILLS = 40


def two_workers(size: Size) -> Figures:
    """Delays from the kernel's report of the death to the handler's first line."""
    return percentiles_us(uvloop.run(_killed(2, size.count(KILLS))))


def bare(size: Size) -> Figures:
    """The floor: from the same report to the first line of a process that waits for the very same descriptor."""
    delays: list[int] = []
    for _ in range(size.count(KILLS)):
        begun, begins = os.pipe()
        victim = _forked(lambda: time.sleep(_LIMIT_S))
        watcher = _forked(lambda: _watch(victim, begins))  # noqa: B023 - it runs at once
        os.read(begun, 1)
        reported = _kill(victim)
        delays.append(max(0, int.from_bytes(os.read(begun, 8), "little") - reported))
        for pid in (victim, watcher):
            os.waitpid(pid, 0)
        os.close(begun)
        os.close(begins)
    return percentiles_us(delays)


async def _killed(workers: int, kills: int) -> list[int]:
    delays: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(Path(folder, "begun"), 0o600)
        journal = os.open(Path(folder, "begun"), os.O_RDWR)
        async with Supervisor(JOBS, workers=workers) as supervisor:
            storage = shared(supervisor.queue.storage)
            await supervisor.queue.register(Hold, Held(folder))
            pid, _ = _begun(journal)
            for _ in range(kills):
                _until_one_sleeps(storage)
                reported = _kill(pid)
                pid, began = _begun(journal)
                delays.append(max(0, began - reported))
            os.close(os.open(f"{folder}/enough", os.O_CREAT | os.O_WRONLY))
            _until_one_sleeps(storage)
            _kill(pid)
            await supervisor.drain()
        os.close(journal)
    return delays


def _begun(journal: int) -> tuple[int, int]:
    line = os.read(journal, _LINE_BYTES)
    return int.from_bytes(line[:8], "little"), int.from_bytes(line[8:], "little")


def _until_one_sleeps(storage: SharedStorage) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while asleep(storage) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _kill(pid: int) -> int:
    """SIGKILL, and when the kernel reported the death."""
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select((descriptor,), (), ())
    reported = time.monotonic_ns()
    os.close(descriptor)
    return reported


def _watch(victim: int, begins: int) -> None:
    descriptor = os.pidfd_open(victim)
    os.write(begins, b".")
    select.select((descriptor,), (), ())
    os.write(begins, time.monotonic_ns().to_bytes(8, "little"))


def _forked(run: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        assert callable(run)
        run()
    finally:
        os._exit(0)


SCENARIOS = (
    Scenario(
        "recovery",
        "from the report of a worker's death to the next handler on its thread",
        DELAYS,
        (
            Contestant("shardq, one idle worker", f"{__name__}:two_workers"),
            Contestant("a waiting process", f"{__name__}:bare", kind=Kind.FLOOR),
        ),
        "A worker that has a request in hand is killed, again and again, each time while one other worker sleeps. "
        "The clock starts when the kernel reports the death to the benchmark (by a pidfd) and ends at the first line "
        f"of the handler that goes on with the request. The floor waits for the same report. {KILLS} deaths a round.",
    ),
)
