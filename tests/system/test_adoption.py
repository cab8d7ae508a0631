"""Families that died, wholly or in part, and what the next families make of what they left."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from shardq import Queue
from shardq.drivers import SharedStorage
from shardq.shm import words as at
from shardq.supervisor.exits import Exit
from tests.support.crashing import FOLDER, Ask, Fragile
from tests.support.drivers import MIB
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import lives, until
from tests.support.segments import files_of
from tests.support.serving import serving
from tests.support.supervised import Start, client, dead_letters, leave_in_segment, left_in
from tests.support.tasks import LIMIT_S

JOBS = Record.__module__
#: Nets that no process comes to in a test: what happens is due to events.
NO_NETS = {"QUEUE_STORAGE_SAFETY_NET": "3600"}


def test_after_the_death_of_a_whole_family_another_goes_on_with_all_of_it(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 2).serving()
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes(range(40), threads=4))
        folder.until("begin", 0)
    program.kill_family()
    assert left_in(url) == 40

    again = start(JOBS, "--url", url, "--workers", 2, "--drain")
    again.hear(rf"segment adopted segment={name} queued=40 dead_letters=0")
    folder.permit(60)

    assert again.end() == Exit.OK
    for thread in range(4):
        assert list(dict.fromkeys(folder.done(thread))) == list(range(thread, 40, 4))
    assert files_of(name) == set()


def test_dead_letters_outlive_the_family(start: Start, url: str, name: str, tmp_path: str) -> None:
    leave_in_segment(name, Fragile, [Ask(0), Ask(1, "raise"), Ask(2)])
    environment = {FOLDER: str(tmp_path)}
    program = start(Fragile.__module__, "--url", url, "--workers", 2, "--drain", environment=environment)

    assert program.end() == Exit.DEAD_LETTERS
    assert "2 requests done" in program.printed()
    program.hear(rf"1 dead letter stays in {url}")
    with client(url) as queue:
        [buried] = dead_letters(queue)
        assert buried.letter.error == "KeyError: 'out of luck'"
        assert asyncio.run(queue.dead_letters.requeue(buried))
    again = start(Fragile.__module__, "--url", url, "--drain", "--json", environment=environment)
    assert again.end() == Exit.DEAD_LETTERS
    summary = json.loads(again.printed())
    assert (summary["done"], summary["left"], summary["failed"]) == (0, 0, 1)


def test_a_segment_is_swept_where_that_is_asked(start: Start, url: str, name: str, folder: Folder) -> None:
    leave_in_segment(name, Record, folder.notes(range(7)))

    program = start(JOBS, "--url", url, "--workers", 1, "--stale", "sweep").serving()

    program.hear(rf"segment swept segment={name} queued=7 dead_letters=0")
    with client(url) as queue:
        queue.register_sync(Record, *folder.notes([100]))
        folder.until("done", 100)
    assert folder.done() == [100]
    assert program.stop() == Exit.OK
    assert files_of(name) == set()


def test_a_segment_that_others_use_is_not_swept(start: Start, url: str, name: str, folder: Folder) -> None:
    leave_in_segment(name, Record, folder.notes(range(7)))
    storage = SharedStorage.attach(name)

    program = start(JOBS, "--url", url, "--workers", 1, "--stale", "sweep")

    assert program.end() == Exit.SEGMENT
    program.hear("cannot be swept while processes")
    asyncio.run(storage.close())
    assert left_in(url) == 7


def test_a_worker_that_hangs_outlives_its_supervisor_only_until_the_next_one_comes(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    [orphan] = program.workers(1)
    with client(url) as queue:
        queue.register_sync(Gated, *folder.notes([0, 1]))
        folder.until("begin", 0)
    program.kill()

    again = start(JOBS, "--url", url, "--workers", 1, "--shutdown-timeout", "0.2", environment=NO_NETS).serving()

    again.hear(rf"worker of a supervisor that died pid={orphan}")
    folder.until_again(folder.until("begin", 0)[0])
    until(lambda: not lives(orphan), "the orphan is gone")
    folder.permit(2)
    folder.until("done", 0, 1)
    with client(url) as queue:
        assert asyncio.run(queue.storage.wait_for_quiet(LIMIT_S))
        assert dead_letters(queue) == []
    # Its worker has no more time than the orphan had, and may not be gone by then, for all that it is idle.
    assert again.stop() in (Exit.OK, Exit.KILLED)
    assert "failed" not in again.heard
    assert files_of(name) == set()


def test_without_a_supervisor_a_death_wakes_who_sleeps(
    name: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nets are hours away."""
    for variable, value in NO_NETS.items():
        monkeypatch.setenv(variable, value)
    storage = SharedStorage.create(name, MIB)
    Queue(storage).register_sync(Gated, *folder.notes([0]))
    with serving(name, f"{JOBS}:Gated", killed=True) as first:
        [begun] = folder.until("begin", 0)
        with serving(name, f"{JOBS}:Gated") as second:
            until(lambda: storage.store.waiting.asleep() == 1, "the second one sleeps")
            os.kill(first, signal.SIGKILL)
            assert folder.until_again(begun).pid == second
            folder.permit(1)
            folder.until("done", 0)
    assert begun.pid == first
    storage.destroy()


def test_no_supervisor_says_how_a_worker_ended_that_was_not_its_own_child(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    program = start(JOBS, "--url", url, "--workers", 1).serving()
    [orphan] = program.workers(1)
    storage = SharedStorage.attach(name)
    Queue(storage).register_sync(Gated, *folder.notes([0]))
    [begun] = folder.until("begin", 0)
    program.kill()
    again = start(JOBS, "--url", url, "--workers", 1).serving()
    again.hear(rf"worker of a supervisor that died pid={orphan}")

    os.kill(orphan, signal.SIGKILL)

    folder.until_again(begun)
    folder.permit(1)
    folder.until("done", 0)
    assert again.stop() == Exit.OK
    assert storage.store.segment.words[at.DEATHS_CURSOR] == 0
    asyncio.run(storage.close())


def test_what_is_killed_at_the_deadline_of_a_stop_has_not_failed(
    start: Start, url: str, name: str, folder: Folder
) -> None:
    """Not even once, however often it happens."""
    leave_in_segment(name, Gated, folder.notes([0]))
    for _ in range(6):
        program = start(JOBS, "--url", url, "--workers", 1, "--shutdown-timeout", "0").serving()
        folder.until("begin", 0)
        folder.lines.clear()
        assert program.stop() == Exit.KILLED

    program = start(JOBS, "--url", url, "--workers", 1, "--drain")
    folder.permit(1)
    assert program.end() == Exit.OK
    assert folder.done() == [0]


def test_families_that_are_killed_leave_no_more_files_than_the_last(start: Start, url: str, name: str) -> None:
    # Attached before them all: coming between the workers of one it would move them to other slots, and to other files.
    storage = SharedStorage.create(name, MIB)
    counts = []
    for _ in range(4):
        program = start(JOBS, "--url", url, "--workers", 3).serving()
        until(lambda: len(storage.store.supervision.workers()) == 3, "all workers are there")
        until(lambda: storage.store.waiting.asleep() == 3, "all workers sleep")
        counts.append(len(files_of(name)))
        program.kill_family()
    asyncio.run(storage.close())
    assert counts[1:] == counts[:1] * 3
