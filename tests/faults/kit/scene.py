"""A segment for one case of dying: what the survivor sees of it before and after, and everything it then tries."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from shardq.drivers.shared.storage import SharedLock, SharedStorage
from shardq.errors import StorageMoved
from shardq.model import EMPTY, KEPT_PIPE, Batch, Hand, key_of
from shardq.protocols import Served
from shardq.shm import words as at
from shardq.shm.checking.pending import living_messages, pending_of
from shardq.shm.files.lock_bytes import FIRST_SLOT_BYTE
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.processes.guard import SHORTEST_NAP_S
from shardq.shm.processes.namespaces import start_ticks
from shardq.shm.processes.slots import SUPERVISOR_BYTE
from shardq.shm.store import Store
from tests.faults.kit.fsck import fsck, uncounted_bytes
from tests.support import hands
from tests.support.leaks import segment_name
from tests.support.listing import listed

Contents = dict[str, list[bytes]]
T = TypeVar("T")

PIPE, KEY, GRAVE = "app/Job/1/0", "app/Job/1", "app/Job/dead/0"
MIB = 1 << 20
#: Seconds of napping after which the guard counts as lost. The code under test needs milliseconds.
WEDGED_S = 5.0
#: Later than every due time.
LATEST_US = 1 << 62
#: Of what left it is checked that nothing has stayed behind up to this size.
LARGEST_AGAIN_BYTES = 64 << 10


class Wedged(AssertionError):
    """Something that must be obtainable was not."""


class Scene:
    """A segment and the test's own attachment to it. A forked child attaches by itself at its first verb."""

    def __init__(self, capacity_bytes: int = MIB, threads: int | None = 16) -> None:
        self.name = segment_name()
        self.storage = SharedStorage.create(self.name, capacity_bytes, threads=threads)
        self.lock = SharedLock(self.storage)
        self.token = 0
        """The acting process's token for `KEY`, once it has one."""
        self.batch = EMPTY
        """What the acting process has in hand."""
        self.naps = Naps(self.store)

    @property
    def store(self) -> Store:
        return self.storage.store

    def append(self, *messages: bytes, pipe: str = PIPE) -> bool:
        return bool(run(self.storage.append([(pipe, messages)])))

    def claim(self) -> None:
        self.token = run(self.lock.acquire(KEY))
        assert self.token

    def take(self, limit: int, pipe: str = PIPE) -> int:
        """Read and acknowledge under the token; how many messages there were."""
        batch = run(hands.take(self.storage, [pipe], limit, self.token))
        run(self.storage.pop(Hand(key_of(pipe), self.token, batch), batch.count))
        return batch.count

    def hold(self, limit: int, pipe: str = PIPE) -> None:
        """Bind the thread and take a batch in hand."""
        self.claim()
        self.batch = run(hands.take(self.storage, [pipe], limit, self.token))
        assert self.batch.count

    def bury(self, letter: bytes) -> bool:
        """Put a letter in the place of the first message in hand."""
        return run(hands.bury(self.storage, self.batch.pipe, self.batch.sequence, self.token, GRAVE, letter))

    def release(self) -> None:
        assert run(self.lock.release(KEY))

    def contents(self) -> Contents:
        """What is in tubes and in graves, what is kept, and what waits for its time: see `waiting`."""
        pipes = [*listed(self.store.reading.pipes), *listed(self.store.burying.graves)]
        pipes += [KEPT_PIPE] if self.store.reading.length(KEPT_PIPE) else []
        return {pipe: self.store.reading.read(pipe, 1 << 30).messages for pipe in pipes} | waiting(self.store)

    def hand_on(self) -> None:
        """Give up the locks of this process, so that a forked child can go on in its place. No process may be at work
        in the segment meanwhile.
        """
        slots = self.store._slots
        for byte in (FIRST_SLOT_BYTE + slots.mine, SUPERVISOR_BYTE):
            slots.unlock(byte)

    def take_over(self) -> None:
        """In a forked child: be the process that made the scene. Its slot and all that it has is this one's."""
        slots, words = self.store._slots, self.store.segment.words
        word, pid = slots.word(slots.mine), os.getpid()
        assert slots.try_lock(FIRST_SLOT_BYTE + slots.mine)
        if words[at.SUPERVISOR_PID] == words[word + at.SLOT_PID]:
            assert slots.try_lock(SUPERVISOR_BYTE)
            words[at.SUPERVISOR_PID] = pid
        words[word + at.SLOT_START_TICKS] = start_ticks(pid) or 0
        words[word + at.SLOT_PID] = pid
        self.store._stale = False

    def end(self) -> None:
        self.storage.destroy()


