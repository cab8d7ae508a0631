"""Families over a server in a storm of kills, of all that there is: point 20 of what storages on a server must show.

`SHARDQ_FAULTS_REQUESTS` is how many requests there are at least; without it the storm takes `SHARDQ_FAULTS_SECONDS`.
"""

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

import psutil
import pytest

from shardq import Queue
from shardq.drivers.redis.check import wrongs
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.storage import RedisStorage
from tests.faults.conftest import SEED
from tests.faults.kit.blows import Blows
from tests.faults.kit.family_storm import LARGEST_CALL, THREADS, Gust, Stormy, deliveries, note_accepted, read
from tests.faults.kit.points import Child
from tests.faults.test_family_storm import check_nothing_is_lost, check_order
from tests.support.programs import ROOT, clean_environment
from tests.support.redis_server import Server, program

SECONDS = float(os.environ.get("SHARDQ_FAULTS_SECONDS", "5"))
REQUESTS = int(os.environ.get("SHARDQ_FAULTS_REQUESTS", "0"))
FAMILIES, WORKERS, PRODUCERS = 2, 2, 2
#: Seconds between two blows.
CALM_S = (0.05, 0.4)
#: What a blow hits, and how often.
TARGETS = {"worker": 60, "producer": 15, "supervisor": 8, "proxy": 12, "server": 5}
#: Requests that wait are no more than this.
ENOUGH = 20_000
#: For so long a claim stays whose worker and supervisor are dead.
LEASE_S = 10
#: For what is left after the storm.
PATIENCE_S = 180.0


class Fleet:
    """The server, the proxy in front of it, two families and the producers. What is killed is there again at once."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.folder = folder
        self.blows: dict[str, int] = dict.fromkeys(TARGETS, 0)
        self._random = random
        self._log = (folder / "log").open("wb")
        self.processes = Blows()
        self._born = 0
        self._server = Server(program(), "--appendonly", "yes", "--appendfsync", "always")
        self._server.start()
        self._proxy = self._started_proxy()
        self._supervisors = [self._started_supervisor() for _ in range(FAMILIES)]
        self._producers = [self._hired() for _ in range(PRODUCERS)]

    @property
    def url(self) -> str:
        """Past the proxy."""
        return f"redis+unix://{self._server.socket}"

    def strike(self) -> None:
        [target] = self._random.choices(list(TARGETS), weights=list(TARGETS.values()))
        self.blows[target] += 1
        if target == "server":
            self._server.kill()
            self._server.start()
        elif target == "proxy":
            self._proxy.kill()
            self._proxy.wait()
            self._proxy = self._started_proxy()
        elif target == "producer":
            self.processes.hit(self._random.choice(self._producers).pid, self._random)
        elif target == "supervisor":
            self.processes.hit(self._random.choice(self._supervisors).pid, self._random)
        elif workers := self._workers():
            self.processes.hit(self._random.choice(workers), self._random)
        self._replace()

    def settle(self) -> None:
        """No more producers, and no more blows: what is left is handled."""
        self.processes.resume(every_process=True)
        for producer in self._producers:
            producer.kill()
        self._producers = []
        self._replace()

    def stop(self) -> list[int]:
        for supervisor in self._supervisors:
            supervisor.send_signal(signal.SIGTERM)
        return [supervisor.wait(PATIENCE_S) for supervisor in self._supervisors]

    def discard(self) -> None:
        self.processes.resume(every_process=True)
        workers = self._workers()
        for producer in self._producers:
            producer.kill()
        for process in (*self._supervisors, self._proxy):
            process.kill()
            process.wait()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.end()
        self._log.close()

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-6000:]

    def _replace(self) -> None:
        for place, producer in enumerate(self._producers):
            if producer.ended():
                producer.end()
                self._producers[place] = self._hired()
        for place, supervisor in enumerate(self._supervisors):
            if supervisor.poll() is not None:
                self._supervisors[place] = self._started_supervisor()

    def _workers(self) -> list[int]:
        found = list[int]()
        for supervisor in self._supervisors:
            with suppress(psutil.NoSuchProcess):
                found += [process.pid for process in psutil.Process(supervisor.pid).children()]
        return found

    def _started_proxy(self) -> subprocess.Popen[bytes]:
        words = (str(self.folder / "proxy"), str(self._server.socket))
        return subprocess.Popen((sys.executable, "-m", "tests.support.redis_proxy", *words), cwd=ROOT, stderr=self._log)

    def _started_supervisor(self) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-m", "shardq.supervise", Stormy.__module__, "--workers", str(WORKERS))
        environment = {"QUEUE_SUPERVISOR_URL": self._proxied_url, "QUEUE_LOCK_TIMEOUT": str(LEASE_S)}
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean_environment() | environment,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )

    @property
    def _proxied_url(self) -> str:
        return f"redis+unix://{self.folder / 'proxy'}"

    def _hired(self) -> Child:
        self._born += 1
        who, random, folder, url = f"p{self._born}", Random(f"{SEED} {self._born}"), str(self.folder), self._proxied_url
        return Child(lambda: asyncio.run(_produce(url, folder, who, random)))


async def _produce(url: str, folder: str, who: str, random: Random) -> None:
    """Register calls for ever."""
    queue, call = Queue(storage_of(url)), 0
    while True:
        thread, size = random.randrange(THREADS), random.randint(1, LARGEST_CALL)
        gusts = [Gust(folder, thread, who, call, position) for position in range(size)]
        await queue.register(Stormy, *gusts)
        note_accepted(Path(folder), gusts)
        call += 1
        if call % 50 == 0 and (await queue.storage.backlog()).queued > ENOUGH:
            await asyncio.sleep(0.5)


@pytest.fixture
def fleet(tmp_path: Path, random: Random) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, random)
    try:
        yield fleet
    finally:
        fleet.discard()


@pytest.mark.timeout(SECONDS + 600 + REQUESTS / 100)
def test_20_families_in_a_storm_lose_nothing_and_keep_their_order(
    fleet: Fleet, random: Random, tmp_path: Path, tried: Callable[[str, int], None]
) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or (REQUESTS and asyncio.run(accepted(fleet.url)) < REQUESTS):
        fleet.processes.resume()
        fleet.strike()
        time.sleep(random.uniform(*CALM_S))
    fleet.settle()
    assert asyncio.run(quiet(fleet.url)), f"what is left is not handled\n{fleet.said()}"

    assert list(read(tmp_path / "violations")) == []
    seen = {thread: deliveries(tmp_path, thread) for thread in range(THREADS)}
    check_nothing_is_lost(tmp_path, seen)
    for thread, found in seen.items():
        check_order(thread, found)
    assert fleet.stop() == [0] * FAMILIES
    for target, blows in fleet.blows.items():
        tried(f"blows at a {target} over a server", blows)
    tried("deliveries of requests in that storm", sum(map(len, seen.values())))


async def accepted(url: str) -> int:
    storage = storage_of(url)
    try:
        return (await storage.backlog()).accepted
    finally:
        await storage.close()


async def quiet(url: str) -> bool:
    """Whether all is handled, and the storage right. After a long storm that takes as long as it becomes less."""
    storage = storage_of(url)
    assert isinstance(storage, RedisStorage)
    try:
        handled = -1
        while not (is_quiet := await storage.wait_for_quiet(PATIENCE_S)):
            before, handled = handled, (await storage.backlog()).handled
            if handled == before:
                break
        assert await wrongs(storage.server) == []
        return is_quiet
    finally:
        await storage.close()
