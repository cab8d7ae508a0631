"""Segments that another program wrote into, under the core in C: random words are overwritten, then it is at work.

    python -m tests.faults.machine.fuzz FIRST_SEED COUNT

prints each seed as it begins, and last a JSON object: how many calls worked or raised what, and how many of them the
core did. It fails where a call raises anything else than an error of shardq, takes a second of the processor, or leaves
the guard held; and it dies where the core kills it.

    python -m tests.faults.machine.fuzz beside COUNT

has another process write into what a section has looked at, while the core appends so many times: places in its
journal, and the owner of a thread. It prints how many appends the core did.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec.structs import replace

from shardq.drivers import SharedStorage
from shardq.model import EMPTY, Hand, Terms
from shardq.shm import words as at
from shardq.shm.files.own_files import remove_files
from shardq.shm.layout import Layout
from shardq.shm.registry import close_store
from tests.faults.kit.damage import called, damage
from tests.faults.kit.points import Child, Gate
from tests.faults.machine.sections import teach
from tests.support.deaths import become_of_the_dead
from tests.support.drivers import MIB
from tests.support.engines import using

NAME = f"fuzz-{os.getpid()}"
KEYS = [f"app/Job/{thread}" for thread in range(4)]
PIPES = [f"{key}/0" for key in KEYS]
TERMS = {"app/Job": Terms((0,), 2)}
#: Of a process that there never was.
DEAD = 70 << 16 | 9
#: Appends to a segment into which another process writes.
CALLS = 5000
#: Tubes of a wide call: of its commit, much is noted before the first is stored.
WIDE = [f"app/Job/{thread}/0" for thread in range(4, 48)]
#: A word that no segment has.
BEYOND = 1 << 50
#: Words of a thread and of a tube that lead somewhere.
_LEAD_ON = (at.THREAD_FIRST_TUBE, at.THREAD_OWNER, at.THREAD_HANDLER, at.THREAD_TAKEN)
_LEAD_INTO = (at.TUBE_NEXT, at.TUBE_TAIL, at.TUBE_HEAD_RECORD, at.TUBE_THREAD, at.TUBE_HEAD_SEQUENCE)
#: Rounds of damage that a segment stands.
ROUNDS = 4


def main() -> None:
    count = int(sys.argv[2])
    seen: Counter[str] = Counter()
    with using("c"):
        if sys.argv[1] == "beside":
            print(beside(count))
            return
        first = int(sys.argv[1])
        for seed in range(first, first + count):
            print(seed, flush=True)
            seen += case(seed)
    print(json.dumps(seen))


def case(seed: int) -> Counter[str]:
    """Damage a segment some times, have the core at it each time, and say what came of it."""
    random, seen = Random(seed), Counter[str]()
    storage = SharedStorage.create(NAME, 4 * MIB, threads=64)
    try:
        tokens = prepare(storage, random)
        done = count_what_the_core_does(storage)
        for _ in range(ROUNDS):
            damage(storage, random)
            mislead(storage, random)
            calls = list(verbs(storage, tokens, random).items())
            random.shuffle(calls)
            seen += Counter(called(storage, name, call) for name, call in calls)
        return seen + Counter({"by the core": done()})
    finally:
        close_store(storage.store)
        remove_files(NAME)


def prepare(storage: SharedStorage, random: Random) -> dict[str, int]:
    """Messages in tubes of four threads, three of them claimed, the last one by a process that died with a batch in
    hand. Returns the tokens. The core knows the threads, or is to meet them.
    """
    store = storage.store
    for pipe in PIPES:
        for size in (10, 3000, 3000, 70_000):
            assert store.appending.append([(pipe, [b"first", bytes(size)])])
    tokens = {key: store.delivering.claim(key) for key in KEYS[:3]}
    store.delivering.take(KEYS[3], store.delivering.claim(KEYS[3]), Terms((0,), random.choice((1, 2))))
    teach(store, threads=random.random() < 0.5)
    become_of_the_dead(store, KEYS[3], DEAD)
    return tokens


def mislead(storage: SharedStorage, random: Random) -> None:
    """Have a word that leads somewhere lead far away, or just beyond what there is."""
    segment, layout = storage.store.segment, storage.store.segment.layout
    words = [
        *(layout.thread_word(entry) + field for entry in range(4) for field in _LEAD_ON),
        *(layout.tube_word(entry) + field for entry in range(4) for field in _LEAD_INTO),
        *(each + extent for each in _of_extents(layout) for extent in range(12)),
    ]
    ends = (layout.tubes, layout.threads, layout.slots, layout.extents, layout.total_bytes)
    far = (1 << 50, (1 << 64) - 1, *(end + beyond for end in ends for beyond in (-8, 0, 1, 8)))
    for _ in range(random.choice((0, 1, 1, 3))):
        segment.words[random.choice(words)] = random.choice(far)


def _of_extents(layout: Layout) -> tuple[int, int, int]:
    return layout.extent_owners_word, layout.extent_backed_word, layout.extent_next_word


def count_what_the_core_does(storage: SharedStorage) -> Callable[[], int]:
    """Counts the calls that the core does, from now on."""
    engine, done = storage.store._parts.core.engine, [0]
    assert engine is not None

    class Counted:
        """The engine, counted."""

        def __getattr__(self, name: str) -> Any:
            method = getattr(engine, name)

            def call(*arguments: Any) -> Any:
                result = method(*arguments)
                done[0] += name in ("append", "turn", "rest") and result is not None
                return result

            return call

    storage.store._parts.core.engine = Counted()  # type: ignore[assignment]
    return lambda: done[0]


def verbs(storage: SharedStorage, tokens: dict[str, int], random: Random) -> dict[str, Callable[[], Any]]:
    """What the core does of the frequent case."""

    def hand(number: int, through: int) -> Hand:
        return Hand(KEYS[number], tokens[KEYS[number]], replace(EMPTY, pipe=PIPES[number], through=through))

    sizes = [random.choice((0, 1, 100, 4000, 65_000)) for _ in range(3)]
    through = random.choice((0, 1, 2, 3, 7, 8, 1 << 40))
    return {
        "append": lambda: storage.append([(random.choice(PIPES), [bytes(sizes[0])])]),
        "append to the last": lambda: storage.append([(PIPES[3], [b"x", bytes(sizes[1])])]),
        "append a call": lambda: storage.append([(pipe, [b"new", bytes(sizes[2])]) for pipe in PIPES]),
        "turn": lambda: storage.turn(hand(0, through), None, TERMS),
        "turn away": lambda: storage.turn(hand(1, through), None, TERMS, stay=False),
        "rest": lambda: storage.rest(hand(2, 0), None, TERMS, 0.001),
        "first turn": lambda: storage.turn(None, None, TERMS),
    }


def beside(count: int) -> int:
    """Append so often while another process writes, to several segments; how often the core did."""
    return sum(beside_one(write) for write in (write_places, write_owners) for _ in range(count // CALLS))


def beside_one(write: Callable[[SharedStorage], None]) -> int:
    """The same, to one segment. None of the values leads to a word of it: so each append can be the frequent case."""
    storage = SharedStorage.create(NAME, 64 * MIB, threads=64)
    try:
        parts = [(pipe, [b"message"]) for pipe in (*PIPES, *WIDE)]
        assert storage.store.appending.append(parts)
        assert storage.store.delivering.claim(KEYS[0])
        teach(storage.store)
        engine, begun = storage.store._parts.core.engine, Gate()
        assert engine is not None
        writer = Child(lambda: [begun.wait(), write(storage)])
        try:
            begun.reached()
            begun.open()
            return sum(isinstance(engine.append(parts, at.GENERAL), tuple) for _ in range(CALLS))
        finally:
            writer.kill()
    finally:
        close_store(storage.store)
        remove_files(NAME)


def write_places(storage: SharedStorage) -> None:
    """For ever, have a commit store beyond the segment."""
    words, noted = storage.store.segment.words, storage.store.segment.layout.stores_word
    while True:
        words[noted] = BEYOND


def write_owners(storage: SharedStorage) -> None:
    """For ever, have a thread belong to a slot beyond all slots, which seems to sleep, and to the one that has it."""
    segment, layout = storage.store.segment, storage.store.segment.layout
    words, slot = segment.words, layout.slots + 5
    owner = layout.thread_word(storage.store._parts.tubes.directory.thread(KEYS[0])) + at.THREAD_OWNER
    right, wrong = words[owner], words[owner] & ~0xFFFF | slot + 1
    segment.bytes[layout.sleep_map + slot] = at.ASLEEP
    while True:
        words[owner] = wrong
        words[owner] = right


if __name__ == "__main__":
    main()
