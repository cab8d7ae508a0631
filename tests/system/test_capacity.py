"""Full segments and a full /dev/shm: refused, waited for, never a crash, nothing lost, and as much room as before."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

from shardq import Handler, Queue, Route, Supervisor, Tube, Worker, connect
from shardq.drivers import SharedLock, SharedStorage
from shardq.errors import DirectoryFull, MessageTooLarge, QueueFull
from shardq.pages import each
from shardq.settings import StorageSettings, WorkerSettings
from tests.support import capacity, hands
from tests.support.capacity import KIB, Blob, Daring, Unpack
from tests.support.chance import sample_of_run
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Gated, Note, Record
from tests.support.programs import ROOT
from tests.support.tasks import LIMIT_S, finished, suspended

#: Mounts a /dev/shm of its own, of the first argument's size, and becomes the program that the others name.
OWN_SHM = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o "size=$1" tmpfs /dev/shm && shift && exec "$@"', "sh")


# A /dev/shm of its own


@cache
def why_no_mounts() -> str:
    """Why this process cannot have a /dev/shm of its own, empty where it can."""
    try:
        tried = subprocess.run((*OWN_SHM, "1m", "true"), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return tried.stderr.strip() if tried.returncode else ""


@pytest.mark.parametrize(
    ("size", "capacity_bytes"),
    sample_of_run([("64m", 0), ("64m", 128 * MIB), ("1m", 0), ("1m", 2 * MIB), ("1m", 256 * KIB)], 3),
    ids=str,
)
def test_a_small_dev_shm_is_filled_refused_drained_and_refilled(size: str, capacity_bytes: int) -> None:
    if why_no_mounts():
        pytest.skip(f"no mount namespace here: {why_no_mounts()}")
    program = (sys.executable, "-m", capacity.__name__, str(capacity_bytes), "2")
    done = subprocess.run((*OWN_SHM, size, *program), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    *_, end = map(json.loads, done.stdout.splitlines())
    assert end["accepted"] == end["handled"] > 1000


def test_a_dev_shm_without_room_for_a_segment_says_so() -> None:
    if why_no_mounts():
        pytest.skip(f"no mount namespace here: {why_no_mounts()}")
    program = (sys.executable, "-m", capacity.__name__, str(512 * MIB), "1")
    done = subprocess.run((*OWN_SHM, "1m", *program), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "SegmentNoRoom: /dev/shm has" in done.stderr
    assert "docker run --shm-size" in done.stderr


# Waiting, and not


async def test_a_registration_that_waits_is_woken_by_the_room_a_worker_makes(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_STORAGE_SAFETY_NET", "3600")
    async with Supervisor(Gated, workers=1, capacity_bytes=MIB) as supervisor:
        notes = folder.notes(range(100), padding=20 * KIB)
        tasks = [asyncio.create_task(supervisor.queue.register(Gated, note)) for note in notes]
        await asyncio.wait(tasks, timeout=0)
        waiting = [task for task in tasks if not task.done()]
        assert len(waiting) > 50
        folder.permit(100)
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*tasks)
        assert await supervisor.drain()
        assert sorted(folder.done()) == list(range(100))


async def test_one_call_larger_than_the_room_goes_in_tube_by_tube(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_STORAGE_SAFETY_NET", "3600")
    async with Supervisor(Record, workers=2, capacity_bytes=MIB) as supervisor:
        notes = folder.notes(range(200), threads=20, padding=20 * KIB)
        assert await finished(asyncio.create_task(supervisor.queue.register(Record, *notes))) == 200
        assert await supervisor.drain()
        for thread in range(20):
            assert folder.done(thread) == list(range(thread, 200, 20))


async def test_who_does_not_wait_gets_back_what_was_not_accepted(name: str, folder: Folder) -> None:
    storage = SharedStorage.create(name, MIB, settings=StorageSettings(when_full="raise"))
    async with Queue(storage) as queue:
        notes = folder.notes(range(100), threads=10, padding=20 * KIB)
        with pytest.raises(QueueFull) as caught:
            await queue.register(Record, *notes)

        left = caught.value.not_accepted
        assert 0 < len(left) < 100
        assert left == [note for note in notes if note in set(left)]
        stored = (await storage.backlog()).queued
        assert stored + len(left) == 100
        by_thread = sorted(notes, key=lambda note: note.thread)
        assert set(left) == set(by_thread[stored:]), "steps go thread by thread, each in the order of the call"
        storage.destroy()


async def test_what_can_never_fit_is_refused_at_once(name: str, folder: Folder) -> None:
    storage = SharedStorage.create(name, MIB)
    async with Queue(storage) as queue:
        small, large = folder.notes([0]), folder.notes([1], threads=2, padding=2 * MIB)
        with pytest.raises(MessageTooLarge, match="capacity"):
            await queue.register(Record, *small, *large)
        with pytest.raises(MessageTooLarge):
            queue.register_sync(Record, *large)
        assert await storage.pipes() == []
        storage.destroy()


async def test_a_call_that_is_larger_than_the_segment_waits_between_its_steps(folder: Folder) -> None:
    async with Supervisor(Record, workers=1, capacity_bytes=MIB) as supervisor:
        assert await supervisor.queue.register(Record, *folder.notes(range(200), threads=3, padding=20 * KIB)) == 200
        assert await supervisor.drain()
    for thread in range(3):
        assert folder.done(thread) == list(range(thread, 200, 3))


# Work that makes work


async def test_follow_ups_without_room_cost_neither_the_worker_nor_the_work(folder: Folder) -> None:
    """One worker, a full segment, and a handler whose follow-ups only it could make room for."""
    async with Supervisor(Daring, Record, workers=1, capacity_bytes=MIB) as supervisor:
        supervisor.scale(0)
        await _until_workers(supervisor, 0)
        spreading = [Note(str(folder.path), 5, thread, bytes(20 * KIB)) for thread in range(8)]
        await supervisor.queue.register(Daring, *spreading)
        filled = await _fill(supervisor.queue, folder)
        supervisor.scale(1)
        assert await supervisor.drain(timeout_s=LIMIT_S)

        expected = {*range(filled), *(1000 * (thread + 1) + n for thread in range(8) for n in range(5))}
        lines = folder.until("done", *expected)
        assert len({line.pid for line in lines}) == 1
        refused = (folder.path / "refused").read_text().splitlines()
        assert {int(line.split()[0]) for line in refused} == {lines[0].pid}


async def _fill(queue: Queue, folder: Folder) -> int:
    """Register with `Record` until there is no room, and return how many went in."""
    for number in range(1000):
        [note] = folder.notes([number], threads=number + 1, padding=20 * KIB)
        waiting = asyncio.create_task(queue.register(Record, note))
        await asyncio.wait({waiting}, timeout=0)
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})
            return number
    raise AssertionError("it is never full")


async def _until_workers(supervisor: Supervisor, count: int) -> None:
    while len([worker for worker in supervisor.stats().workers if worker.state != "dead"]) != count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


# Large and many


class Ticket(NamedTuple):
    number: int


class Punch(Handler[Ticket]):
    """Notes every ticket. Each has a thread of its own."""

    seen: ClassVar[list[int]] = []

    @classmethod
    def route(cls, *tickets: Ticket) -> list[Route]:
        return [Route(ticket.number) for ticket in tickets]

    def perform(self, *tickets: Ticket) -> None:
        self.seen.extend(ticket.number for ticket in tickets)


async def test_a_message_of_64_mib_goes_through_a_segment_as_it_comes(tmp_path: Path) -> None:
    data = hashlib.shake_128(b"seed").digest(MIB) * 64
    async with Supervisor(Unpack, workers=1) as supervisor:
        await supervisor.queue.register(Unpack, Blob(str(tmp_path), 0, data), Blob(str(tmp_path), 1, b"small"))
        assert await supervisor.drain()
        assert supervisor.stats().used_bytes < 16 * MIB, "what was drained is given back"
    assert (tmp_path / "blob-0").read_bytes() == data
    assert (tmp_path / "blob-1").read_bytes() == b"small"
    os.unlink(tmp_path / "blob-0")


async def test_fifty_thousand_tubes_with_one_message_each(name: str) -> None:
    count = 50_000
    storage = SharedStorage.create(name)
    async with Queue(storage) as queue:
        before = storage.overview().used_bytes
        assert await queue.register(Punch, *map(Ticket, range(count))) == count
        overview = storage.overview()
        assert overview.queued == count
        print(f"{(overview.used_bytes - before) / count:.0f} bytes for each tube with one message")

        pipes = [pipe async for pipe in each(storage.pipes)]
        assert sorted(pipes) == sorted(Tube(Punch, Route(number)).pipe for number in range(count))
        for pipe in pipes:
            [ticket] = queue.serializer.decode(Ticket, await storage.range(pipe, 2))
            assert pipe == Tube(Punch, Route(ticket.number)).pipe

        # And they can be worked off like any others.
        Punch.seen.clear()
        await Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0)).loop(2000, Punch)
        assert len(set(Punch.seen)) == 2000
        assert storage.overview().queued == count - 2000
        storage.destroy()


async def test_threads_beyond_the_table_take_the_place_of_drained_ones(name: str) -> None:
    count, live = 6_000, 1024
    storage = SharedStorage.create(name, 64 * MIB, threads=live)
    async with Queue(storage) as queue:
        Punch.seen.clear()
        worker = Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0))
        for first in range(0, count, 500):
            await queue.register(Punch, *map(Ticket, range(first, first + 500)))
            await worker.loop(500, Punch)
        assert sorted(Punch.seen) == list(range(count))

        # All of them hold work now, and only drained ones may go.
        await queue.register(Punch, *map(Ticket, range(live)))
        with pytest.raises(DirectoryFull, match="route to fewer threads"):
            await queue.register(Punch, Ticket(live))
        assert len([pipe async for pipe in each(storage.pipes)]) == live
        await worker.loop(live, Punch)
        assert await queue.register(Punch, Ticket(live)) == 1
        storage.destroy()


@pytest.mark.parametrize("way", ["register", "register_sync"])
def test_a_full_directory_gives_back_what_it_did_not_take(way: str, name: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB, threads=64)
    queue, tickets = Queue(storage), list(map(Ticket, range(100)))

    def register() -> int:
        return (
            asyncio.run(queue.register(Punch, *tickets)) if way == "register" else queue.register_sync(Punch, *tickets)
        )

    with pytest.raises(DirectoryFull) as caught:
        register()
    assert caught.value.not_accepted == tickets[64:]
    assert set(asyncio.run(storage.pipes(limit=100))) == {Tube(Punch, Route(number)).pipe for number in range(64)}
    storage.destroy()


async def test_sequence_numbers_of_a_thread_go_on_after_its_place_was_taken(name: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB, threads=64)
    store, last = storage.store, -1
    for number in range(300):
        pipe = f"m/H/{number % 100}/0"
        assert store.appending.append([(pipe, [b"\x01"])])
        token = store.delivering.claim(pipe[:-2])
        batch = hands.take(store.delivering, [pipe], 1, token)
        if number % 100 == 7:
            assert batch.sequence > last
            last = batch.sequence
        hands.pop(store.delivering, pipe, batch.through, token)
        store.delivering.unclaim(pipe[:-2], token)
    storage.destroy()


async def test_who_waits_for_room_is_not_disturbed_by_others_who_do_not(name: str, folder: Folder) -> None:
    storage = SharedStorage.create(name, MIB)
    async with Queue(storage) as queue, await connect(f"shm://{name}") as other:
        filled = await _fill(queue, folder)
        waiting = await suspended(queue.register(Record, *folder.notes([filled], padding=60 * KIB)))
        other.storage.settings.when_full = "raise"
        with pytest.raises(QueueFull):
            await other.register(Record, *folder.notes([filled], padding=60 * KIB))
        worker = Worker(SharedLock(storage), queue, WorkerSettings(empty_limit=0))
        await worker.loop(filled, Record)
        await finished(waiting)
        await worker.loop(1, Record)
        storage.destroy()
    assert sorted(folder.done()) == list(range(filled + 1))
