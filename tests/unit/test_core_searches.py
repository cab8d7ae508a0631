"""Which ready thread is served next, in C as in Python, beside threads of handlers that the worker does not have."""

from __future__ import annotations

import os
from random import Random

import pytest

from shardq.model import Hand, Terms
from shardq.shm.store import Store
from tests.support.chance import SEED
from tests.support.engines import needs_c, stands_in, store_of, watch_engine
from tests.support.segments import NewStore

pytestmark = needs_c

SERVED = [f"served/H{number}" for number in range(20)]
OTHERS = [f"others/H{number}" for number in range(3)]
NAMES = frozenset(SERVED)
TERMS = {name: Terms((0,), 100) for name in SERVED}


@pytest.fixture
def two(new_store: NewStore) -> tuple[Store, Store]:
    """A store whose frequent case is done in C, and one that does all in Python."""
    return store_of("c", new_store, 8 << 20, 1024), store_of("python", new_store, 8 << 20, 1024)


def append(store: Store, *keys: str) -> None:
    for key in keys:
        assert store.appending.append([(f"{key}/0", [b"message"])])


def turn(store: Store, hand: Hand | None) -> Hand | None:
    return store.delivering.turn(hand, NAMES, TERMS, stay=False)


def drain(store: Store, hand: Hand | None = None) -> list[str]:
    """The threads that a worker serves one after the other, until there is none."""
    served = list[str]()
    while (hand := turn(store, hand)) and hand.batch.count:
        served.append(hand.key)
    if hand:
        assert store.delivering.unclaim(hand.key, hand.token)
    return served


def motley(random: Random) -> list[str]:
    """Threads in the order of their entries: many of one handler beside each other, and patterns that come again."""
    handlers = list[str]()
    while len(handlers) < 700:
        length, times = random.choice(((1, 150), (3, 30), (64, 4), (64, 3), (65, 2)))
        pattern = [random.choice(OTHERS)] * length
        if random.random() < 0.7:
            pattern[random.randrange(length)] = random.choice(SERVED)
        handlers += pattern * times
    return [f"{handler}/{number}" for number, handler in enumerate(handlers)]


def test_the_next_thread_is_the_same_whoever_looks_for_it(two: tuple[Store, Store]) -> None:
    random = Random(os.environ[SEED])
    keys = motley(random)
    for store in two:
        append(store, *keys)
    own = [key for key in keys if key.rpartition("/")[0] in NAMES]
    for again in (own, *(random.sample(own, len(own) // 2) for _ in range(4)), []):
        served = [drain(store) for store in two]
        assert served[0] == served[1]
        assert stands_in(two[0].segment) == stands_in(two[1].segment)
        for store in two:
            append(store, *again)


def test_a_worker_with_many_handlers_looks_beside_other_threads_in_c(two: tuple[Store, Store]) -> None:
    store, _ = two
    own = [f"{SERVED[0]}/{number}" for number in range(3)]
    append(store, *(f"{OTHERS[0]}/{number}" for number in range(200)), *own)
    assert drain(store) == own
    append(store, *own)
    seen = list[bool]()
    watch_engine(store, "turn", lambda _, turned: seen.append(bool(turned and turned[1])))
    assert drain(store) == own
    assert seen == [True] * (len(own) + 1)
