"""Looking from outside at what is never still, at what hangs, and at what is dead."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from shardq.errors import SegmentMissing, ShardqError
from shardq.model import dead_pipe
from shardq.shm import words as at
from shardq.shm.memory.record import Record
from shardq.shm.observing.copies import Messages
from shardq.shm.observing.observer import Observer
from shardq.shm.observing.steadily import TRIES, Moving, steadily
from shardq.shm.registry import attach_store, close_store, observe, stop_observing
from shardq.shm.store import Store
from tests.faults.kit.points import Child, Gate
from tests.support import hands
from tests.support.chance import SEED
from tests.support.drivers import MIB
from tests.support.segments import observing, stores

KEYS = [f"m/Job/{thread}" for thread in range(4)]
GRAVE = dead_pipe("m/Job")
#: Each message says so many times which one it is, so that half of one and half of another is seen.
TIMES = 40
#: For how long processes change what is looked at.
STORM_S = 2.0
#: A look may take so long by the processor at most.
LIMIT_S = 1.0


@pytest.fixture
def store() -> Iterator[Store]:
    with stores() as opener:
        yield opener(4 * MIB, 64)


def message(thread: int, number: int) -> bytes:
    return b"%d:%08d " % (thread, number) * TIMES


def is_whole(text: bytes) -> bool:
    """Whether a message or a letter is one that was stored."""
    first = text.split(b" ", 1)[0] + b" "
    return text == first * TIMES


def works(store: Store, thread: int) -> None:
    """Put, take, bury and acknowledge in a thread, until this process is killed."""
    key, number, random = KEYS[thread], 0, Random(thread)
    token = store.delivering.claim(key)
    while True:
        pipe = f"{key}/{random.randrange(2)}"
        count = random.choice((1, 1, 3, 50))
        if store.appending.append([(pipe, [message(thread, number + n) for n in range(count)])]):
            number += count
        if random.random() < 0.2:
            store.removing.remove(pipe, [message(thread, number - 1)])
        batch = hands.take(store.delivering, [pipe], random.choice((1, 5, 100)), token)
        if batch.count == 1 and random.random() < 0.5:
            hands.bury(store.burying, pipe, batch.sequence, token, GRAVE, batch.payload, 20)
        elif batch.count:
            hands.pop(store.delivering, pipe, batch.through, token)
        if random.random() < 0.05:
            store.delivering.unclaim(key, token)
            for passing in range(70):  # so many threads come and go that entries are used again
                store.appending.append([(f"m/Passing/{number}-{passing}/0", [message(thread, number)])])
                store.removing.remove(f"m/Passing/{number}-{passing}/0", [message(thread, number)])
            token = store.delivering.claim(key)


@contextmanager
def changing(store: Store) -> Iterator[list[Child]]:
    """Processes at work at full speed."""
    children = [Child(lambda thread=thread: works(store, thread)) for thread in range(len(KEYS))]  # type: ignore[misc]
    try:
        yield children
    finally:
        for child in children:
            child.resume()
            child.kill()


def looks(observer: Observer) -> dict[str, Callable[[], object]]:
    def read(pipe: str, after: int | None = None) -> None:
        batch = observer.read(pipe, 200, after)
        assert all(map(is_whole, batch.messages)), batch.messages
        assert list(batch.numbers) == sorted(set(batch.numbers))

    def read_pages(pipe: str) -> None:
        after = None
        for _ in range(20):
            batch = observer.read(pipe, 4, after)
            assert all(map(is_whole, batch.messages))
            if not batch.count:
                return
            after = batch.through - 1

    def tubes() -> None:
        for view in observer.tubes(limit=1000):
            assert view.pipe.startswith("m/")
            assert view.queued > 0
            assert view.oldest_age_s is not None
            assert view.oldest_age_s < 3600

    def facts(pipe: str) -> None:
        found = observer.facts(pipe)
        assert not found.moving or (found.queued, found.owner) == (0, None)
        assert found.queued >= 0
        assert found.others.keys() <= {0, 1}
        assert found.owner is None or found.owner.at.pid != os.getpid()
        assert found.taken in (None, 0, 1)

    pipes = [f"{key}/{priority}" for key in KEYS for priority in (0, 1)]
    return {
        "overview": observer.overview,
        "tubes": tubes,
        "graves": lambda: [pytest.fail(grave) for grave in observer.graves() if grave != GRAVE],
        "facts": lambda: [facts(pipe) for pipe in (*pipes, "m/Passing/0-0/0")],
        "letters": lambda: read(GRAVE),
        "letters by pages": lambda: read_pages(GRAVE),
        "length": lambda: [observer.length(pipe) for pipe in pipes],
        **{f"read {pipe}": lambda pipe=pipe: read(pipe) for pipe in pipes},  # type: ignore[misc]
        **{f"pages of {pipe}": lambda pipe=pipe: read_pages(pipe) for pipe in pipes},  # type: ignore[misc]
    }


@pytest.mark.timeout(120)
def test_what_is_seen_while_all_changes_was_there(store: Store, tried: Callable[[str, int], None]) -> None:
    """Also while some of those that change it are stopped, in the guard or not, and after all are dead."""
    random, count = Random(int(os.environ[SEED])), 0
    with observing(store.segment.name) as observer:
        with changing(store) as children:
            every, end = list(looks(observer).items()), time.monotonic() + STORM_S
            while time.monotonic() < end:
                name, look = random.choice(every)
                child = random.choice(children)
                if random.random() < 0.1:
                    os.kill(child.pid, signal.SIGSTOP)
                before = time.process_time()
                look()
                assert time.process_time() - before < LIMIT_S, name
                child.resume()
                count += 1
        for _, look in every:
            look()
    tried("looks at what changes", count)


@pytest.mark.timeout(120)
def test_another_programs_stores_end_no_look_otherwise_than_by_an_error(store: Store) -> None:
    """Words change at random while they are looked at: nothing is right then, and each look ends."""
    for thread, key in enumerate(KEYS):
        for number in range(30):
            assert store.appending.append([(f"{key}/0", [message(thread, number)])])
    segment, seed = store.segment, int(os.environ[SEED])

    def damages() -> None:
        random, layout, words = Random(seed), segment.layout, segment.words
        areas = (
            range(layout.thread_word(0), layout.thread_word(6)),
            range(layout.tube_word(0), layout.tube_word(6)),
            range(layout.index_word, layout.index_word + layout.buckets),
            range(layout.extents_base // 8, layout.extents_base // 8 + 4096),
            range(at.ACCEPTED, at.HANDLERS),
        )
        while True:
            word = random.choice(random.choice(areas))
            was = words[word]
            words[word] = random.choice((0, was + 1 & (1 << 64) - 1, random.getrandbits(64), was ^ 1 << 3))
            if random.random() < 0.9:
                words[word] = was

    with observing(segment.name) as observer:
        child = Child(damages)
        try:
            end = time.monotonic() + STORM_S
            pipes = [f"{key}/0" for key in KEYS]
            every = (
                observer.overview,
                lambda: observer.tubes(limit=1000),
                observer.graves,
                observer.scheduled,
                *(lambda pipe=pipe: observer.read(pipe, 100) for pipe in pipes),  # type: ignore[misc]
                *(lambda pipe=pipe: observer.length(pipe) for pipe in pipes),  # type: ignore[misc]
            )
            random = Random(seed)
            while time.monotonic() < end:
                before = time.process_time()
                with suppress(ShardqError):
                    random.choice(every)()
                assert time.process_time() - before < LIMIT_S
        finally:
            child.kill()


def test_the_memory_cannot_be_written(store: Store) -> None:
    with observing(store.segment.name) as observer:
        with pytest.raises(TypeError):
            observer.segment.words[at.ACCEPTED] = 7

        def writes() -> None:
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            view = _Buffer()
            assert not ctypes.pythonapi.PyObject_GetBuffer(
                ctypes.py_object(observer.segment.bytes), ctypes.byref(view), 0
            )
            ctypes.memset(view.buf, 1, 8)

        status = Child(writes).end()
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGSEGV


class _Buffer(ctypes.Structure):
    """As much of Python's `Py_buffer` as is used; the rest is room."""

    _fields_ = (("buf", ctypes.c_void_p), ("rest", ctypes.c_char * 256))


