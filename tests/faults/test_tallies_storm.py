"""What processes count of handlers while they are killed: no count goes back, and a death loses one batch at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random

import pytest

from shardq.model import HandlerView, Terms
from shardq.shm.observing.observer import Observer
from shardq.shm.store import Store
from tests.faults.conftest import COUNTED
from tests.faults.kit.points import Child
from tests.support.drivers import MIB
from tests.support.segments import observing, stores

HANDLER = "m/H"
TERMS = {HANDLER: Terms((0,), 5)}
#: Messages of a call, and most of a batch.
CALL, BATCH = 12, 5
#: A process lives so long at most, seconds: long enough for hundreds of batches, and short enough to be starting.
LONGEST_S = 0.03
#: So many producers and workers are alive at a time.
PRODUCERS, WORKERS = 1, 2


@pytest.fixture
def store() -> Iterator[Store]:
    with stores() as opener:
        yield opener(8 * MIB)


def produces(store: Store) -> None:
    while True:
        if store.inspection.counts().queued < 2_000:
            store.appending.append([(f"{HANDLER}/{thread}/0", [b"message"] * 4) for thread in range(3)])


def works(store: Store) -> None:
    hand = None
    while True:
        hand = store.delivering.turn(hand, frozenset({HANDLER}), TERMS, stay=True)
        if hand is not None and not hand.batch.count:
            store.delivering.unclaim(hand.key, hand.token)
            hand = None


def seen(observer: Observer) -> dict[str, int]:
    """Every count there is."""
    found: list[HandlerView] = observer.handlers()
    counts: dict[str, int] = {}
    for view in found:
        assert view.handler == HANDLER
        counts = {"accepted": view.accepted, "done": view.done, "batches": view.batches, "busy": int(view.busy_s * 1e9)}
        counts |= view.failed
        counts |= {f"wait {place}": count for place, count in enumerate(view.wait.buckets)}
        counts |= {f"work {place}": count for place, count in enumerate(view.work.buckets)}
    return counts


@pytest.mark.timeout(60 + 3 * COUNTED)
def test_no_count_goes_back_and_a_death_loses_one_batch_at_most(
    store: Store, random: Random, tried: Callable[[str, int], None]
) -> None:
    before, back = dict[str, int](), set[str]()
    with observing(store.segment.name) as observer:
        for number in range(0, COUNTED, PRODUCERS + WORKERS):
            children = [Child(lambda: produces(store)) for _ in range(PRODUCERS)]
            children += [Child(lambda: works(store)) for _ in range(WORKERS)]
            random.shuffle(children)
            for child in children:
                time.sleep(random.uniform(0, LONGEST_S))
                child.kill()
                now = seen(observer)
                back |= {name for name, count in before.items() if now[name] < count}
                before = now
            assert back == set()
            deaths = number + len(children)
            counts = store.inspection.counts()  # mends what the last one left
            now = seen(observer)
            assert 0 <= counts.accepted - now.get("accepted", 0) <= deaths * CALL
            assert 0 <= counts.handled - now.get("done", 0) <= deaths * BATCH
    assert now["batches"] > 0
    assert now["died"] <= deaths
    tried("deaths of what counts", deaths)
