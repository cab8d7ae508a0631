"""The frequent case in C, where something comes between: another thread, a fork, a finalizer, a guard that is held."""

from __future__ import annotations

import gc
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shardq.errors import SegmentForeign
from shardq.model import EMPTY, Hand, Terms, When
from shardq.outputs import Output
from shardq.shm import words as at
from shardq.shm.store import Store
from shardq.shm.verbs.delivering import Rest
from tests.faults.kit.fsck import fsck
from tests.support.engines import needs_c, rest_in_c, stands_in, store_of, turn_in_c
from tests.support.forked import Forked
from tests.support.segments import NewStore, stores

pytestmark = needs_c

ONE, OTHER = "m/H/one", "m/H/other"
NAMES = frozenset(["m/H"])
TERMS = {"m/H": Terms((0,), 1)}
#: Of a slot that no process has.
UNUSED_SLOT = 5
#: More processes that wait for room are left to Python.
MOST_WAITING = 16


@pytest.fixture
def store(new_store: NewStore) -> Store:
    return known(new_store)


def known(new_store: NewStore) -> Store:
    """A store whose engine knows two threads and what it serves."""
    store = store_of("c", new_store, 16 << 20, 16)
    append(store, ONE, OTHER)
    hand = turn(store, None)
    while hand:
        hand = turn(store, hand) if hand.batch.count else release(store, hand)
    return store


def append(store: Store, *keys: str) -> None:
    assert store.appending.append([(f"{key}/0", [b"message"]) for key in keys])


def turn(store: Store, hand: Hand | None, *, stay: bool = False) -> Hand | None:
    return store.delivering.turn(hand, NAMES, TERMS, stay=stay)


def release(store: Store, hand: Hand) -> None:
    assert store.delivering.unclaim(hand.key, hand.token)


def sleep_place(store: Store, slot: int) -> int:
    return store.segment.layout.sleep_map + slot


def have_died_asleep(store: Store) -> None:
    """Leave what a process leaves that was killed in its sleep: the next call for a worker has to look closer."""
    store.segment.bytes[sleep_place(store, UNUSED_SLOT)] = at.ASLEEP


