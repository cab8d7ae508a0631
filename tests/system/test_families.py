"""Several families over one storage on a server: who is shown, who frees whose threads, and when a drain ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shardq import Queue, Worker, cli, connect
from shardq.drivers.redis.connecting import storage_of
from shardq.drivers.redis.families import FamilyView
from shardq.drivers.redis.lock import RedisLock
from shardq.drivers.redis.overview import Overview, overview_of, stats_of
from shardq.drivers.redis.storage import RedisStorage
from shardq.drivers.redis.supervised import SupervisedServer
from shardq.drivers.redis.verbs import presence
from shardq.drivers.redis.verbs.owners import Family
from shardq.handler import drive
from shardq.metrics import exposed
from shardq.model import Ending
from shardq.supervisor.exits import Exit
from shardq.supervisor.wishes import orders
from tests.support.homes import Home, ServerHome
from tests.support.jobs import Folder, Gated, Record
from tests.support.metrics import parsed
from tests.support.programs import until
from tests.support.supervised import Start, client
from tests.support.tasks import LIMIT_S

pytestmark = pytest.mark.parametrize("home", [ServerHome], indirect=True, ids=["server"])

JOBS, HERE = Record.__module__, socket.gethostname()
KEY = f"{JOBS}/Record/0"


@pytest.fixture
def storage(url: str) -> Iterator[RedisStorage]:
    """The view of a process that serves nothing."""
    storage = storage_of(url)
    yield storage
    storage.server.close()


def families(storage: RedisStorage) -> list[FamilyView]:
    return stats_of(storage).families


def until_families(storage: RedisStorage, fit: Callable[[list[FamilyView]], bool]) -> list[FamilyView]:
    """Wait until they are as expected, and return them."""
    until(lambda: fit(families(storage)), "the families are as expected")
    return families(storage)


def pids(family: FamilyView) -> set[int]:
    return {worker.pid for worker in family.workers}


def bound(family: FamilyView) -> list[tuple[int, str, int]]:
    return [(worker.pid, its.thread, its.in_hand) for worker in family.workers for its in worker.threads]


@asynccontextmanager
async def lone_worker(url: str, lease_s: float = 30.0) -> AsyncIterator[Worker]:
    """A worker without a supervisor, in this process."""
    async with await connect(url) as queue:
        assert isinstance(queue.storage, RedisStorage)
        queue.storage.turning.lease_s = lease_s
        worker = Worker(RedisLock(queue.storage), queue)
        task = asyncio.create_task(worker.loop(handler=Record))
        yield worker
        worker.stop()
        await task


def test_each_family_is_shown_with_its_workers_and_what_they_do(
    start: Start, url: str, storage: RedisStorage, folder: Folder
) -> None:
    first = start(f"{JOBS}:Gated", "--url", url, "--workers", 1).serving()
    second = start(f"{JOBS}:Record", "--url", url, "--workers", 2).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        [begun] = folder.until("begin", 0)

        found = until_families(storage, lambda found: [len(family.workers) for family in found].count(2) == 1)
        shown = {family.supervisor_pid: family for family in found}
        assert shown.keys() == {first.pid, second.pid}
        assert {(family.host, family.state) for family in found} == {(HERE, "serving")}
        assert bound(shown[first.pid]) == [(begun.pid, f"{JOBS}/Gated/0", 1)]
        assert pids(shown[second.pid]) == second.workers(2)
        of_first, of_second = shown[first.pid].handlers, shown[second.pid].handlers
        assert (of_first, of_second) == ([f"{JOBS}/Gated"], [f"{JOBS}/Record"])
        folder.permit(1)
        folder.until("done", 0)
    assert first.stop() == second.stop() == Exit.OK
    assert families(storage) == []


async def test_a_worker_without_a_supervisor_is_shown_as_long_as_it_serves(url: str, storage: RedisStorage) -> None:
    async with lone_worker(url):
        [family] = await asyncio.to_thread(until_families, storage, bool)
        assert (family.host, family.supervisor_pid, family.state) == (HERE, None, "serving")
        assert (pids(family), family.handlers) == ({os.getpid()}, [f"{JOBS}/Record"])
    assert families(storage) == []


async def test_a_worker_without_a_supervisor_is_heard_of_while_it_finds_nothing(
    url: str, storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others sleep beside it, so that it is long until it has to look again for the sake of lost wake-ups."""
    monkeypatch.setenv("QUEUE_STORAGE_SAFETY_NET", "3600")
    async with lone_worker(url, lease_s=0.5):
        ages = set[float]()
        async with asyncio.timeout(LIMIT_S):
            while len(ages) < 3:
                ages |= {
                    family.age_s - family.heard_s for family in families(storage) if family.age_s and family.heard_s
                }
                await asyncio.sleep(0.05)