@contextmanager
def scene(capacity_bytes: int = MIB, threads: int | None = 16) -> Iterator[Scene]:
    made = Scene(capacity_bytes, threads)
    try:
        yield made
    finally:
        made.end()


def run(verb: Coroutine[Any, Any, T]) -> T:
    """The result of a verb that does not suspend, without a loop."""
    try:
        verb.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    verb.close()
    raise AssertionError(f"{verb} suspended")


def run_waiting(verb: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of a verb that may suspend."""
    return asyncio.run(verb())


#: What a worker serves that has no handler, and one that has all.
no_handlers: Served = frozenset()
everything: Served = None


def is_grave(pipe: str) -> bool:
    return pipe == GRAVE


def waiting(store: Store) -> Contents:
    """What waits for its time, in its order: `PIPE at DUE`, and `PIPE at DUE, SCHEDULE`."""
    found: Contents = {}
    with store._section:
        for each in pending_of(store.segment):
            if messages := living_messages(store.segment, each):
                name = f"{each.pipe} at {each.scheduled_us}" + (f", {each.schedule}" if each.schedule else "")
                found[name] = [*found.get(name, []), *messages]
    return found


class Naps:
    """Counts what a store of this process naps for the guard, and raises `Wedged` when that gets too much."""

    def __init__(self, store: Store) -> None:
        store.inspection.counts()  # a forked child's store attaches here, and has a new guard afterwards
        self.left_s = WEDGED_S
        self._sleep = store._guard._nap
        store._guard._nap = self._nap

    def _nap(self, duration_s: float) -> None:
        self.left_s -= max(duration_s, SHORTEST_NAP_S)
        if self.left_s < 0:
            raise Wedged("no way into the guard for too long")
        self._sleep(duration_s)


def settle(store: Store) -> None:
    """Enter once, which mends, and free what the dead were bound to, as any worker does before it sleeps."""
    store.inspection.counts()
    with suppress(StorageMoved):
        store.waiting.lie_down(no_handlers, None)
        store.waiting.rise(None)


def check_whole(store: Store) -> None:
    settle(store)
    complaints = fsck(store.segment)
    assert not complaints, "\n".join(complaints)


def check_usable(there: Scene, keys: Sequence[str] = ()) -> None:
    """The survivor binds every thread, adds to every tube, empties all, and has the room it had."""
    store = there.store
    for grave in [*listed(store.burying.graves), KEPT_PIPE]:
        _check_forgets(store, grave)
    _check_unschedules(there)
    contents, left = there.contents(), waiting(store)
    for pipe in contents.keys() - left.keys():
        check_goes_on(store, pipe, contents[pipe])
    _check_promotes(there, left)
    for pipe, messages in contents.items():
        _check_forgets_equal_ones(store, pipe.partition(" ")[0], messages)
    for key in keys:
        _check_binds(store, key)
    _check_emptied(store)
    check_whole(store)
    Extents(store.segment).trim()
    lost = uncounted_bytes(store.segment)
    assert not lost, f"{lost} bytes of memory are lost"
    assert store.appending.append([(PIPE, [b"once more"])]), "an empty segment refuses a message"
    _check_fails_and_buries(there)
    check_goes_on(store, PIPE, [])


def check_goes_on(store: Store, pipe: str, messages: Sequence[bytes]) -> None:
    """The tube can be claimed, takes another message behind the others, gives all in order, and lets them go."""
    token = store.delivering.claim(key_of(pipe))
    assert token, f"{pipe} cannot be claimed"
    added = [b"next"] if store.appending.append([(pipe, [b"next"])]) else []
    given, batch = _take_all(store, pipe, token)
    assert given == [*messages, *added], f"{pipe}: {_shortened(given)}"
    assert not store.reading.length(pipe)
    assert store.appending.append([(pipe, [b"after"])])
    again = hands.take(store.delivering, [pipe], 10, token)
    assert (again.messages, again.sequence) == ([b"after"], batch.through), "numbers of a tube grow by one"
    hands.pop(store.delivering, pipe, again.through, token)
    assert store.delivering.unclaim(key_of(pipe), token)


def _check_unschedules(there: Scene) -> None:
    """Each recurrent message can be ended, once."""
    for pipe, message, _, _ in listed(there.store.deferring.scheduled):
        assert run(there.storage.unschedule(pipe, message)) == 1
        assert run(there.storage.unschedule(pipe, message)) == 0
    assert not there.store.deferring.scheduled()


def _check_promotes(there: Scene, left: Contents) -> None:
    """All that waits comes into its tube in the order of the due times, as soon as there is room, and nothing else."""
    store, wanted = there.store, dict[str, list[bytes]]()
    for name, messages in left.items():
        wanted.setdefault(name.partition(" ")[0], []).extend(messages)
    given: Contents = {pipe: [] for pipe in wanted}
    while True:
        before = store.segment.words[at.DEFERRED]
        _promote_all(store)
        assert store.segment.words[at.DEFERRED] < before or not before, "nothing of what waits can come"
        for pipe, messages in there.contents().items():
            if " " not in pipe:
                given[pipe] += messages
                check_goes_on(store, pipe, messages)
        if not store.segment.words[at.DEFERRED]:
            break
    assert given == wanted, f"what waited came as {given.keys()}: {_all_shortened(given)}"
    _promote_all(store)
    assert not any(store.segment.words[word] for word in (at.HEAP_COUNT, at.RECURRENT_HEAP_COUNT)), (
        "heaps are not empty"
    )


def _promote_all(store: Store) -> None:
    while True:
        before = store.inspection.counts().deferred
        promoted = store.deferring.promote(LATEST_US)
        if not promoted.recurrent:
            if store.inspection.counts().deferred in (0, before):
                return
            continue
        found = promoted.recurrent
        living = ~record.cancelled_bits(store.segment, found.messages) & (1 << found.messages.count) - 1
        assert not living, f"{found.pipe} by {found.schedule}, which was ended"
        assert store.deferring.recur(found, None)


def _check_forgets_equal_ones(store: Store, pipe: str, messages: Sequence[bytes]) -> None:
    """What was there is not there any more for `if_not_exists`: it can be added again, once."""
    if is_grave(pipe) or sum(map(len, messages)) > LARGEST_AGAIN_BYTES:
        return
    distinct = len(set(messages))
    assert store.appending.append_absent([(pipe, messages)]) == distinct, f"{pipe}: ghosts"
    assert store.appending.append_absent([(pipe, messages)], due_us=LATEST_US) == 0, f"{pipe}: twice"
    check_goes_on(store, pipe, list(dict.fromkeys(messages)))


def _check_forgets(store: Store, grave: str) -> None:
    """The letters of a grave can be forgotten, in any order."""
    batch = store.reading.read(grave, 1 << 30)
    numbers = list(batch.sequences or range(batch.sequence, batch.through))
    assert store.burying.drop(grave, numbers[::-1]) == len(numbers)
    assert store.burying.drop(grave, numbers) == 0
    assert not store.reading.length(grave)


def _check_fails_and_buries(there: Scene) -> None:
    """The only message fails, becomes a letter, is put back, and leaves."""
    store = there.store
    there.hold(1)
    assert run(hands.fail(there.storage, PIPE, there.token)).attempts == 1
    assert there.bury(b"letter")
    [grave], number = store.burying.graves(), store.reading.read(GRAVE, 1).sequence
    assert store.burying.requeue(grave, number, PIPE, b"again") is True
    assert store.burying.requeue(grave, number, PIPE, b"again") is None
    assert there.contents() == {PIPE: [b"again"]}
    assert there.take(1) == 1
    there.release()


def _take_all(store: Store, pipe: str, token: int) -> tuple[list[bytes], Batch]:
    """All messages of the tube, in the batches in which they are given; and the last of these."""
    given: list[bytes] = []
    last = EMPTY
    while (batch := hands.take(store.delivering, [pipe], 1 << 30, token)).count:
        given, last = given + batch.messages, batch
        store.delivering.pop(Hand(key_of(pipe), token, batch), batch.count)
    return given, last


def _shortened(messages: list[bytes]) -> list[bytes]:
    return [message[:20] for message in messages[:20]]


def _check_binds(store: Store, key: str) -> None:
    token = store.delivering.claim(key)
    assert token, f"{key} cannot be claimed"
    assert store.delivering.unclaim(key, token)


def _all_shortened(contents: Contents) -> dict[str, list[bytes]]:
    return {pipe: _shortened(messages) for pipe, messages in contents.items()}


def _check_emptied(store: Store) -> None:
    counts = store.inspection.counts()
    assert not counts.deferred, f"nothing waits, but the counts say {counts}"
    assert not counts.recurrent, f"nothing comes again, but the counts say {counts}"
    assert counts.accepted == counts.handled, f"all is handled, but the counts say {counts}"
    assert not counts.dead, f"all letters are gone, but the counts say {counts}"
    assert store.waiting.quiet()
    assert not store.reading.pipes()