class HeldAfter:
    """An engine whose guard another thread enters as soon as the engine has done something."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._engine: Any = store.core.engine
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._hold)
        self._inside = threading.Event()

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._engine, name)

        def held_after(*arguments: Any) -> Any:
            done = verb(*arguments)
            if not self._thread.is_alive():
                self._thread.start()
                assert self._inside.wait(9)
            return done

        return held_after

    def end(self) -> None:
        self._leave.set()
        self._thread.join()

    def _hold(self) -> None:
        self._store._guard.acquire()
        self._inside.set()
        self._leave.wait(9)
        self._store._guard.release()


@contextmanager
def held_after_c(store: Store) -> Iterator[None]:
    """Within, the guard is held from the first verb on, once it was done in C; no process waits for it for long."""
    core, usual = store.core, store.patience.usual
    engine, held = core.engine, HeldAfter(store)
    core.engine, store.patience.usual = held, lambda: 0.01  # type: ignore[assignment]
    try:
        yield
    finally:
        core.engine, store.patience.usual = engine, usual
        held.end()


def test_what_was_stored_is_not_refused_where_the_guard_is_held_then(store: Store) -> None:
    have_died_asleep(store)

    with held_after_c(store):
        append(store, ONE)

    assert store.reading.read(f"{ONE}/0", 9).count == 1


def test_a_thread_that_was_released_in_c_is_not_asked_for_again(store: Store) -> None:
    append(store, ONE, OTHER)
    append(store, ONE)
    hand = turn(store, None)
    assert hand
    have_died_asleep(store)

    with held_after_c(store):
        assert turn(store, hand) is None

    assert not store.delivering.holds(hand.key, hand.token)
    found = turn(store, None)
    assert found
    assert found.key != hand.key


def test_a_sleeper_whose_thread_was_released_in_c_comes_back_at_once(store: Store) -> None:
    append(store, ONE)
    hand = turn(store, None)
    hand = turn(store, hand, stay=True)
    assert hand
    append(store, ONE, OTHER)
    have_died_asleep(store)

    with held_after_c(store):
        rest = store.delivering.rest(hand, NAMES, TERMS, stay=False, asleep=True)

    assert rest == Rest(None, True, 0.0)


@contextmanager
def sleeper_above(store: Store) -> Iterator[int]:
    """Another process that sleeps, for handlers without numbers, of which only Python knows. The place of its state."""

    def attach() -> None:
        print(store.slot, flush=True)
        sys.stdin.read()

    other, content = Forked(attach, []), store.segment.bytes
    try:
        slot = int(other.line())
        content[store.segment.layout.served_map + slot * at.SERVED_BYTES] = 1 << at.UNNUMBERED
        content[sleep_place(store, slot)] = at.ASLEEP
        yield sleep_place(store, slot)
    finally:
        other.kill()


def be_called_asleep(store: Store) -> None:
    """Lie down, and be called for one of two threads that get messages then."""
    assert store.delivering.rest(None, NAMES, TERMS, stay=False).asleep
    append(store, ONE, OTHER)
    assert store.segment.bytes[sleep_place(store, store.slot)] == at.CALLED


def test_a_call_that_c_cannot_pass_on_is_passed_on_by_python(store: Store) -> None:
    be_called_asleep(store)

    with sleeper_above(store) as place:
        turned = rest_in_c(store, None, NAMES, TERMS, stay=False, asleep=True, may_sleep=True)
        assert store.segment.bytes[place] == at.CALLED

    assert turned
    hand, done, _ = turned
    assert done
    assert hand
    assert hand.batch.count == 1


def test_what_was_found_in_c_is_in_hand_where_the_guard_is_held_as_the_call_is_to_be_passed_on(store: Store) -> None:
    be_called_asleep(store)

    with sleeper_above(store) as place, held_after_c(store):
        rest = store.delivering.rest(None, NAMES, TERMS, stay=False, asleep=True)
        assert store.segment.bytes[place] == at.ASLEEP

    assert not rest.asleep
    assert rest.hand
    assert rest.hand.batch.count == 1
    assert store.delivering.holds(rest.hand.key, rest.hand.token)


def test_a_slot_that_is_given_back_is_not_used_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = list[bool]()
    with stores() as new_store:
        store = known(new_store)
        core, leave = store.core, store._slots.leave

        def leave_while_another_thread_appends() -> None:
            leave()
            stored.append(core.append([(f"{ONE}/0", [b"message"])], at.GENERAL))

        monkeypatch.setattr(store._slots, "leave", leave_while_another_thread_appends)

    assert stored == [False]


def test_a_verb_that_a_fork_interrupted_does_not_go_on_with_the_slot_of_the_parent(store: Store) -> None:
    appending, word = store.appending, store._slots.word(store.slot) + at.SLOT_ATTEMPT
    before = store.segment.words[word]

    def go_on() -> None:
        assert appending.append([(f"{ONE}/0", [b"message"])])
        assert store.segment.words[word] == before

    assert Forked(go_on, []).wait() == 0


class Meddler:
    """Garbage whose finalizer changes what a verb was given."""

    def __init__(self, messages: list[bytes]) -> None:
        self.messages = messages
        self.itself = self

    def __del__(self) -> None:
        self.messages.clear()


def test_no_finalizer_runs_between_looking_at_messages_and_storing_them(store: Store) -> None:
    messages = [b"message" * 9 for _ in range(99)]
    parts = [(f"{ONE}/0", messages)]
    threshold, engine = gc.get_threshold(), store.core.engine
    assert engine
    gc.collect()
    gc.disable()
    Meddler(messages)
    held = [(n,) for n in range(9999)]  # so that the next small tuple needs memory, which may begin a collection
    gc.set_threshold(1, 1, 1)
    gc.enable()
    stored = engine.append(parts, at.GENERAL)
    gc.set_threshold(*threshold)
    gc.collect()

    assert held
    assert not messages
    assert stored == ()
    assert store.reading.read(f"{ONE}/0", 999).messages == [b"message" * 9 for _ in range(99)]


def test_a_sleeper_that_was_to_wake_by_itself_rises_in_python(store: Store) -> None:
    append(store, ONE)
    hand = turn(store, None)
    assert hand
    append(store, OTHER)
    token = store.delivering.claim(OTHER)
    assert store.delivering.unclaim(OTHER, token, 3600)
    hand = Hand(hand.key, hand.token, EMPTY)

    assert rest_in_c(store, hand, NAMES, TERMS, stay=True, asleep=True, may_sleep=True) is None


def test_a_thread_of_no_handler_is_damage(store: Store) -> None:
    append(store, ONE)
    hand = turn(store, turn(store, None), stay=True)
    assert hand
    append(store, ONE, OTHER)
    store.segment.bytes[sleep_place(store, store.slot)] = at.ASLEEP
    thread = store._parts.delivering._directory.thread(ONE)
    store.segment.words[store.segment.layout.thread_word(thread) + at.THREAD_HANDLER] = 1 << 60

    with pytest.raises(SegmentForeign):
        turn(store, hand)


def test_while_a_process_waits_until_nothing_is_queued_only_the_last_acknowledgement_is_left_to_python(
    store: Store,
) -> None:
    for _ in range(3):
        append(store, ONE)
    hand = turn(store, None)
    place = store.segment.layout.quiet_map + store.slot
    assert not store.waiting.quiet()

    for _ in range(2):
        turned = turn_in_c(store, hand, NAMES, TERMS, stay=True)
        assert turned is not None
        hand, done, _ = turned
        assert done
        assert store.segment.bytes[place]

    assert turn_in_c(store, hand, NAMES, TERMS, stay=True) is None
    assert turn(store, hand) is not None
    assert not store.segment.bytes[place]
    assert store.waiting.quiet()


def test_a_process_that_waits_for_room_is_rung_by_the_core(store: Store) -> None:
    for _ in range(2):
        append(store, ONE)
    hand, place, bell = turn(store, None), store.segment.layout.room_map + store.slot, store.doorbell.open()
    store.waiting.await_room()
    assert not is_rung(bell)

    assert turn_in_c(store, hand, NAMES, TERMS, stay=True) is not None

    assert not store.segment.bytes[place]
    assert is_rung(bell)


def test_where_many_processes_wait_for_room_each_acknowledgement_is_left_to_python(store: Store) -> None:
    for _ in range(2):
        append(store, ONE)
    hand, layout = turn(store, None), store.segment.layout
    waiting = range(layout.room_map, layout.room_map + MOST_WAITING + 1)
    for place in waiting:
        store.segment.bytes[place] = 1

    assert turn_in_c(store, hand, NAMES, TERMS, stay=True) is None
    assert turn(store, hand) is not None
    assert not any(store.segment.bytes[place] for place in waiting)


def is_rung(bell: int) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def to(key: str, *messages: bytes) -> Output:
    return Output(f"{key}/0", list(messages))


def test_what_is_sent_on_leaves_with_the_batch(store: Store) -> None:
    append(store, ONE)
    hand = turn(store, None)

    turned = turn_in_c(store, hand, NAMES, TERMS, (to(OTHER, b"first", b"second"),), stay=False)

    assert turned is not None
    left, done, _ = turned
    assert done
    assert left is not None
    assert (left.key, left.batch.messages) == (OTHER, [b"first"])
    assert store.reading.read(f"{ONE}/0", 9).messages == []


@pytest.mark.parametrize(
    "outputs",
    [
        [to(ONE, b"into the tube that is acknowledged")],
        [to(OTHER, b"one"), to(OTHER, b"two")],
        [to(OTHER)],
        [to("m/H/unknown", b"one")],
        [to(OTHER, b"x" * (600 << 10))],
        [to(OTHER, b"later")._replace(when=When(1 << 60))],
        [to(OTHER, b"if not there")._replace(absent=True)],
        [(f"{OTHER}/0", [b"one"], None)],
        [to(OTHER, b"one"), None],
        iter([to(OTHER, b"one")]),
    ],
    ids=range(10),
)
def test_what_is_sent_on_otherwise_is_left_to_python(store: Store, outputs: Any) -> None:
    append(store, ONE)
    hand = turn(store, None)
    before = stands_in(store.segment)

    assert turn_in_c(store, hand, NAMES, TERMS, outputs, stay=True) is None

    assert stands_in(store.segment) == before


def test_nothing_is_sent_on_with_an_empty_hand(store: Store) -> None:
    append(store, ONE)
    hand = turn(store, turn(store, None), stay=True)
    assert hand is not None
    assert not hand.batch.count
    before = stands_in(store.segment)

    assert turn_in_c(store, hand, NAMES, TERMS, [to(OTHER, b"one")], stay=True) is None

    assert stands_in(store.segment) == before


def test_python_mends_where_what_was_sent_on_cannot_be_offered(store: Store) -> None:
    append(store, ONE)
    hand = turn(store, None)
    have_died_asleep(store)

    left = store.delivering.turn(hand, NAMES, TERMS, stay=True, outputs=[to(OTHER, b"one")])

    assert left is not None
    assert left.key == OTHER
    assert left.batch.messages == [b"one"]
    assert store.reading.read(f"{ONE}/0", 9).messages == []
    assert fsck(store.segment) == []