def test_a_family_that_was_killed_is_silent_and_then_gone_and_the_next_one_forgets_it(
    start: Start, url: str, storage: RedisStorage
) -> None:
    lease = {"QUEUE_LOCK_TIMEOUT": "0.3"}
    program = start(JOBS, "--url", url, "--workers", 1, environment=lease).serving()
    until_families(storage, lambda found: [len(family.workers) for family in found] == [1])
    program.kill_family()

    until_families(storage, lambda found: [family.state for family in found] == ["silent"])
    [family] = until_families(storage, lambda found: [family.state for family in found] == ["gone"])
    assert (family.supervisor_pid, family.lease_s) == (program.pid, 0.3)
    assert stats_of(storage).workers == []

    other = start(JOBS, "--url", url, "--workers", 1, environment=lease).serving()
    until_families(storage, lambda found: [family.supervisor_pid for family in found] == [other.pid])
    assert other.stop() == Exit.OK


def test_a_reloaded_supervisor_stays_the_same_family(
    start: Start, url: str, storage: RedisStorage, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    [before] = until_families(storage, lambda found: [len(family.workers) for family in found] == [1])
    program.signal(signal.SIGHUP)
    program.hear("reloaded")
    [after] = until_families(
        storage, lambda found: [len(its.workers) for its in found] == [1] and pids(found[0]) != pids(before)
    )
    assert (after.supervisor_pid, after.state) == (program.pid, "serving")
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes(range(3)))
        folder.until("done", *range(3))
    assert program.stop() == Exit.OK


async def test_the_death_of_a_worker_frees_no_thread_of_its_namesake_in_another_container(
    url: str, storage: RedisStorage
) -> None:
    """Both containers have the same host name, and their workers the same number."""
    here, there = Family(HERE, "here"), Family(HERE, "there")
    mine, other = storage_of(url), storage_of(url)
    mine.turning.presence.join(here)
    other.turning.presence.join(there)
    assert await mine.claim(KEY)
    assert await other.claim(f"{JOBS}/Record/1")

    supervised = SupervisedServer(storage_of(url), family=here)
    await asyncio.to_thread(supervised.note_death, os.getpid(), Ending(signal=signal.SIGKILL))

    assert not await storage.claimed(KEY)
    assert await storage.claimed(f"{JOBS}/Record/1")
    for its in (mine, other, supervised.storage):
        await its.close()


async def test_what_a_dead_worker_had_sent_keeps_no_thread(url: str, storage: RedisStorage) -> None:
    """It ran on the server after the death of the worker was said."""
    here, mine = Family(HERE, "here"), storage_of(url)
    mine.turning.presence.join(here)
    supervised = SupervisedServer(storage_of(url), family=here)
    supervised.bell()
    await asyncio.to_thread(supervised.note_death, os.getpid(), Ending(signal=signal.SIGKILL))
    assert await mine.claim(KEY)

    await asyncio.to_thread(supervised.promote)

    assert not await storage.claimed(KEY)
    await mine.close()
    await asyncio.to_thread(supervised.close)


def test_deaths_of_workers_are_counted_by_how(start: Start, url: str, storage: RedisStorage) -> None:
    program = start(JOBS, "--url", url, "--workers", 2).serving()
    first, second = program.workers(2)
    os.kill(first, signal.SIGKILL)
    os.kill(second, signal.SIGSEGV)
    until(lambda: sum(stats_of(storage).deaths.values()) == 2, "both are counted")

    assert program.stop() == Exit.OK
    assert stats_of(storage).deaths == {"killed": 1, "signal": 1, "exited": 0, "hung": 0, "unknown": 0}
    assert parsed(asyncio.run(exposed(url)))["shardq_worker_deaths_total", "signal"] == 1


@pytest.mark.parametrize("apart", [False, True])
async def test_a_family_of_another_container_with_the_same_host_name_gets_no_orders(
    storage: RedisStorage, apart: bool
) -> None:
    """Its pids may be those of processes that are here."""
    words = presence.told(Family.new(), 30.0, None, {os.getpid(): (1, 1.0)}, os.getppid())
    if apart:
        words["said"]["pids"] = "another"
    await storage.server.run("family", presence.HOME, {"family": words})

    [member] = (await overview_of(storage)).crew
    assert orders.is_reached(member) is not apart
    assert member.host == (f"{HERE}, another pid namespace" if apart else HERE)


async def test_threads_are_counted_by_state(storage: RedisStorage) -> None:
    for number in range(4):
        await storage.append([(f"{JOBS}/Record/{number}/0", [b"any"])])
    resting = await storage.claim(f"{JOBS}/Record/0")
    assert await storage.claim(f"{JOBS}/Record/1")
    await storage.unclaim(f"{JOBS}/Record/0", resting, 3600.0)

    assert (await overview_of(storage)).threads == {"ready": 2, "bound": 1, "resting": 1}


