"""Threads and forks of one process: what one of them suffers is not the others' loss."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardq.errors import StorageClosed
from shardq.shm import words as at
from shardq.shm.files.names import bell_path
from tests.faults.kit.points import Child, Gate
from tests.faults.kit.scene import PIPE, Scene, check_usable, check_whole, no_handlers, run, run_waiting, scene
from tests.faults.kit.scene import everything as all_threads
from tests.support.holder import holder


@pytest.fixture
def there() -> Iterator[Scene]:
    with scene() as made:
        yield made


def test_thread_interrupted_at_the_door_does_not_let_others_in(there: Scene) -> None:
    """One thread is inside the guard, another is interrupted while it waits for it."""
    words, owners = there.store.segment.words, []
    inside, leave = threading.Event(), threading.Event()

    def occupy() -> None:
        with there.store._section:
            inside.set()
            leave.wait()
            owners.append(words[at.GUARD_OWNER])

    thread = threading.Thread(target=occupy)
    thread.start()
    inside.wait()
    try:
        with interrupted_when_it_waits(), pytest.raises(KeyboardInterrupt):
            there.store.inspection.counts()
    finally:
        leave.set()
        thread.join()
    assert owners != [0], "the guard was released under a thread that was inside"
    check_whole(there.store)
    check_usable(there)


def test_storage_is_closed_only_once_no_thread_is_inside(there: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot of a thread that is inside would be another process's, and the semaphore unmapped."""
    store, events = there.store, list[str]()
    inside, seen = threading.Event(), threading.Event()
    lock, unmap = store._guard.threads, store.segment.close

    class Lock:
        def acquire(self, *how: float, **limits: float) -> bool:
            seen.set()
            return lock.acquire(*how, **limits)  # type: ignore[arg-type]

        release = lock.release

    def occupy() -> None:
        with store._section:
            inside.set()
            seen.wait()
            events.append("left")
        with pytest.raises(StorageClosed):
            store.inspection.counts()
        events.append("refused")

    def close() -> None:
        events.append("closed")
        unmap()
        seen.set()

    thread = threading.Thread(target=occupy)
    thread.start()
    inside.wait()
    monkeypatch.setattr(store.segment, "close", close)
    monkeypatch.setattr(store._guard, "threads", Lock())
    run(there.storage.close())
    thread.join()
    assert sorted(events) == ["closed", "left", "refused"]
    assert events[0] == "left"


def test_thread_at_the_door_of_a_storage_that_is_closed_is_told(there: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for another process, which does not leave the guard."""
    store, waits, told = there.store, threading.Event(), list[StorageClosed]()

    def enter() -> None:
        with pytest.raises(StorageClosed) as error:
            store.inspection.counts()
        told.append(error.value)

    monkeypatch.setattr(store._guard, "_nap", lambda _: waits.set())
    with holder(there.name, "hold") as other:
        other.hear()
        thread = threading.Thread(target=enter)
        thread.start()
        waits.wait()
        run(there.storage.close())
        thread.join()
    assert told


def test_forked_child_attaches_by_itself(there: Scene) -> None:
    parent = there.store.slot

    def at_work() -> tuple[int, int]:
        there.claim()
        return there.store.slot, there.token

    slot, token = Child(at_work).result()
    assert slot != parent
    assert there.store.slot == parent
    there.claim()
    assert there.token > token, "the claim of the dead child is free"
    check_whole(there.store)


@pytest.mark.parametrize(
    "first_use",
    [
        lambda there: run(there.storage.close()),
        lambda there: there.store.membership.join(7),
        lambda there: there.store.doorbell.open(),
        lambda there: run_waiting(lambda: there.storage.wait_for_quiet(0.001)),
        lambda there: run_waiting(lambda: there.storage.append_when_room([(PIPE, [b"one"])], 0.001)),
        lambda there: os.getpid(),
    ],
    ids=["close", "mark", "bell", "wait-for-quiet", "wait-for-room", "nothing"],
)
def test_first_use_in_a_forked_child_leaves_the_parents_slot_alone(
    there: Scene, first_use: Callable[[Scene], object]
) -> None:
    store = there.store
    store.doorbell.open()
    assert there.append(b"zero")
    store.waiting.lie_down(no_handlers, None)
    before = slot_of(there)
    Child(lambda: [first_use(there), None][1]).end()
    assert slot_of(there) == before
    store.waiting.rise(None)
    check_usable(there)


def test_child_forked_while_a_thread_is_inside_gets_in_later(there: Scene) -> None:
    inside, leave = threading.Event(), threading.Event()

    def occupy() -> None:
        with there.store._section:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=occupy)
    thread.start()
    inside.wait()
    child = Child(lambda: there.append(b"one"))
    leave.set()
    thread.join()
    assert child.result() is True
    check_whole(there.store)


@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound-to-the-dead"])
def test_call_goes_past_who_was_killed_asleep(there: Scene, bound: bool) -> None:
    """The dead one has the lower slot, and may have been bound to the thread."""
    dead_gate, gate = Gate(), Gate()

    def sleep_bound() -> None:
        if bound:
            there.claim()
        asleep(there, dead_gate)

    dead = Child(sleep_bound)
    dead_gate.reached()
    sleeper = Child(lambda: asleep(there, gate))
    gate.reached()
    dead.kill()
    dead_gate.open()
    assert there.append(b"one")
    gate.open()
    assert sleeper.result(), "the living sleeper was not rung"


def asleep(there: Scene, gate: Gate) -> bool:
    """Lie down until the gate opens; whether the bell was rung by then."""
    bell = there.store.doorbell.open()
    there.store.waiting.lie_down(all_threads, None)
    gate.wait()
    return bool(select.select([bell], [], [], 0)[0])


def slot_of(there: Scene) -> tuple[object, ...]:
    """Everything that the others know of this process's slot."""
    store, layout = there.store, there.store.segment.layout
    word = layout.slot_word(store.slot)
    fields = [store.segment.words[word + n] for n in range(at.SLOT_WORDS) if n != at.SLOT_ATTEMPT]
    bell = bell_path(store.segment.system_name, store.slot)
    return store.segment.bytes[layout.sleep_map + store.slot], fields, bell.exists()


@contextmanager
def interrupted_when_it_waits() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in this, the main, thread when it sleeps in the kernel."""
    state = Path(f"/proc/self/task/{threading.get_native_id()}/stat")

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def watch() -> None:
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            os.sched_yield()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, interrupt)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()
        signal.signal(signal.SIGUSR1, former)
