"""Producers and consumers for a storm. Some messages always fail; consumers find them, and bury them in the end."""

from __future__ import annotations

import time
from random import Random

from shardq.model import Batch, When, key_of
from shardq.protocols import Storage
from tests.faults.kit.history import History, Letter, Message, is_poison
from tests.faults.kit.scene import everything
from tests.support import hands
from tests.support.lock_file import take_lock_file

PIPES = [f"app/Storm/{thread}/{priority}" for thread in range(4) for priority in (0, 1)]
GRAVE = "app/Storm/dead/0"
LARGEST_BATCH = 24
#: After so many failures a message is buried.
MOST_FAILURES = 3
#: How often a consumer fails for no reason, acknowledges a part first, and lets the thread rest after.
TO_FAIL, TO_ACKNOWLEDGE_A_PART, TO_REST = 0.02, 0.1, 0.05
LONGEST_REST_S = 0.01
#: How often it looks at all there is.
TO_LOOK = 0.1
#: How often a producer defers, for up to so long, and then also large bundles; and how often it appends what others
#: append too, of so many different messages.
TO_DEFER, LONGEST_WAIT_US, LARGE_BATCH = 0.3, 30_000, 120
TO_SHARE, SHARED, MOST_SHARED = 0.2, "shared", 40


async def produce(storage: Storage, history: History, who: str, random: Random) -> None:
    """Append batches to tubes for ever: at once, later, and what all producers have in common."""
    number = 0
    while True:
        pipe, chance, when = random.choice(PIPES), random.random(), None
        if chance < TO_DEFER:
            when = When(time.time_ns() // 1000 + random.choice([0, 5_000, random.randint(0, LONGEST_WAIT_US)]))
        if chance > 1 - TO_SHARE:
            await _share(storage, history, pipe, when, random)
            continue
        size = (
            random.choice([random.randint(1, LARGEST_BATCH), LARGE_BATCH]) if when else random.randint(1, LARGEST_BATCH)
        )
        batch = [Message(deferred_by(who, when.due_us) if when else who, number, n, size) for n in range(size)]
        absent = random.random() < 0.5
        messages = [message.encoded() for message in batch]
        assert await storage.append_when_room([(pipe, messages)], when=when, absent=absent) == size
        history.note_accepted(pipe, batch[0])
        number += 1


async def _share(storage: Storage, history: History, pipe: str, when: When | None, random: Random) -> None:
    """Append messages that other producers append as well, where they are not there."""
    some = [Message(SHARED, random.randrange(MOST_SHARED), 0, 1) for _ in range(3)]
    if await storage.append_when_room([(pipe, [message.encoded() for message in some])], when=when, absent=True):
        history.note_accepted(pipe, some[0])


def deferred_by(who: str, due_us: int) -> str:
    """The producer that deferred messages are said to be from: those of one time are in order."""
    return f"{who}@{due_us}"


async def consume(storage: Storage, history: History, who: str, random: Random) -> None:
    """Bind threads and handle what they have, for ever."""
    while True:
        key = await storage.wait(everything)
        token = await storage.claim(key) if key else 0
        if key and token:
            await _Consumer(storage, history, who, random, token).serve(key)


class _Consumer:
    """A worker that is bound to a thread."""

    def __init__(self, storage: Storage, history: History, who: str, random: Random, token: int) -> None:
        self._storage = storage
        self._history = history
        self._who = who
        self._random = random
        self._token = token

    async def serve(self, key: str) -> None:
        """A batch of each of the thread's tubes."""
        lock = take_lock_file(self._history.folder, key)
        for pipe in (pipe for pipe in PIPES if key_of(pipe) == key):
            if self._chance(TO_LOOK):
                await self._look(pipe)
            batch = await hands.take(self._storage, [pipe], self._random.randint(1, 4 * LARGEST_BATCH), self._token)
            if batch.count:
                self._history.note_delivered(self._who, batch)
                await self._handle(batch)
        lock.unlink()
        rest_s = self._random.uniform(0, LONGEST_REST_S) if self._chance(TO_REST) else 0.0
        assert await self._storage.unclaim(key, self._token, rest_s)

    async def _look(self, pipe: str) -> None:
        """At one instant no message is in a tube twice."""
        held = (await self._storage.range(pipe, 1 << 30)).messages
        twice = [message for message in set(held) if held.count(message) > 1] if len(held) > len(set(held)) else []
        assert not twice, f"{pipe}: {twice[:9]}"

    async def _handle(self, batch: Batch) -> None:
        if batch.failed and batch.failed.attempts >= MOST_FAILURES:
            await self._bury(batch)
            return
        done = 0
        if self._chance(TO_ACKNOWLEDGE_A_PART):
            done = next((n for n, message in enumerate(batch.messages) if is_poison(message)), batch.count // 2)
            await self._acknowledge(batch, 0, done)
        if self._chance(TO_FAIL) or any(map(is_poison, batch.messages[done:])):
            await self._fail(batch, done)
            return
        await self._acknowledge(batch, done, batch.count)

    async def _acknowledge(self, batch: Batch, done: int, count: int) -> None:
        """The first `count` messages, of which so many were acknowledged before."""
        self._history.note_intent(self._who, batch.pipe, "done", batch.numbers[done:count])
        await hands.pop(self._storage, batch.pipe, batch.through_first(count), self._token)

    async def _fail(self, batch: Batch, done: int) -> None:
        self._history.note_intent(self._who, batch.pipe, "failed", batch.numbers[done:])
        if (await hands.fail(self._storage, batch.pipe, self._token)).attempts >= MOST_FAILURES:
            await self._bury(batch)

    async def _bury(self, batch: Batch) -> None:
        last = batch.through - 1
        self._history.note_intent(self._who, batch.pipe, "buried", [last])
        letter = Letter(batch.pipe, last).encoded()
        await hands.bury(self._storage, batch.pipe, last, self._token, GRAVE, letter)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability
