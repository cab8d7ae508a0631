"""A sleeper has one descriptor that becomes readable when a process ends that served a thread."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

from shardq.protocols import Served
from shardq.shm import words as at
from shardq.shm.processes.death_watch import DeathWatch
from shardq.shm.registry import close_store, create_store
from shardq.shm.store import Store
from tests.faults.kit.points import Child, Gate
from tests.support.drivers import MIB

LIMIT_S = 30.0


no_handlers: Served = frozenset()


def readable(descriptor: int, timeout_s: float = 0.0) -> bool:
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def look(store: Store) -> None:
    """What a sleeper does before it sleeps."""
    store.waiting.rise(store.waiting.lie_down(no_handlers, None)[0])


@contextmanager
def serving(store: Store, key: str) -> Iterator[Child]:
    """Another process that has bound a thread; killed at the end if it still lives."""
    gate = Gate()
    child = Child(lambda: [store.delivering.claim(key), gate.wait(), None][2])
    gate.reached()
    ended = False
    kill = child.kill

    def kill_once() -> None:
        nonlocal ended
        ended = True
        kill()

    child.kill = kill_once  # type: ignore[method-assign]
    try:
        yield child
    finally:
        gate.open()
        if not ended:
            kill()


def test_all_threads_of_a_process_wait_on_one_descriptor(store: Store) -> None:
    """Else one of them waits on what is closed already."""
    threads = 8
    switch_interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for _ in range(100):
                watch, together = DeathWatch(store.segment, store._slots), Barrier(threads)

                def open_it(watch: DeathWatch = watch, together: Barrier = together) -> int:
                    together.wait()
                    return watch.open()

                opened = [pool.submit(open_it) for _ in range(threads)]
                assert len({each.result() for each in opened}) == 1
                watch.close()
    finally:
        sys.setswitchinterval(switch_interval_s)


def watching() -> int:
    """How many processes this one has descriptors of, and one more for each set of them."""
    links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum("pidfd" in link or "eventpoll" in link for link in links)


def test_the_descriptor_tells_of_the_death_of_who_serves(store: Store) -> None:
    deaths = store.waiting.deaths()
    with serving(store, "m/H/0") as child:
        look(store)
        assert not readable(deaths)
        child.kill()
        assert readable(deaths, LIMIT_S)


def test_after_it_was_noted_the_descriptor_is_quiet(store: Store) -> None:
    deaths = store.waiting.deaths()
    with serving(store, "m/H/0") as child, serving(store, "m/H/1"):
        look(store)
        child.kill()
        store.waiting.note_deaths()
        assert not readable(deaths)
        look(store)
        assert not store.delivering.claimed("m/H/0")
        assert store.delivering.claimed("m/H/1")


def test_who_attached_and_serves_nothing_is_not_watched(store: Store) -> None:
    deaths, gate = store.waiting.deaths(), Gate()
    child = Child(lambda: [store.inspection.counts(), gate.wait(), None][2])
    gate.reached()
    look(store)
    child.kill()
    gate.open()
    assert not readable(deaths)


def test_one_that_dies_in_its_sleep_before_it_ever_served_is_told(store: Store) -> None:
    """It may have been called to work, and no other process was."""
    bell, deaths, gate = store.doorbell.open(), store.waiting.deaths(), Gate()
    store.waiting.lie_down(no_handlers, None)
    child = Child(lambda: [store.waiting.lie_down(no_handlers, None), gate.wait(), None][2])
    gate.reached()
    assert readable(bell)
    store.doorbell.silence()
    store.waiting.rise(None)
    look(store)
    child.kill()
    gate.open()
    assert readable(deaths, LIMIT_S)
    store.waiting.note_deaths()


def test_who_begins_to_serve_later_is_watched_from_the_next_look_on(store: Store) -> None:
    deaths = store.waiting.deaths()
    look(store)
    with serving(store, "m/H/0"):
        look(store)
        with serving(store, "m/H/1") as newcomer:
            look(store)
            newcomer.kill()
            assert readable(deaths, LIMIT_S)


def test_the_first_claim_of_a_process_rings_who_sleeps(store: Store) -> None:
    """A worker that sleeps already has looked: it has to look again to watch the newcomer."""
    bell = store.doorbell.open()
    store.waiting.lie_down(no_handlers, None)
    with serving(store, "m/H/0"):
        assert readable(bell)
        store.doorbell.silence()
    store.waiting.rise(None)


def test_a_second_claim_rings_no_bell(store: Store) -> None:
    assert store.delivering.claim("m/H/0")
    bell = store.doorbell.open()
    store.waiting.lie_down(no_handlers, None)
    assert store.delivering.claim("m/H/1")
    assert not readable(bell)
    store.waiting.rise(None)


def test_which_of_many_dies_is_told_and_the_others_stay_watched(store: Store) -> None:
    deaths = store.waiting.deaths()
    with serving(store, "m/H/0") as first, serving(store, "m/H/1") as second, serving(store, "m/H/2") as third:
        look(store)
        for child in (second, first, third):
            child.kill()
            assert readable(deaths, LIMIT_S)
            store.waiting.note_deaths()
            assert not readable(deaths)


def test_a_slot_used_again_is_another_process(store: Store) -> None:
    deaths = store.waiting.deaths()
    for _ in range(3):
        with serving(store, "m/H/0") as child:
            look(store)
            child.kill()
            assert readable(deaths, LIMIT_S)
            store.waiting.note_deaths()
            assert not readable(deaths)


def test_after_a_death_was_noted_the_next_look_of_a_busy_process_frees_the_threads_of_the_dead(store: Store) -> None:
    """It looks for them now and then only, and has just done so."""
    with serving(store, "m/H/0") as child:
        assert store.waiting.find_work(no_handlers) is None
        child.kill()
        store.waiting.note_deaths()
        assert store.waiting.find_work(no_handlers) is None
        word = store.segment.layout.thread_word(0)
        assert not store.segment.words[word + at.THREAD_OWNER]


def test_who_watches_is_told_which_processes_ended(store: Store) -> None:
    told = list[int]()
    store._parts.watch.on_end = told.append
    store.waiting.deaths()
    with serving(store, "m/H/0") as first, serving(store, "m/H/1"):
        look(store)
        owners = [store.segment.words[store.segment.layout.thread_word(n) + at.THREAD_OWNER] for n in range(2)]
        store.waiting.note_deaths()
        assert told == []
        first.kill()
        store.waiting.note_deaths()
        assert told == owners[:1]
        store.waiting.note_deaths()
        assert told == owners[:1]


def test_detaching_closes_what_was_watched(name: str) -> None:
    store, before = create_store(name, MIB), watching()
    with serving(store, "m/H/0"):
        store.waiting.deaths()
        look(store)
        assert watching() == before + 2
        close_store(store)
        assert watching() == before


def test_a_forked_child_closes_its_copies_at_its_first_use(store: Store) -> None:
    store.waiting.deaths()
    with serving(store, "m/H/0"):
        look(store)
        held = watching()
        assert Child(lambda: [watching(), store.inspection.counts(), watching()]).result()[::2] == [held, held - 2]


def test_a_forked_child_that_ends_leaves_the_watch_to_its_parent(store: Store) -> None:
    deaths = store.waiting.deaths()
    with serving(store, "m/H/0") as child:
        look(store)
        Child(lambda: [store.inspection.counts(), look(store), None][2]).end()
        assert not readable(deaths)
        child.kill()
        assert readable(deaths, LIMIT_S)


def test_a_forked_child_watches_by_itself(store: Store) -> None:
    store.waiting.deaths()
    with serving(store, "m/H/0") as served:
        look(store)

        def watch() -> bool:
            own = store.waiting.deaths()
            look(store)
            os.kill(served.pid, 9)
            return readable(own, LIMIT_S)

        assert Child(watch).result() is True
