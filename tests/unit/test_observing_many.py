"""Many threads that are copied at once: what is found is what a look at each of them finds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from shardq.model import Hand, TubeView, dead_pipe
from shardq.shm.observing import many
from shardq.shm.observing.observer import Observer
from shardq.shm.observing.spots import Spots
from shardq.shm.observing.threads import LIVING
from shardq.shm.store import Store
from tests.support import hands
from tests.support.chance import SEED
from tests.support.drivers import MIB
from tests.support.segments import observing, stores

#: Fields of a view that the time of the look does not change.
_STEADY = ("pipe", "queued", "worker_pid", "unserved", "attempts", "paused")


@pytest.fixture
def store() -> Iterator[Store]:
    with stores() as opener:
        yield opener(64 * MIB, 4096)


def fill(store: Store, random: Random) -> None:
    """Threads of all kinds: short and long, with several priorities, in hand, with messages taken out, with letters."""
    for number in range(200):
        key = f"m/Job/{number}"
        for priority in random.sample(range(-2, 20), random.choice((1, 1, 1, 3, 18))):
            for part in range(random.choice((1, 1, 4, 40))):
                messages = [b"%d-%d-%d" % (number, part, each) for each in range(random.choice((1, 2, 30)))]
                assert store.appending.append([(f"{key}/{priority}", messages)])
            if random.random() < 0.2:
                store.removing.remove(f"{key}/{priority}", [b"%d-0-0" % number])
            if random.random() < 0.5:
                _work(store, key, priority, random)


def _work(store: Store, key: str, priority: int, random: Random) -> None:
    token, pipe = store.delivering.claim(key), f"{key}/{priority}"
    if not token:
        return
    batch = hands.take(store.delivering, [pipe], random.choice((1, 7, 1000)), token)
    if batch.count == 1:
        hands.bury(store.burying, pipe, batch.sequence, token, dead_pipe(key.rpartition("/")[0]), batch.payload, 20)
    elif batch.count:
        hands.pop(store.delivering, pipe, batch.through, token)
    if random.random() < 0.5:
        store.delivering.unclaim(key, token)


def put_in_front(store: Store, pipe: str, message: bytes) -> None:
    """Put a dead letter back in front of the tube, with this message."""
    spare, grave = "m/Spare/0", dead_pipe("m/Spare")
    assert store.appending.append([(f"{spare}/0", [b"spare"])])
    token = store.delivering.claim(spare)
    batch = hands.take(store.delivering, [f"{spare}/0"], 1, token)
    hands.bury(store.burying, f"{spare}/0", batch.sequence, token, grave, b"letter", 20)
    store.delivering.unclaim(spare, token)
    assert store.burying.requeue(grave, store.reading.read(grave, 1).sequence, pipe, message, front=True)


def handle(store: Store, key: str, *messages: bytes) -> None:
    """Have a worker handle these, which are the first ones of the thread, one by one."""
    token = store.delivering.claim(key)
    for message in messages:
        batch = hands.take(store.delivering, [f"{key}/0"], 1, token)
        assert batch.messages == [message]
        assert store.delivering.pop(Hand(key, token, batch), 1)
    store.delivering.unclaim(key, token)


def steady(views: list[TubeView]) -> list[tuple[object, ...]]:
    return [tuple(getattr(view, name) for name in _STEADY) for view in views]


def one_by_one(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> list[TubeView]:
    with monkeypatch.context() as patched:
        patched.setattr(many.Many, "found", lambda *_: {})
        return [*observer.tubes(limit=1000)]


def test_it_finds_what_a_look_at_each_finds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, Random(int(os.environ[SEED])))
    with observing(store.segment.name) as observer:
        at_once, each = [*observer.tubes(limit=1000)], one_by_one(observer, monkeypatch)
        assert steady(at_once) == steady(each)
        assert len(at_once) > 100
        for one, other in zip(at_once, each, strict=True):
            assert one.oldest_age_s is not None
            assert other.oldest_age_s is not None
            assert one.oldest_age_s == pytest.approx(other.oldest_age_s, abs=5)
        assert observer.missed == 0


def test_most_need_no_look_of_their_own(store: Store) -> None:
    """Among them threads with several priorities, with long tubes and with a worker."""
    for number in range(50):
        for priority in (0, 1):
            for _ in range(5):
                assert store.appending.append([(f"m/Job/{number}/{priority}", [b"x" * 500])])
    store.delivering.claim("m/Job/7")
    with observing(store.segment.name) as observer:
        threads, _ = observer._threads.marked(LIVING, None, 100)
        found = observer._tubes._many.found(threads)
        assert [*found] == threads
        assert {tuple((priority, length) for priority, _, length, _ in tubes) for *_, tubes in found.values()} == {
            ((0, 5), (1, 5))
        }


def test_what_is_in_front_of_a_tube_is_counted_with_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what is in the tube, where all of that left, in a worker's hand, and where nothing is there any more."""
    lengths = [2] * 8
    for number in range(8):
        assert store.appending.append([(f"m/Job/{number}/0", [b"a", b"b"]), (f"m/Job/{number}/1", [b"c"])])
    put_in_front(store, "m/Job/1/0", b"ahead")
    put_in_front(store, "m/Job/1/0", b"next")
    handle(store, "m/Job/3", b"a", b"b")
    put_in_front(store, "m/Job/3/0", b"alone")
    put_in_front(store, "m/Job/5/0", b"in hand")
    hands.take(store.delivering, ["m/Job/5/0"], 1, store.delivering.claim("m/Job/5"))
    put_in_front(store, "m/Job/6/0", b"gone")
    handle(store, "m/Job/6", b"gone")
    lengths[1], lengths[3], lengths[5] = 4, 1, 3

    with observing(store.segment.name) as observer:
        at_once, each = [*observer.tubes(limit=1000)], one_by_one(observer, monkeypatch)

    queued = [(view.pipe, view.queued) for view in at_once if view.pipe.endswith("/0")]
    assert sorted(queued) == [(f"m/Job/{number}/0", length) for number, length in enumerate(lengths)]
    assert len(at_once) == 2 * len(lengths)
    assert steady(at_once) == steady(each)


