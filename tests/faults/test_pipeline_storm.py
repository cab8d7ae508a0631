"""Handlers that emit, in a family whose workers are killed again and again: each output is there once, in its order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from shardq import Queue, Route, Tube, connect
from shardq.drivers import SharedStorage
from shardq.handler import drive
from shardq.model import Hand, Terms
from shardq.shm import words as at
from shardq.shm.files.own_files import remove_files
from tests.faults.conftest import KILLS
from tests.faults.kit.pipeline import THREADS, Drop, First, Last, Second
from tests.support.programs import ROOT, until
from tests.support.segments import new_name

WORKERS = 3
#: Requests between two kills, and seconds.
FED, CALM_S = (50, 500), (0.0, 0.02)
#: More requests than this are not put into the pipeline at a time.
ENOUGH = 10_000
#: For what is left after the last kill.
PATIENCE_S = 180.0


class Pipeline:
    """The family, what was put into its first stage, and what came out of its second one."""

    def __init__(self, name: str, log: Path) -> None:
        self._log = log
        stages = (f"{stage.__module__}:{stage.__name__}" for stage in (First, Second))
        options = ("--workers", str(WORKERS), "--capacity", "8M", "--respawn-delay", "0.001", "--log-level", "error")
        with log.open("wb") as errors:
            self._supervisor = subprocess.Popen(
                (sys.executable, "-m", "shardq.supervise", *stages, "--url", f"shm://{name}", *options),
                cwd=ROOT,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        self.queue = _connected(name)
        assert isinstance(self.queue.storage, SharedStorage)
        self._storage = self.queue.storage
        self.killed: set[int] = set()
        self.fed, self.came = [0] * THREADS, [0] * THREADS
        """How many requests each thread was given, and how many outputs of each were read."""

    def feed(self, count: int, random: Random) -> None:
        """Give it so many requests more, unless it has enough: nothing would read its end while it is full."""
        if drive(self._storage.backlog()).queued > ENOUGH:
            return
        drops = list[Drop]()
        for thread in random.choices(range(THREADS), k=count):
            drops.append(Drop(thread, self.fed[thread]))
            self.fed[thread] += 1
        self.queue.register_sync(First, *drops)

    def kill_one(self, random: Random) -> None:
        """Kill a worker that has begun to serve, if there is one: of another one no output could be lost."""
        serving = self._serving() - self.killed
        if serving:
            victim = random.choice(sorted(serving))
            self.killed.add(victim)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)

    def _serving(self) -> set[int]:
        """Pids of the workers that have had messages."""
        segment = self._storage.store.segment
        slots = map(segment.layout.slot_word, range(segment.layout.slots))
        have_served = {segment.words[slot + at.SLOT_PID] for slot in slots if segment.words[slot + at.SLOT_SERVES]}
        return have_served.intersection(self._storage.store.supervision.workers())

    def read(self) -> None:
        """Take what came out: of each thread the next number, and the next, and no other."""
        for thread in range(THREADS):
            key = Tube(Last, Route(thread)).key
            token = drive(self._storage.claim(key))
            while (batch := drive(self._storage.take(key, token, Terms((0,), 4_096)))).count:
                numbers = [drop.number for drop in self.queue.serializer.decode(Drop, batch)]
                check_next(thread, numbers, self.came[thread])
                self.came[thread] += batch.count
                drive(self._storage.pop(Hand(key, token, batch), batch.count))
            assert drive(self._storage.unclaim(key, token))

    def stop(self) -> int:
        self._supervisor.send_signal(signal.SIGTERM)
        return self._supervisor.wait(PATIENCE_S)

    def discard(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._supervisor.pid, signal.SIGKILL)
        self._supervisor.wait()
        self._storage.detach()

    def said(self) -> str:
        return self._log.read_text(errors="replace")[-4_000:]


def check_next(thread: int, numbers: list[int], first: int) -> None:
    assert numbers == list(range(first, first + len(numbers))), f"thread {thread}, from {first} on: {numbers}"


def _connected(name: str) -> Queue:
    found = list[Queue]()

    def connects() -> bool:
        with suppress(Exception):
            found.append(asyncio.run(connect(f"shm://{name}")))
        return bool(found)

    until(connects, "the family serves")
    return found[0]


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    name = new_name()
    pipeline = Pipeline(name, tmp_path / "log")
    try:
        yield pipeline
    finally:
        pipeline.discard()
        remove_files(name)


@pytest.mark.timeout(600 + KILLS)
def test_each_output_of_a_pipeline_under_kills_is_there_once_and_in_its_order(
    pipeline: Pipeline, random: Random, tried: Callable[[str, int], None]
) -> None:
    while len(pipeline.killed) < KILLS:
        pipeline.feed(random.randint(*FED), random)
        time.sleep(random.uniform(*CALM_S))
        pipeline.kill_one(random)
        pipeline.read()
    deadline = time.monotonic() + PATIENCE_S
    while pipeline.came != pipeline.fed:
        assert time.monotonic() < deadline, f"{pipeline.came} came of {pipeline.fed}\n{pipeline.said()}"
        time.sleep(0.01)
        pipeline.read()
    # Nothing is left that could still come, and nothing was given up.
    assert drive(pipeline.queue.storage.backlog()).queued == 0
    assert asyncio.run(pipeline.queue.dead_letters.list()) == []
    assert pipeline.stop() == 0
    tried("kills in a pipeline", len(pipeline.killed))
    tried("of its outputs", sum(pipeline.came))


def test_the_check_tells_good_from_bad() -> None:
    check_next(0, [3, 4, 5], 3)
    for bad in ([3, 3, 4], [4, 5], [3, 5, 4], [2, 3]):
        with pytest.raises(AssertionError):
            check_next(0, bad, 3)