def test_it_takes_no_slot_and_no_memory(store: Store) -> None:
    assert store.appending.append([(f"{KEYS[0]}/0", [message(0, 1)])])
    fixed = slice(store.segment.layout.fixed_bytes)
    before, taken = bytes(store.segment.bytes[fixed]), store.segment.taken_bytes
    with observing(store.segment.name) as observer:
        observer.overview()
        observer.tubes()
        observer.read(f"{KEYS[0]}/0", 10)
        observer.read("m/None/0/0", 10)
        observer.scheduled()
        observer.segment.copied(store.segment.layout.total_bytes - 8, 8)
        assert bytes(store.segment.bytes[fixed]) == before
        assert store.segment.taken_bytes == taken


def test_it_keeps_no_segment_alive_and_says_that_it_went(store: Store) -> None:
    with observing(store.segment.name) as observer:
        store.segment.unlink(store.hold[0])
        with pytest.raises(SegmentMissing, match="was removed"):
            observer.overview()


def test_an_attached_process_keeps_its_locks_however_often_it_looks(store: Store) -> None:
    def looks_often() -> bool:
        close_store(store)
        mine = attach_store(store.segment.name)
        observers = [observe(store.segment.name) for _ in range(3)]
        for observer in observers:
            assert observer._slots.occupied(mine.slot)
            stop_observing(observer)
        open_files = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            stop_observing(observe(store.segment.name))
        assert len(os.listdir("/proc/self/fd")) == open_files
        slot = mine.slot
        held = bool(Child(lambda: _is_held(store.segment.name, slot)).result())
        close_store(mine)
        return held

    assert Child(looks_often).result() is True


