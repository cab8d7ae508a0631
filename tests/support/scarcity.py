"""A /dev/shm smaller than the capacity of its segment, or full of others' files: what was accepted has to get through.

    python -m tests.support.scarcity PART

wants a small /dev/shm of its own. It prints one JSON object of figures, and fails where anything stands still.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

from shardq.errors import DirectoryFull
from shardq.shm import words as at
from shardq.shm.files.own_files import remove_files
from shardq.shm.registry import close_store, create_store
from shardq.shm.store import Store
from tests.support import hands
from tests.support.capacity import filled_by_another_program
from tests.support.drivers import MIB

SEGMENT = "scarcity"
DUE_US, NOW_US = 1, 2
#: What a handler's letter has beside its message.
LETTER = b"letter " * 100


def main() -> None:
    store = create_store(SEGMENT, 64 * MIB)
    try:
        figures = PARTS[sys.argv[1]](store)
        assert store.inspection.counts().accepted == store.inspection.counts().handled
        print(json.dumps(figures))
    finally:
        close_store(store)
        remove_files(SEGMENT)


def deferred(store: Store) -> dict[str, int]:
    """Deferred requests, each in a thread of its own, until no more are accepted: all of them come, and are done."""
    accepted = 0
    while _accepted(partial(store.deferring.defer, [(f"app/Later/{accepted}/0", [bytes(500)])], DUE_US)):
        accepted += 1
    assert _worked_off(store) == accepted
    return {"accepted": accepted}


def deferred_behind_the_back(store: Store) -> dict[str, int]:
    """The same, where another program takes what is left before anything is due."""
    for number in range(3000):
        assert store.deferring.defer([(f"app/Later/{number}/0", [bytes(500)])], DUE_US)
    with filled_by_another_program():
        assert _worked_off(store) == 3000
    return {"accepted": 3000}


def recurrent(store: Store) -> dict[str, int]:
    """A recurrent request comes, and comes again, where another program takes everything."""
    assert store.deferring.repeat([("app/Often/0/0", [bytes(1000)])], "every 1", 1)
    with filled_by_another_program():
        for now_us in (1, 2, 3):
            found = store.deferring.promote(now_us).recurrent
            assert found
            assert store.deferring.recur(found, now_us + 1), f"it did not come at {now_us}"
            assert _handled(store, "app/Often/0") == 1
    found = store.deferring.promote(4).recurrent
    assert found
    assert store.deferring.recur(found, None)
    return {"times": 3 + _handled(store, "app/Often/0")}


def buried(store: Store, size: int = 3000) -> dict[str, int]:
    """Every request of a storage that is full becomes a dead letter, also where another program takes everything."""
    accepted = 0
    while _accepted(partial(store.appending.append, [(f"app/Bad/{accepted % 100}/0", [bytes(size)])])):
        accepted += 1
    with filled_by_another_program():
        for thread in range(100):
            _bury_all(store, f"app/Bad/{thread}", size)
    graves = store.burying.graves()
    left = sum(store.burying.drop(grave, range(accepted)) for grave in graves)
    assert left > 0
    return {"accepted": accepted, "letters": left}


def large_buried(store: Store) -> dict[str, int]:
    """As `buried`, with messages whose letters are larger than what is kept for small ones."""
    return buried(store, 3 * MIB)


def large_refused(store: Store) -> dict[str, int]:
    """A message for whose letter /dev/shm has no room is refused, and changes nothing."""
    with filled_by_another_program():
        assert not store.appending.append([("app/Bad/0/0", [bytes(3 * MIB)])])
        assert not store.deferring.defer([("app/Bad/0/0", [bytes(3 * MIB)])], DUE_US)
    assert store.segment.words[at.KEPT_BYTES] == 0
    assert store.appending.append([("app/Bad/0/0", [bytes(3 * MIB)])])
    with filled_by_another_program():
        _bury_all(store, "app/Bad/0", 3 * MIB)
    [grave] = store.burying.graves()
    assert store.burying.drop(grave, range(10)) == 1
    return {"accepted": 1}


def follow_ups(store: Store) -> dict[str, int]:
    """Handlers may register from half of the reserve, in a storage that others keep full."""
    while _accepted(partial(store.appending.append, [("app/Full/0/0", [bytes(30_000)])])):
        continue
    registered = 0
    with filled_by_another_program():
        while store.appending.append([("app/More/0/0", [bytes(30_000)])], share=at.FOLLOW_UP):
            registered += 1
        assert 30_000 * registered > MIB, f"{registered} follow-ups"
        _bury_all(store, "app/More/0", 30_000)
        done = _worked_off(store)
    assert store.burying.drop("app/Bad/dead/0", range(10_000))
    return {"registered": registered, "handled": done}


def _accepted(register: Callable[[], bool]) -> bool:
    try:
        return register()
    except DirectoryFull:
        return False


def _worked_off(store: Store) -> int:
    """Promote what is due and handle what there is, as a worker does, until nothing is left. Returns how many."""
    handled = 0
    while True:
        store.deferring.promote(NOW_US)
        key = store.waiting.find_work(None)
        if key is None:
            assert not store.inspection.counts().deferred, f"{store.inspection.counts().deferred} wait for ever"
            return handled
        handled += _handled(store, key)


def _handled(store: Store, key: str) -> int:
    token, count = store.delivering.claim(key), 0
    while (batch := hands.take(store.delivering, [f"{key}/0"], 64, token)).count:
        hands.pop(store.delivering, batch.pipe, batch.through, token)
        count += batch.count
    assert store.delivering.unclaim(key, token)
    return count


def _bury_all(store: Store, key: str, size: int) -> None:
    """Have every request fail, and bury it."""
    token = store.delivering.claim(key)
    while (batch := hands.take(store.delivering, [f"{key}/0"], 1, token)).count:
        assert hands.fail(store.delivering, batch.pipe, token).attempts == 1
        letter = LETTER + bytes(size)
        assert hands.bury(store.burying, batch.pipe, batch.sequence, token, "app/Bad/dead/0", letter, 10_000)
    assert store.delivering.unclaim(key, token)


PARTS: dict[str, Callable[[Store], dict[str, int]]] = {
    "deferred": deferred,
    "deferred behind the back": deferred_behind_the_back,
    "recurrent": recurrent,
    "buried": buried,
    "large buried": large_buried,
    "large refused": large_refused,
    "follow-ups": follow_ups,
}


if __name__ == "__main__":
    main()