def test_a_process_that_was_forked_has_a_name_of_its_own(url: str) -> None:
    storage = storage_of(url)
    own = storage.turning.owner
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, storage.turning.owner.encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as pipe:
        its = pipe.read()
    assert its.partition(":")[0] == own.partition(":")[0] == HERE
    assert its.rpartition(":")[2] != own.rpartition(":")[2]


def test_a_drain_ends_when_another_family_has_done_the_rest(
    start: Start, url: str, storage: RedisStorage, folder: Folder
) -> None:
    """The family that drains has no handler for what is left."""
    server = start(f"{JOBS}:Gated", "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        folder.until("begin", 0)
        drain = start(f"{JOBS}:Record", "--url", url, "--workers", 1, "--drain", "--json")
        queue.register_sync(Record, *folder.notes([7]))
        folder.until("done", 7)
        folder.permit(1)
        assert drain.end() == Exit.OK
    assert folder.done() == [7, 0]
    assert json.loads(drain.printed())["left"] == 0
    assert server.stop() == Exit.OK


def test_a_drain_waits_for_what_another_family_serves_as_long_as_that_is_heard_of(
    start: Start, url: str, storage: RedisStorage, folder: Folder
) -> None:
    lease = {"QUEUE_LOCK_TIMEOUT": "1.5"}
    program = start(f"{JOBS}:Gated", "--url", url, "--workers", 1, environment=lease).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
    folder.until("begin", 0)
    drain = SupervisedServer(storage_of(url), [f"{JOBS}/Record"], drains=True)
    until(lambda: drain.only_unserved() == [], "the other family is heard of")
    program.kill_family()
    until(lambda: drain.only_unserved() == [f"{JOBS}/Gated/0/0"], "the other family is silent")
    drain.close()


def test_a_family_is_heard_of_when_it_says_that_it_serves(start: Start, url: str, storage: RedisStorage) -> None:
    program = start(f"{JOBS}:Gated", "--url", url, "--workers", 1).serving()
    assert [family.supervisor_pid for family in drive(overview_of(storage)).families] == [program.pid]


def test_what_stays_is_said_where_no_other_family_serves(
    start: Start, url: str, home: Home, storage: RedisStorage, folder: Folder
) -> None:
    first = start(f"{JOBS}:Gated", "--url", url, "--workers", 1).serving()
    second = start(f"{JOBS}:Gated", "--url", url, "--workers", 1).serving()
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes(range(3)))
    assert first.stop() == Exit.OK
    assert "stay" not in first.heard
    assert second.stop() == Exit.OK
    second.hear("3 requests stay in redis.unix:")
    assert home.left() == ["3 requests"]
    sleepers = drive(storage.server.ask(b"HGETALL", drive(storage.server.layout()).key(0, "SLEEPS")))
    assert [name for name in sleepers if name.endswith(b"#0")] == []  # those of the supervisors


def test_a_storage_is_not_destroyed_under_a_family(
    start: Start, url: str, storage: RedisStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    until_families(storage, lambda found: bool(found))
    assert cli.main(["destroy", "--url", url, "--with-requests"]) == cli.FAILED
    assert f"in use by supervisor {program.pid} on {HERE}" in capsys.readouterr().err
    assert program.stop() == Exit.OK
    assert cli.main(["destroy", "--url", url]) == cli.OK


def test_status_shows_the_families_as_a_table(
    start: Start, url: str, folder: Folder, storage: RedisStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    program = start(JOBS, "--url", url, "--workers", 2).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0]))
        [begun] = folder.until("begin", 0)
        until_families(storage, lambda found: [len(family.workers) for family in found] == [2])
        assert cli.main(["status", "--url", url, "--sample", "0"]) == cli.OK
        shown = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [HERE, str(program.pid), "2", "serving"] in [words[:4] for words in shown]
        assert [HERE, str(program.pid), str(begun.pid), f"{JOBS}/Gated/0", "1"] in [words[:5] for words in shown]
        folder.permit(1)
        folder.until("done", 0)
    assert program.stop() == Exit.OK


async def test_what_families_say_is_bounded(storage: RedisStorage) -> None:
    for number in range(1100):
        said: dict[str, Any] = {"host": HERE, "lease_us": 10**7, "age_us": 0, "workers": []}
        family = {"mark": str(number), "gone_us": 10**8, "said": said}
        await storage.server.run("family", 0, {"family": family})
    view: Overview = await overview_of(storage)
    assert len(view.families) == 1024


async def test_a_queue_that_only_registers_is_no_family(url: str, storage: RedisStorage, folder: Folder) -> None:
    async with await connect(url) as queue:
        assert isinstance(queue, Queue)
        await queue.register(Record, *folder.notes([0]))
        assert families(storage) == []
        await queue.storage.remove(f"{KEY}/0", *(await queue.storage.range(f"{KEY}/0", 1)).messages)
