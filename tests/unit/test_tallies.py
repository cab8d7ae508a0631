"""What is counted of handlers: buckets of times, rates, and whose memory that is."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from shardq.model import BOUNDS_S, BUCKETS, Hand, HandlerView, Times, bucket_of, dead_pipe, percentile
from shardq.shm import words as at
from shardq.shm.store import Store
from shardq.shm.tubes import tallies
from tests.faults.kit.points import Child
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.forked import Forked
from tests.support.segments import NewStore, observing

KEY, PIPE = "m/H/0", "m/H/0/0"


def views(store: Store) -> dict[str, HandlerView]:
    with observing(store.segment.name) as observer:
        return {view.handler: view for view in observer.handlers()}


def handle(store: Store, key: str, count: int) -> None:
    """Take one batch of a thread and acknowledge it."""
    token = store.delivering.claim(key)
    batch = hands.take(store.delivering, [f"{key}/0"], count, token)
    hands.pop(store.delivering, f"{key}/0", batch.through, token)
    store.delivering.unclaim(key, token)


# Buckets


def test_bounds_grow_by_the_root_of_two_from_a_microsecond_to_forty_minutes() -> None:
    assert len(BOUNDS_S) == BUCKETS
    assert BOUNDS_S[0] == 2**-20
    assert BOUNDS_S[40] == 1.0
    assert BOUNDS_S[-1] == math.inf
    assert all(math.isclose(later / former, math.sqrt(2)) for former, later in pairwise(BOUNDS_S[:-1]))


@pytest.mark.parametrize("place", range(BUCKETS - 1))
def test_a_time_is_in_the_first_bucket_whose_bound_is_not_below_it(place: int) -> None:
    bound_ns = math.floor(BOUNDS_S[place] * 1e9)
    assert bucket_of(bound_ns) == place
    assert bucket_of(bound_ns + 1) == place + 1


@pytest.mark.parametrize("nanoseconds", [0, 1, 2**63, 2**64 - 1])
def test_every_time_has_a_bucket(nanoseconds: int) -> None:
    assert 0 <= bucket_of(nanoseconds) < BUCKETS


def counted(*times_s: float) -> Sequence[int]:
    buckets = [0] * BUCKETS
    for seconds in times_s:
        buckets[bucket_of(int(seconds * 1e9))] += 1
    return buckets


def test_percentiles_are_bounds_below_which_so_many_lie() -> None:
    buckets = counted(*[0.001] * 90, *[0.5] * 9, 1e6)
    assert percentile(buckets, 0.5) == BOUNDS_S[bucket_of(1_000_000)]
    assert percentile(buckets, 0.95) == 0.5
    assert percentile(buckets, 0.99) == 0.5
    assert percentile(buckets, 1.0) == BOUNDS_S[-2]
    assert percentile([0] * BUCKETS, 0.5) is None
    assert Times.counted(buckets).count == 100


# Counts


def test_what_happens_to_requests_is_counted_by_handler(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"1", b"2", b"3"]), ("m/H/1/0", [b"4"])])
    assert store.appending.append([("m/Other/0/0", [b"5"])])
    handle(store, KEY, 2)
    assert store.removing.remove("m/H/1/0", [b"4"]) == 1
    token = store.delivering.claim(KEY)
    hands.take(store.delivering, [PIPE], 1, token)
    hands.fail(store.delivering, PIPE, token)
    batch = hands.take(store.delivering, [PIPE], 1, token)
    hand = Hand(KEY, token, batch)
    batch.pipe = PIPE
    store.delivering.fail(hand, "timeout")
    batch = hands.take(store.delivering, [PIPE], 1, token)
    assert hands.bury(store.burying, PIPE, batch.sequence, token, dead_pipe("m/H"), b"letter", 10).buried

    found = views(store)

    assert found.keys() == {"m/H", "m/Other"}
    view = found["m/H"]
    assert (view.accepted, view.done, view.dead, view.cancelled) == (4, 2, 1, 1)
    assert view.failed == {"raised": 1, "died": 0, "timeout": 1, "undecodable": 0}
    assert view.batches == view.wait.count == view.work.count == 4
    assert 0 < view.busy_s < 60
    assert found["m/Other"].accepted == 1


def test_what_is_appended_beside_a_process_that_died_asleep_is_counted(store: Store) -> None:
    def sleep() -> None:
        store.waiting.deaths()
        store.waiting.lie_down(frozenset({"m/H"}), None)
        print("asleep", flush=True)
        sys.stdin.read()

    assert store.appending.append([(PIPE, [b"first"])])
    handle(store, KEY, 1)
    sleepers = [Forked(sleep, []) for _ in range(2)]
    try:
        assert [sleeper.line() for sleeper in sleepers] == ["asleep\n"] * 2
        sleepers[0].kill()
        assert store.appending.append([(PIPE, [b"x"] * 100)])
        assert store.appending.append([(PIPE, [b"x"])])
        assert views(store)["m/H"].accepted == 102
    finally:
        for sleeper in sleepers:
            sleeper.kill()


def test_calls_that_find_no_room_are_counted_by_what_they_do(store: Store) -> None:
    for how in ("waited", "raised", "waited"):
        store.appending.found_full([(PIPE, [b"1"])], how)
    assert views(store)["m/H"].full == {"waited": 2, "raised": 1}


def test_the_times_that_requests_waited_are_summed(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"1"])])
    handle(store, KEY, 1)
    view = views(store)["m/H"]
    place = next(place for place, count in enumerate(view.wait.buckets) if count)
    assert view.waited_s <= BOUNDS_S[place]
    assert view.waited_s > 0 or place == 0


def test_deaths_of_workers_are_counted_by_how(store: Store) -> None:
    for how in ("killed", "hung", "killed"):
        store.supervision.count_death(how)
    with observing(store.segment.name) as observer:
        deaths = observer.overview().deaths
    assert deaths == {"killed": 2, "signal": 0, "exited": 0, "hung": 1, "unknown": 0}


def test_threads_are_counted_by_state(store: Store) -> None:
    assert store.appending.append([(f"m/H/{thread}/0", [b"1"]) for thread in range(3)])
    assert store.delivering.claim(KEY)
    with observing(store.segment.name) as observer:
        overview = observer.overview()
    assert overview.threads == {"ready": 2, "bound": 1, "resting": 0, "idle": 0}
    assert overview.slots_used == 1


def test_a_worker_that_died_has_failed(store: Store) -> None:
    assert store.appending.append([(PIPE, [b"1"])])

    def takes() -> None:
        hands.take(store.delivering, [PIPE], 1, store.delivering.claim(KEY))

    Child(takes).end()
    assert store.delivering.claim(KEY)
    assert views(store)["m/H"].failed["died"] == 1


def test_rates_rise_by_what_came_and_fall_in_silence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.appending.append([(PIPE, [b"1"] * 1000)])
    rate = views(store)["m/H"].accepted_per_s
    assert rate == pytest.approx(100, rel=0.2)

    later_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + tallies.RATE_SPAN_NS
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: later_ns)
    assert views(store)["m/H"].accepted_per_s == pytest.approx(rate / math.e, rel=0.1)


def test_the_next_process_in_a_slot_counts_on(store: Store) -> None:
    def registers() -> int:
        assert store.appending.append([(PIPE, [b"1"])])
        return store.slot

    assert len({Child(registers).result() for _ in range(3)}) == 1
    assert views(store)["m/H"].accepted == 3


# Memory


def test_what_is_counted_takes_memory_when_it_is_first_counted_and_none_from_messages(new_store: NewStore) -> None:
    store = new_store(8 * MIB)
    assert store.segment.words[at.TALLIES_BYTES] == 0
    used, taken = store.segment.used_bytes, store.segment.taken_bytes
    assert store.appending.append([(PIPE, [b"1"])])
    after = store.segment.words[at.TALLIES_BYTES]
    assert after == at.PAGE
    assert store.segment.taken_bytes - taken == store.segment.used_bytes - used + after


def test_where_there_is_no_memory_nothing_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store._parts.tubes.claims.tallies, "_most_bytes", 0)
    assert store.appending.append([(PIPE, [b"1"])])
    handle(store, KEY, 1)
    assert views(store) == {}
    assert store.inspection.counts()[:2] == (1, 1)


def test_handlers_beyond_the_numbers_are_counted_together(new_store: NewStore) -> None:
    store = new_store(64 * MIB)
    for number in range(at.LARGEST_HANDLER + 10):
        assert store.appending.append([(f"m/H{number}/0/0", [b"1"])])
    found = views(store)
    assert found["other"].accepted == 10
    assert sum(view.accepted for view in found.values()) == at.LARGEST_HANDLER + 10