@pytest.mark.parametrize("change", ["claimed", "emptied", "given up"])
def test_what_changes_between_the_copies_is_left_out(
    store: Store, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        assert store.appending.append([(f"m/Job/{number}/0", [b"a", b"b"])])
    token = store.delivering.claim("m/Job/4")
    headers = many.Many._headers

    def meanwhile(self: many.Many, every: object) -> dict[int, tuple[int, int, int]]:
        found = headers(self, every)  # type: ignore[arg-type]
        if change == "claimed":
            store.delivering.claim("m/Job/3")
        else:
            batch = hands.take(store.delivering, ["m/Job/4/0"], 10, token)
            hands.pop(store.delivering, "m/Job/4/0", batch.through, token)
        if change == "given up":
            store.delivering.unclaim("m/Job/4", token)
        return found

    with observing(store.segment.name) as observer:
        threads, _ = observer._threads.marked(LIVING, None, 100)
        monkeypatch.setattr(many.Many, "_headers", meanwhile)
        found = observer._tubes._many.found(threads)
        changed = "m/Job/3" if change == "claimed" else "m/Job/4"
        assert sorted(key for _, key, _ in found.values()) == [
            f"m/Job/{number}" for number in range(10) if f"m/Job/{number}" != changed
        ]


def test_spots_far_apart_and_near_one_another_are_copied_alike(store: Store) -> None:
    assert store.appending.append([("m/Job/0/0", [b"abcdefgh" * 4000])])
    segment, random = store.segment, Random(int(os.environ[SEED]))
    end = segment.layout.extents_base + 100_000
    addresses = sorted(random.randrange(end) & ~7 for _ in range(300))
    spots = Spots(segment, addresses, 48)
    assert [data[start : start + 48] for data, start in spots.places] == [
        segment.copied(address, 48) for address in addresses
    ]
    assert len(spots._runs) > 1
    assert spots.moved(48) == []
    assert Spots(segment, [], 48).moved(48) == []
