"""A whole family under SIGKILL and SIGSTOP: producers, workers and the supervisor, several times a second."""

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

from shardq import Queue, connect
from tests.faults.conftest import SEED
from tests.faults.kit.blows import Blows
from tests.faults.kit.family_storm import LARGEST_CALL, THREADS, Delivery, Gust, Stormy, deliveries, note_accepted, read
from tests.faults.kit.points import Child
from tests.support.homes import Home, home_of, on_each_home
from tests.support.programs import ROOT
from tests.support.segments import new_name

SECONDS = float(os.environ.get("SHARDQ_FAULTS_SECONDS", "2"))
PRODUCERS, WORKERS = 2, 3
#: Seconds between two blows, and how many of them hit the supervisor.
CALM_S, TO_HIT_THE_SUPERVISOR = (0.02, 0.2), 0.1
#: Where claims live by time, those of a worker live so long that was killed with its supervisor.
LEASE_S = 6.0
#: For what is left after the storm.
PATIENCE_S = 180.0


class Fleet:
    """All processes of the storm. A supervisor replaces its workers that die, the test all other processes."""

    def __init__(self, folder: Path, home: Home) -> None:
        self.folder = folder
        self._home = home
        self._log = (folder / "log").open("wb")
        self._born = 0
        self.blows = Blows()
        self.supervisor = self._started()
        self.queue = self._connected()
        self.producers = [self._hired() for _ in range(PRODUCERS)]

    def strike(self, random: Random) -> None:
        """Kill or stop one of them."""
        chance = random.random()
        if chance < TO_HIT_THE_SUPERVISOR:
            self.blows.hit(self.supervisor.pid, random)
        elif chance < 0.3:
            self.blows.hit(random.choice(self.producers).pid, random)
        elif workers := self._workers():
            self.blows.hit(random.choice(workers), random)
        self._replace()

    def settle(self) -> None:
        """No more producers; whatever is left is handled in peace."""
        self.blows.resume(every_process=True)
        for producer in self.producers:
            producer.kill()
        self.producers = []
        self._replace()
        if not asyncio.run(self.queue.storage.wait_for_quiet(PATIENCE_S)):
            left = asyncio.run(self.queue.storage.pipes())
            raise AssertionError(f"{left} are not handled\n{self.log()[-4000:]}")

    def stop(self) -> int:
        self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(PATIENCE_S)

    def discard(self) -> None:
        self.blows.resume(every_process=True)
        for producer in self.producers:
            producer.kill()
        self.supervisor.kill()
        self.supervisor.wait()
        for pid in self._workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        asyncio.run(self.queue.close())
        self._log.close()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _replace(self) -> None:
        for producer in self.producers[:]:
            if producer.pid in self.blows.killed:
                producer.end()
                self.producers.remove(producer)
                self.producers.append(self._hired())
        if self.supervisor.pid in self.blows.killed:
            self.supervisor.wait()
            self.supervisor = self._started()

    def _workers(self) -> list[int]:
        """All workers, those included whose supervisor is dead."""
        return self._home.workers(self.queue)

    def _started(self) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-m", "shardq.supervise", Stormy.__module__, "--url", self._home.url)
        options, lease = ("--workers", str(WORKERS), "--capacity", "4M"), {"QUEUE_LOCK_TIMEOUT": str(LEASE_S)}
        environment = os.environ | lease
        return subprocess.Popen(
            (*command, *options), cwd=ROOT, stderr=self._log, stdin=subprocess.DEVNULL, env=environment
        )

    def _connected(self) -> Queue:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return asyncio.run(connect(self._home.url))
            except Exception:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.01)

    def _hired(self) -> Child:
        self._born += 1
        who, random, folder, queue = f"p{self._born}", Random(f"{SEED} {self._born}"), str(self.folder), self.queue
        return Child(lambda: asyncio.run(_produce(queue, folder, who, random)))