def _is_held(name: str, slot: int) -> bool:
    with observing(name) as observer:
        return observer._slots.occupied(slot)


def test_messages_that_leave_while_they_are_copied_are_not_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others take their memory at once, and are shown instead, whole."""
    pipe, later = f"{KEYS[0]}/0", [message(0, number) * 3 for number in (3, 4)]
    assert store.appending.append([(pipe, [message(0, number) for number in range(3)])])
    token = store.delivering.claim(KEYS[0])
    hands.take(store.delivering, [pipe], 3, token)
    with observing(store.segment.name) as observer:
        copies = observer._reader._copies
        copied, moments = copies.messages, [True, False]

        def meanwhile(found: Record) -> Messages:
            before = moments.pop(0) if moments else None
            copy = copied(found) if before is False else None
            if before is not None:
                batch = hands.take(store.delivering, [pipe], 100, token)
                hands.pop(store.delivering, pipe, batch.through or 3, token)
                assert store.appending.append([(pipe, later)])
            return copy or copied(found)

        monkeypatch.setattr(copies, "messages", meanwhile)
        seen = observer.read(pipe, 10)
        assert (seen.messages, list(seen.numbers)) == (later, [5, 6])
        assert observer.missed == 0


def test_what_moves_at_each_look_is_given_up() -> None:
    looked = 0

    def look() -> int:
        nonlocal looked
        looked += 1
        return looked

    with pytest.raises(Moving):
        steadily("segment", look, lambda: looked)
    assert looked == TRIES


def test_a_worker_that_is_stopped_in_the_guard_is_looked_at(store: Store) -> None:
    assert store.appending.append([(f"{KEYS[0]}/0", [message(0, 1)])])
    gate = Gate()
    child = Child(lambda: [store.begin_section(), gate.wait()][:0])
    gate.reached()
    os.kill(child.pid, signal.SIGSTOP)
    assert child.stopped()
    try:
        with observing(store.segment.name) as observer:
            assert observer.read(f"{KEYS[0]}/0", 1).messages == [message(0, 1)]
            assert [view.queued for view in observer.tubes()] == [1]
            held = observer.overview().guard
            assert held is not None
            assert (held.pid, held.stopped) == (child.pid, True)
    finally:
        child.resume()
        child.kill()
