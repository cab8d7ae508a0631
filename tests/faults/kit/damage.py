"""Segments that another program wrote into: random words of a real one are overwritten, then every verb is called.

    python -m tests.faults.kit.damage FIRST_SEED COUNT

prints one JSON object: how many calls worked, and how many raised what. It fails where a call raises anything else than
an error of shardq, takes a second of the processor, or leaves the guard held; and it dies where one kills it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from types import FrameType
from typing import Any

from msgspec.structs import replace

from shardq.drivers import SharedStorage
from shardq.errors import SegmentForeign, ShardqError, StorageBusy
from shardq.model import EMPTY, Hand, Terms, When
from shardq.shm import words as at
from shardq.shm.files.own_files import remove_files
from shardq.shm.layout import Layout
from shardq.shm.observing.observer import Observer
from shardq.shm.registry import close_store
from shardq.shm.words import PAGE
from tests.support import hands
from tests.support.drivers import MIB
from tests.support.segments import observing

NAME = f"damage-{os.getpid()}"
#: Seconds of the processor that a call may take.
LIMIT_S = 1.0
#: What was done by then is found before anything is due: in the year 2100.
LATER_US = 4_102_444_800_000_000
KEYS = [f"app/Job/{thread}" for thread in range(4)]
PIPES = [f"{key}/0" for key in KEYS]
GRAVE = "app/Job/dead/0"
TERMS = {"app/Job": Terms((0,), 2)}


class TooLong(BaseException):
    """A call takes longer than it may."""


def main() -> None:
    first, count = map(int, sys.argv[1:])
    seen: Counter[str] = Counter()
    for seed in range(first, first + count):
        try:
            seen += case(seed)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
    print(json.dumps(seen))


def case(seed: int) -> Counter[str]:
    """Damage a segment, call everything, and say what came of it."""
    random = Random(seed)
    storage = SharedStorage.create(NAME, 2 * MIB, threads=64)
    try:
        tokens = prepare(storage)
        with observing(NAME) as outside:
            damage(storage, random)
            calls = [*verbs(storage, tokens).items(), *looks(outside).items()]
            random.shuffle(calls)
            return Counter(called(storage, name, call) for name, call in calls)
    finally:
        close_store(storage.store)
        remove_files(NAME)


def prepare(storage: SharedStorage) -> dict[str, int]:
    """Something of everything. Returns the tokens of the threads that are claimed."""
    store = storage.store
    for number, pipe in enumerate(PIPES):
        for size in (10, 3000, 3000, 70_000):
            assert store.appending.append([(pipe, [b"%d" % number, bytes(size)])])
        store.appending.append_absent([(pipe, [b"unique %d" % n for n in range(40)])])
    assert store.removing.remove(PIPES[1], [b"unique 3", b"unique 7"]) == 2
    for number in range(60):
        assert store.deferring.defer([("app/Later/0/0", [b"deferred %d" % number])], 1 if number < 30 else LATER_US)
    assert store.deferring.defer([("app/Later/1/0", [bytes(9000)])], LATER_US)
    assert store.deferring.repeat([("app/Often/0/0", [b"often"])], "every 3600", 1)
    tokens = {key: store.delivering.claim(key) for key in KEYS[:3]}
    for _ in range(3):
        batch = hands.take(store.delivering, [PIPES[0]], 1, tokens[KEYS[0]])
        hands.fail(store.delivering, PIPES[0], tokens[KEYS[0]])
        assert hands.bury(store.burying, PIPES[0], batch.sequence, tokens[KEYS[0]], GRAVE, b"letter " + bytes(500), 10)
    hands.take(store.delivering, [PIPES[1]], 5, tokens[KEYS[1]])
    return tokens


def damage(storage: SharedStorage, random: Random) -> None:
    """Overwrite a few words that mean something."""
    segment = storage.store.segment
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        places = areas(segment.layout)[random.choice(list(areas(segment.layout)))]
        word = random.choice(places)
        here = segment.words[word]
        segment.words[word] = random.choice(
            (
                random.getrandbits(64),
                random.getrandbits(random.randrange(1, 64)),
                0,
                here + 1 & (1 << 64) - 1,
                here ^ 1 << random.randrange(64),
                segment.words[random.choice(places)],
                random.randrange(segment.layout.extents_base, segment.layout.total_bytes) & ~7,
            )
        )


def areas(layout: Layout) -> dict[str, range]:
    """Words of the segment by what they are for, as far as they are in use."""
    small, middle = layout.classes[0], layout.classes[1]
    return {
        "header": range(at.CAPACITY_BYTES, at.STUCK_SINCE_NS + 1),
        "slots": range(layout.slots_word, layout.slot_word(3)),
        "maps": range(layout.sleep_map // 8, layout.index_word),
        "thread map": range(layout.thread_map // 8, layout.thread_map // 8 + 3),
        "extent map": range(layout.extent_map // 8, layout.extent_map // 8 + 6),
        "index": range(layout.index_word, layout.index_word + layout.buckets),
        "owners": range(layout.extent_owners_word, layout.extent_owners_word + 40),
        "backed": range(layout.extent_backed_word, layout.extent_backed_word + 40),
        "next": range(layout.extent_next_word, layout.extent_next_word + 40),
        "journal": range(layout.touched_word, layout.stores_word + 8),
        "threads": range(layout.thread_word(0), layout.thread_word(9)),
        "tubes": range(layout.tube_word(0), layout.tube_word(9)),
        "heap": range(layout.heap(0) // 8, layout.heap(0) // 8 + 64),
        "recurrent heap": range(layout.heap(1) // 8, layout.heap(1) // 8 + 2),
        "equality": range(layout.equality_table(0) // 8, layout.equality_table(0) // 8 + 3 * at.EQUAL_STEP),
        "records": range(small.base // 8, (small.base + 20 * PAGE) // 8),
        "headers of records": range(small.base // 8, small.base // 8 + 8),
        "cells": range(middle.base // 8, (middle.base + 12 * middle.size) // 8, 8),
    }


def verbs(storage: SharedStorage, tokens: dict[str, int]) -> dict[str, Callable[[], Any]]:
    store, pipe, other = storage.store, PIPES[1], PIPES[3]
    token = tokens[KEYS[1]]
    calls: dict[str, Callable[[], Any]] = {
        "append": lambda: [partial(storage.append, [(each, [b"new", bytes(5000)])]) for each in PIPES],
        "append a call": lambda: storage.append([(each, [b"new", bytes(5000)]) for each in PIPES]),
        "defer a call": lambda: storage.append([(each, [b"new"]) for each in PIPES], when=When(LATER_US, "")),
        "append new": lambda: storage.append([("app/New/0/0", [b"new"])]),
        "append absent": lambda: storage.append([(other, [b"unique 5", b"other"])], absent=True),
        "defer": lambda: storage.append([("app/Later/0/0", [b"x"])], when=When(LATER_US, "")),
        "repeat": lambda: storage.append([("app/Often/1/0", [b"x"])], when=When(LATER_US, "every 60")),
        "contains": lambda: storage.contains(other, b"unique 39"),
        "length": lambda: [partial(storage.length, each) for each in PIPES],
        "pipes": storage.pipes,
        "range": lambda: [partial(storage.range, each, 1000) for each in (*PIPES, GRAVE)],
        "take": lambda: hands.take(storage, [pipe], 3, token),
        "take large": lambda: hands.take(storage, [PIPES[2]], 1 << 30, tokens[KEYS[2]], 5.0, 3),
        "fail": lambda: hands.fail(storage, pipe, token),
        "give back": lambda: hands.give_back(storage, pipe, token, 2),
        "turn": lambda: storage.turn(Hand(KEYS[1], token, replace(EMPTY, pipe=pipe, through=3)), None, TERMS),
        "rest": lambda: storage.rest(Hand(KEYS[1], token, replace(EMPTY, pipe=pipe, through=3)), None, TERMS, 0.001),
        "first turn": lambda: storage.turn(None, None, TERMS),
        "pop": lambda: hands.pop(storage, pipe, 4, token),
        "pop all": lambda: hands.pop(storage, PIPES[2], 1 << 40, tokens[KEYS[2]]),
        "bury": lambda: hands.bury(storage, PIPES[0], 3, tokens[KEYS[0]], GRAVE, b"letter"),
        "graves": storage.graves,
        "requeue": lambda: storage.requeue(GRAVE, 1, other, b"again"),
        "drop": lambda: storage.drop(GRAVE, 0, 1, 2),
        "remove": lambda: storage.remove(other, b"unique 8", b"deferred 3"),
        "remove deferred": lambda: storage.remove("app/Later/0/0", b"deferred 3", b"deferred 45"),
        "claim": lambda: storage.claim(KEYS[3]),
        "claim new": lambda: storage.claim("app/New/7"),
        "claimed": lambda: storage.claimed(KEYS[0]),
        "unclaim": lambda: storage.unclaim(KEYS[2], tokens[KEYS[2]], 0.5),
        "wait": lambda: storage.wait(None, 0.001),
        "wait in vain": lambda: storage.wait(frozenset(), 0.001),
        "promote": storage.promote,
        "scheduled": storage.scheduled,
        "unschedule": lambda: storage.unschedule("app/Often/0/0", b"often"),
        "backlog": storage.backlog,
        "quiet": lambda: storage.wait_for_quiet(0.001, deferred=True),
        "room": lambda: storage.append_when_room([(other, [bytes(400_000)])], 0.001),
        "overview": storage.overview,
        "deadlines": lambda: (store.supervision.deadlines(), store.supervision.workers(), store.supervision.renewals()),
        "supervise": store.supervision.become_supervisor,
        "unused": store.supervision.close_if_unused,
        "orphans": store.waiting.note_deaths,
    }
    return calls


def looks(outside: Observer) -> dict[str, Callable[[], Any]]:
    """What an observer sees."""
    pipes = (*PIPES, GRAVE, "app/Often/0/0")
    return {
        "overview from outside": outside.overview,
        "counts from outside": outside.counts,
        "tubes from outside": lambda: (outside.tubes(), outside.tubes(1, 2), outside.pipes(limit=1))[:0],
        "graves from outside": outside.graves,
        "recurrent from outside": outside.scheduled,
        **{f"read {pipe} from outside": partial(outside.read, pipe, 1000) for pipe in pipes},
        **{f"read on in {pipe} from outside": partial(outside.read, pipe, 2, 1) for pipe in pipes},
        **{f"length of {pipe} from outside": partial(outside.length, pipe) for pipe in pipes},
    }


def called(storage: SharedStorage, name: str, call: Callable[[], Any]) -> str:
    """What came of a call."""

    async def awaited() -> None:
        result = call()
        for each in result if isinstance(result, list) else [lambda: result]:
            if isinstance(each, Callable) and isinstance(awaitable := each(), Awaitable):  # type: ignore[arg-type]
                await awaitable

    with limited(name):
        try:
            asyncio.run(awaited())
            outcome = "worked"
        except StorageBusy:
            raise
        except ShardqError as error:
            outcome = type(error).__name__
            if isinstance(error, SegmentForeign) and "destroy it" not in str(error):
                raise AssertionError(f"{error} does not say what to do") from error
    held = storage.store.segment.semaphore.value != 1
    assert not held, f"{name} left the guard held"
    return outcome


@contextmanager
def limited(name: str) -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"{name} takes longer than {LIMIT_S} s")

    former = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, former)


if __name__ == "__main__":
    main()
