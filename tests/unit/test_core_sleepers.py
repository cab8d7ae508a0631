"""Who is called and who lies down, in C as in Python, while other processes sleep."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from shardq.model import Hand, Terms
from shardq.shm import words as at
from shardq.shm.store import Store
from tests.support.chance import SEED
from tests.support.engines import needs_c, stands_in, store_of, watch_engine
from tests.support.forked import Forked
from tests.support.segments import NewStore

pytestmark = needs_c

HANDLERS = ("m/H", "m/G")
KEYS = [f"{handler}/{thread}" for handler in HANDLERS for thread in range(4)]
TERMS = {handler: Terms((0,), 2) for handler in HANDLERS}
NAMES = [frozenset(HANDLERS), frozenset(HANDLERS[:1]), None]
OTHERS = 3


class Worker:
    """A worker of a store that sleeps now and then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hand: Hand | None = None
        self._asleep = False

    def step(self, names: frozenset[str] | None, *, stay: bool, rests: bool, may_sleep: bool) -> object:
        """One turn or rest, and what it gave."""
        delivering, in_hand = self._store.delivering, self._hand and self._hand.batch.count
        if self._asleep or (rests and not in_hand):
            rest = delivering.rest(self._hand, names, TERMS, stay=stay, asleep=self._asleep, may_sleep=may_sleep)
            self._hand, self._asleep = rest.hand, rest.asleep
        else:
            self._hand = delivering.turn(self._hand, names, TERMS, stay=stay)
        waiting, hand = self._store.waiting, self._hand
        seen = hand and (hand.key, hand.token, hand.batch.pipe, hand.batch.through, hand.batch.messages)
        return seen, self._asleep, waiting.sleeping, waiting.last_served


@pytest.fixture
def two(new_store: NewStore) -> Iterator[tuple[Store, Store]]:
    """A store whose frequent case is done in C, and one that does all in Python; three more processes have both."""
    found = store_of("c", new_store, 4 << 20, 16), store_of("python", new_store, 4 << 20, 16)
    for store in found:
        store.waiting.deaths()
        for names in NAMES:  # C says that a process serves handlers once it looks for work, Python a little earlier
            assert store.delivering.turn(None, names, TERMS, stay=False) is None

    def attach() -> None:
        print(*(store.slot for store in found), flush=True)
        sys.stdin.read()

    others = list[Forked]()
    try:
        for slot in range(1, OTHERS + 1):
            others.append(Forked(attach, []))
            assert others[-1].line().split() == [str(slot)] * 2
        yield found
    finally:
        for other in others:
            other.kill()


def fall_asleep(store: Store, slot: int, state: int, serves: int) -> None:
    """Have another process sleep, or not, which serves these handlers."""
    layout, content = store.segment.layout, store.segment.bytes
    content[layout.sleep_map + slot] = state
    content[layout.served_map + slot * at.SERVED_BYTES] = serves


def be_called(store: Store) -> None:
    """Have this process called, as another one does that has work for it."""
    place = store.segment.layout.sleep_map + store.slot
    if store.segment.bytes[place] == at.ASLEEP:
        store.segment.bytes[place] = at.CALLED


def slept_in_c(store: Store) -> tuple[list[bool], list[bool]]:
    """From now on: the rests in C that lie down, and those that rise."""
    lay_down, rose = list[bool](), list[bool]()

    def note(arguments: tuple[Any, ...], turned: Any) -> None:
        asleep = arguments[4]
        if turned and turned[1] and turned[2] != asleep:
            (rose if asleep else lay_down).append(True)

    watch_engine(store, "rest", note)
    return lay_down, rose


def test_a_worker_at_the_end_of_its_quantum_goes_to_another_thread_whatever_one_beside_it_served(
    two: tuple[Store, Store],
) -> None:
    names, few = frozenset(HANDLERS[:1]), {HANDLERS[0]: Terms((0,), 2)}
    for store in two:
        turn, waiting = store.delivering.turn, store.waiting
        assert store.appending.append([(f"{key}/0", [b"x"] * 40) for key in KEYS[:3]])
        hand = None
        for _ in range(7):  # C knows all threads then
            hand = turn(hand, names, few, stay=False)
        assert hand
        for _ in range(4):
            waiting.last_served = waiting._directory.thread(hand.key) - 1
            former, hand = hand, turn(hand, names, few, stay=False)
            assert hand
            assert hand.key != former.key


@pytest.mark.parametrize("names", NAMES, ids=["both", "one", "all"])
def test_the_same_processes_are_called_whoever_calls_them(
    two: tuple[Store, Store], names: frozenset[str] | None
) -> None:
    random, workers = Random(os.environ[SEED]), [Worker(store) for store in two]
    lay_down, rose = slept_in_c(two[0])
    for n in range(600):
        chance = random.random()
        if chance < 0.15:
            slot, state = random.randint(1, OTHERS), random.choice((at.AWAKE, at.ASLEEP, at.CALLED))
            serves = random.choice((0b010, 0b100, 0b110))
            for store in two:
                fall_asleep(store, slot, state, serves)
        elif chance < 0.25:
            for store in two:
                be_called(store)
        elif chance < 0.4:
            keys = random.sample(KEYS, random.choice((1, 2)))
            parts = [(f"{key}/0", [b"message"] * random.randint(1, 3)) for key in keys]
            assert [store.appending.append(parts) for store in two] == [True, True]
        else:
            stay, rests, may_sleep = (random.random() < 0.6 for _ in range(3))
            left, right = (worker.step(names, stay=stay, rests=rests, may_sleep=may_sleep) for worker in workers)
            assert left == right, n
        before, after = (stands_in(store.segment)["fixed part"] for store in two)
        assert before == after, n
    assert lay_down
    assert rose