async def _produce(queue: Queue, folder: str, who: str, random: Random) -> None:
    """Register calls for ever."""
    call = 0
    while True:
        thread, size = random.randrange(THREADS), random.randint(1, LARGEST_CALL)
        gusts = [Gust(folder, thread, who, call, position) for position in range(size)]
        await queue.register(Stormy, *gusts)
        note_accepted(Path(folder), gusts)
        call += 1
        await asyncio.sleep(random.uniform(0, 0.002))


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    home = home_of(request, new_name())
    yield home
    home.discard()


@pytest.fixture
def fleet(tmp_path: Path, home: Home) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, home)
    try:
        yield fleet
    finally:
        fleet.discard()


@on_each_home
@pytest.mark.timeout(SECONDS + 600)
def test_a_family_in_a_storm_loses_nothing_and_keeps_its_order(
    fleet: Fleet, home: Home, random: Random, tmp_path: Path, tried: Callable[[str, int], None]
) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        fleet.blows.resume()
        fleet.strike(random)
        time.sleep(random.uniform(*CALM_S))
    fleet.settle()

    assert list(read(tmp_path / "violations")) == []
    buried = {(b.letter.handler, b.letter.pipe, b.letter.message) for b in asyncio.run(fleet.queue.dead_letters.list())}
    seen = {thread: deliveries(tmp_path, thread) for thread in range(THREADS)}
    check_nothing_is_lost(tmp_path, seen)
    for thread, found in seen.items():
        check_order(thread, found)
        check_repetitions(thread, found, fleet.blows.killed)
    assert fleet.stop() == 0
    assert home.wrong() == []
    tried("blows at a family", fleet.blows.count)
    tried("of its requests", sum(map(len, seen.values())))
    tried("of them dead letters", len(buried))


def check_nothing_is_lost(folder: Path, seen: dict[int, list[Delivery]]) -> None:
    """What is in the dead letters was delivered before, so deliveries are all there is to look at."""
    known = {(thread, d.who, d.call, d.position) for thread, found in seen.items() for d in found}
    accepted = {(int(words[0]), words[1], int(words[2]), int(words[3])) for words in read(folder / "accepted")}
    lost = sorted(accepted - known)
    assert accepted
    assert not lost, f"{len(lost)} of {len(accepted)} accepted requests were never handled: {lost[:5]}"


def check_order(thread: int, found: list[Delivery]) -> None:
    """First deliveries come in the order in which their producer gave them."""
    last: dict[str, tuple[int, int]] = {}
    known: set[tuple[str, int, int]] = set()
    for who, call, position in ((d.who, d.call, d.position) for d in found):
        if (who, call, position) in known:
            continue
        known.add((who, call, position))
        assert last.get(who, (-1, -1)) < (call, position), f"thread {thread}: {who} {call} {position} after {last[who]}"
        last[who] = call, position


def check_repetitions(thread: int, found: list[Delivery], killed: set[int]) -> None:
    """What comes again was in the hands of who was killed, or in a batch that did not end."""
    former: dict[tuple[str, int, int], Delivery] = {}
    for delivery in found:
        identity = delivery.who, delivery.call, delivery.position
        before = former.get(identity)
        assert before is None or not before.ended or before.pid in killed, f"thread {thread}: {identity} came again"
        former[identity] = delivery


def made(*places: int, ended: bool = True, pid: int = 1) -> list[Delivery]:
    return [Delivery(pid, "p", place // 10, place % 10, ended) for place in places]


def test_the_checks_tell_good_from_bad(tmp_path: Path) -> None:
    check_order(0, made(0, 1, 10, 1, 11))
    with pytest.raises(AssertionError):
        check_order(0, made(0, 10, 1))
    check_repetitions(0, made(0, ended=False) + made(0), set())
    check_repetitions(0, made(0, pid=7) + made(0), {7})
    with pytest.raises(AssertionError):
        check_repetitions(0, made(0) + made(0), set())
    gusts = [Gust(str(tmp_path), 0, "p", 0, position) for position in range(3)]
    note_accepted(tmp_path, gusts)
    check_nothing_is_lost(tmp_path, {0: made(0, 1, 2)})
    with pytest.raises(AssertionError):
        check_nothing_is_lost(tmp_path, {0: made(0, 2)})
