"""A process that is stopped inside the guard keeps others from their work, and from nothing else: not from signals."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from shardq import Queue, Worker, connect
from shardq.drivers import SharedLock, SharedStorage
from shardq.errors import SegmentBusy
from shardq.shm import words as at
from tests.support import hands, python
from tests.support.drivers import MIB
from tests.support.holder import Holder, holder
from tests.support.jobs import Folder, Gated, Record
from tests.support.programs import ROOT, run_together, until, wait_out_one_wish
from tests.support.supervised import Start
from tests.support.tasks import LIMIT_S, finished


@pytest.fixture
def storage(name: str) -> Iterator[SharedStorage]:
    storage = SharedStorage.create(name, 8 * MIB)
    yield storage
    storage.detach()


def stopped_inside(other: Holder) -> None:
    other.hear()
    other.stop()


def free_again(other: Holder) -> None:
    other.go_on()
    other.let_go()


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_family_ends_when_it_is_told(name: str, url: str, start: Start, order: signal.Signals) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 2).serving()
    program.workers(2)
    with holder(name, "hold") as other:
        stopped_inside(other)
        assert program.stop(order) == 0
        assert "has its guard" in program.heard
        free_again(other)


def test_a_busy_family_ends_at_the_deadline_and_its_work_stays(
    name: str, url: str, start: Start, folder: Folder
) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 1, "--shutdown-timeout", 1).serving()
    queue = Queue(SharedStorage.attach(name))
    queue.register_sync(Gated, *folder.notes([1]))
    folder.until("begin", 1)
    with holder(name, "hold") as other:
        stopped_inside(other)
        folder.permit(1)  # from now on its worker waits for the guard, to acknowledge
        folder.until("done", 1)
        assert program.stop(signal.SIGTERM) == 7
        free_again(other)
    assert asyncio.run(queue.storage.backlog()).queued == 1
    asyncio.run(queue.close())


def test_a_second_signal_works_as_well(name: str, url: str, start: Start, folder: Folder) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 1).serving()
    queue = Queue(SharedStorage.attach(name))
    queue.register_sync(Gated, *folder.notes([1]))
    folder.until("begin", 1)
    with holder(name, "hold") as other:
        stopped_inside(other)
        program.signal(signal.SIGTERM)
        program.hear("stopping")
        wait_out_one_wish()
        assert program.stop(signal.SIGTERM) == 7
        assert "second signal" in program.heard
        free_again(other)
    asyncio.run(queue.close())


def test_the_family_says_so_and_goes_on_afterwards(name: str, url: str, start: Start, folder: Folder) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 1).serving()
    program.workers(1)
    queue = Queue(SharedStorage.attach(name))
    with holder(name, "hold") as other:
        stopped_inside(other)
        program.signal(signal.SIGTTIN)  # anything that makes it look around
        program.hear("a process does not leave the guard")
        free_again(other)
    queue.register_sync(Record, *folder.notes([1]))
    folder.until("done", 1)
    asyncio.run(queue.close())


async def test_a_client_registers_as_soon_as_it_can_and_its_loop_goes_on(
    name: str, storage: SharedStorage, folder: Folder
) -> None:
    queue = Queue(storage)
    with holder(name, "hold") as other:
        stopped_inside(other)
        registering = asyncio.create_task(queue.register(Record, *folder.notes([1])))
        cancelled = asyncio.create_task(queue.register(Record, *folder.notes([2])))
        waiting = asyncio.create_task(storage.wait(None, 0.05))
        turns = 0
        while turns < 50 or not waiting.done():
            turns += 1
            await asyncio.sleep(0)
        assert not registering.done()
        assert await finished(waiting) is None
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        free_again(other)
    assert await finished(registering) == 1
    assert (await storage.backlog()).queued == 1
    await storage.wait(None, 0)


async def test_every_verb_lets_the_loop_go_on(name: str, storage: SharedStorage) -> None:
    pipe, key = "m/H/0/0", "m/H/0"
    token = await storage.claim(key)
    verbs = {
        "append": lambda: storage.append([(pipe, [b"x"])]),
        "append_when_room": lambda: storage.append_when_room([(pipe, [b"x"])], 30),
        "contains": lambda: storage.contains(pipe, b"x"),
        "length": lambda: storage.length(pipe),
        "pipes": storage.pipes,
        "range": lambda: storage.range(pipe, 1),
        "take": lambda: hands.take(storage, [pipe], 1, token),
        "fail": lambda: hands.fail(storage, pipe, token),
        "give_back": lambda: hands.give_back(storage, pipe, token, 1),
        "pop": lambda: hands.pop(storage, pipe, 0, token),
        "bury": lambda: hands.bury(storage, pipe, 9999, token, "m/H/dead/0", b"x"),
        "graves": storage.graves,
        "requeue": lambda: storage.requeue("m/H/dead/0", 0, pipe, b"x"),
        "drop": lambda: storage.drop("m/H/dead/0", 0),
        "remove": lambda: storage.remove(pipe, b"y"),
        "claimed": lambda: storage.claimed("m/H/2"),
        "claim": lambda: storage.claim("m/H/1"),
        "unclaim": lambda: storage.unclaim("m/H/2", 1),
        "wait": lambda: storage.wait(None, 30, key),
        "wait_for_quiet": lambda: storage.wait_for_quiet(0.5),
        "promote": storage.promote,
        "scheduled": storage.scheduled,
        "unschedule": lambda: storage.unschedule(pipe, b"x"),
        "backlog": storage.backlog,
    }
    with holder(name, "hold") as other:
        stopped_inside(other)
        tasks = {verb: asyncio.ensure_future(call()) for verb, call in verbs.items()}
        longest_s, last = 0.0, time.monotonic()
        for _ in range(200):
            await asyncio.sleep(0)
            longest_s, last = max(longest_s, time.monotonic() - last), time.monotonic()
        done = [verb for verb, task in tasks.items() if task.done()]
        assert set(done) <= {"wait_for_quiet"}
        print(f"longest turn of the loop: {longest_s:.3f} s for {len(verbs)} verbs")
        free_again(other)
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*tasks.values())


def test_who_waits_for_it_leaves_the_processor_to_others(name: str, storage: SharedStorage) -> None:
    assert storage.store.appending.append([("m/H/0/0", [b"x"])])  # the core in C knows the tube from now on
    with holder(name, "hold") as other:
        stopped_inside(other)
        used_s = time.process_time()
        with storage.store.patience.at_most(1.0), pytest.raises(SegmentBusy):
            storage.store.appending.append([("m/H/0/0", [b"y"])])
        used_s = time.process_time() - used_s
        free_again(other)
    assert used_s < 0.25, "it used the processor while it waited"


async def test_a_look_for_quiet_without_a_timeout_waits_a_moment_for_the_guard(
    name: str, storage: SharedStorage
) -> None:
    with holder(name, "hold") as other:
        stopped_inside(other)
        looking = asyncio.create_task(storage.wait_for_quiet(0))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not looking.done()
        free_again(other)
        assert await looking


async def test_a_worker_that_looks_for_work_can_be_stopped(name: str, storage: SharedStorage) -> None:
    worker = Worker(SharedLock(storage), Queue(storage))
    with holder(name, "hold") as other:
        stopped_inside(other)
        working = asyncio.create_task(worker.loop())
        await asyncio.sleep(0)  # until it waits for the first time
        worker.stop()
        async with asyncio.timeout(LIMIT_S):
            await working
        free_again(other)


def test_a_thread_that_waits_keeps_no_loop_of_its_process_waiting(name: str, storage: SharedStorage) -> None:
    """The thread waits inside the lock of its process, with no limit."""
    with holder(name, "hold") as other:
        stopped_inside(other)
        blocked = threading.Thread(target=storage.store.appending.append, args=([("m/H/0/0", [b"x"])],))
        blocked.start()
        assert asyncio.run(storage.wait(None, 0.05)) is None
        assert blocked.is_alive()
        free_again(other)
        blocked.join()


def test_a_registration_that_blocks_is_interrupted_by_a_signal(name: str, url: str, storage: SharedStorage) -> None:
    code = (
        "import asyncio, sys; from shardq import connect; from tests.support.jobs import Record, Note\n"
        f"queue = asyncio.run(connect({url!r})); print('connected', flush=True)\n"
        "sys.stdin.readline(); print('begins', flush=True)\n"
        "queue.register_sync(Record, Note('x', 1))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with python.Program[str]((sys.executable, "-c", code), cwd=ROOT, text=True, **pipes) as client:  # type: ignore[call-overload]
        assert client.stdout.readline() == "connected\n"
        with holder(name, "hold") as other:
            stopped_inside(other)
            client.stdin.write("\n")
            client.stdin.flush()
            assert client.stdout.readline() == "begins\n"
            until(lambda: storage.store.segment.words[at.STUCK_ATTEMPT] != 0, "it waits")
            client.send_signal(signal.SIGINT)
            _, errors = client.communicate()
            assert client.returncode != 0
            assert "KeyboardInterrupt" in errors
            free_again(other)


def test_status_says_who_has_the_guard(name: str, url: str, storage: SharedStorage) -> None:
    def status() -> dict[str, object]:
        command = (sys.executable, "-m", "shardq", "status", "--url", url, "--sample", "0")
        text = python.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        done = python.run((*command, "--json"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {"text": text, **json.loads(done)}

    assert status()["guard"] is None
    with holder(name, "hold") as other:
        stopped_inside(other)
        with storage.store.patience.at_most(0.2), pytest.raises(SegmentBusy, match="has its guard"):
            storage.store.inspection.counts()
        found = status()
        assert found["guard"]["pid"] == other.pid  # type: ignore[index]
        assert found["guard"]["stopped"] is True  # type: ignore[index]
        assert found["guard"]["held_s"] >= 0.2  # type: ignore[index]
        assert f"process {other.pid}, which is stopped, has the guard for" in str(found["text"])
        free_again(other)
    assert status()["guard"] is None


def test_commands_say_why_they_cannot(name: str, url: str, storage: SharedStorage) -> None:
    verbs = [["park", "m/H/0/0"], ["dead", "drop", "--all"], ["recurrent", "cancel", "--all"], ["check"], ["destroy"]]
    with holder(name, "hold") as other:
        stopped_inside(other)
        for verb, done in zip(verbs, run_together(verbs, url), strict=True):
            assert (done.returncode, done.stdout) == (1, ""), verb
            assert "has its guard" in done.stderr or "in use by" in done.stderr, verb
        free_again(other)


def test_commands_that_look_need_no_guard(name: str, url: str, storage: SharedStorage) -> None:
    verbs = [["status"], ["tubes"], ["peek", "m/H/0/0"], ["dead", "list"], ["recurrent", "list"], ["results"]]
    with holder(name, "hold") as other:
        stopped_inside(other)
        for verb, done in zip(verbs, run_together(verbs, url), strict=True):
            assert (done.returncode, done.stderr) == (0, ""), verb
        free_again(other)


def test_a_supervisor_starts_where_a_process_is_stopped_inside(name: str, url: str, start: Start) -> None:
    asyncio.run(_left_by(url, name))
    with holder(name, "hold") as other:
        stopped_inside(other)
        program = start("tests.support.jobs", "--url", url, "--workers", 1).serving()
        program.workers(1)
        assert program.stop(signal.SIGTERM) == 0
        free_again(other)


async def _left_by(url: str, name: str) -> None:
    storage = SharedStorage.create(name, 8 * MIB)
    await storage.close()
    async with await connect(url):
        pass


def test_a_reload_hears_signals(name: str, url: str, start: Start) -> None:
    program = start("tests.support.jobs", "--url", url, "--workers", 1).serving()
    program.workers(1)
    with holder(name, "hold") as other:
        stopped_inside(other)
        program.signal(signal.SIGHUP)
        program.hear("reloaded")
        assert program.stop(signal.SIGTERM) == 0
        free_again(other)


async def test_status_knows_for_how_long_where_only_coroutines_wait(name: str, storage: SharedStorage) -> None:
    with holder(name, "hold") as other:
        stopped_inside(other)
        appending = asyncio.ensure_future(storage.append([("m/H/0/0", [b"x"])]))
        for _ in range(20):
            await asyncio.sleep(0.01)
        held = storage.overview().guard
        assert held
        assert held.pid == other.pid
        assert held.held_s
        assert held.held_s > 0.1
        free_again(other)
    assert await finished(appending) == 1


def test_who_was_killed_inside_does_not_have_the_guard_any_more(name: str, storage: SharedStorage) -> None:
    with holder(name, "hold") as other:
        stopped_inside(other)
        other.kill()
        assert storage.store.appending.append([("m/H/0/0", [b"x"])])
        assert storage.overview().guard is None
