"""Waiting and waking with the real driver and the real store, in any order of what they do.

A section of the store is one step, as the guard sees to it; the bells that are rung after it are steps of their own.
There is no safety net: a sleeper that is not rung sleeps on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from typing import Any

from shardq.drivers.shared import resting, sleeping, waiters
from shardq.drivers.shared.storage import SharedStorage
from shardq.drivers.shared.waiters import Look
from shardq.model import key_of
from shardq.protocols import Served
from shardq.shm import words as at
from shardq.shm.files.lock_bytes import PATIENCE_S
from shardq.shm.files.own_files import remove_files
from shardq.shm.layout import Layout
from shardq.shm.processes.shares import Share
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.store import Store
from tests.faults.explorer.worlds import Plan, Process, World
from tests.faults.kit.scene import MIB, run
from tests.support import hands
from tests.support.leaks import segment_name
from tests.support.listing import listed

#: The handlers that a worker looks for, the first time, the second, and so on.
Looks = Sequence[Served]


class Bells:
    """Which slots were rung, and how many messages are still to be handled."""

    def __init__(self, expected: int) -> None:
        self.rung: set[int] = set()
        self.left = expected


class _Slots(Slots):
    """Slot n for process n, alive as the world has it."""

    def __init__(self, segment: Segment, process: Process) -> None:
        super().__init__(segment)
        self._process = process

    def enter(self, share: Share = Share.GENERAL, patience_s: float = PATIENCE_S) -> None:
        self._settle(self._process.number)

    def occupied(self, slot: int) -> bool:
        processes = self._process.world.processes
        return slot < len(processes) and processes[slot].alive


class _Turn:
    """In place of the guard: the process that runs is alone. It numbers its attempts, as the guard does."""

    mine, waits = False, 0

    def __init__(self, segment: Segment, process: Process) -> None:
        self._words = segment.words
        self._attempt = segment.layout.slot_word(process.number) + at.SLOT_ATTEMPT
        self._process = process

    def acquire(self) -> None:
        self._process.step("enters")
        self._words[self._attempt] += 1 << 16

    def release(self) -> None:
        self._process.step("has left")


class _Doorbell:
    def __init__(self, bells: Bells, process: Process) -> None:
        self._bells = bells
        self._process = process

    def ring(self, slot: int) -> bool:
        self._process.step(f"rings {slot}")
        self._bells.rung.add(slot)
        return True


class _Ears:
    """In place of the ears of a process, and of the future that they tell."""

    def __init__(self, bells: Bells, process: Process) -> None:
        self._bells = bells
        self._process = process
        self._times_woken = 0
        self._rings_stay = self._is_told = False
        self._look: Look | None = None

    def ready(self) -> int:
        self._process.step("listens")
        self._take_in_rings()
        return self._times_woken

    @contextmanager
    def listening(self, *, deaths: bool = False, since: int | None = None) -> Iterator[_Ears]:
        yield self.listen(deaths=deaths, since=since)

    def listen(self, *, deaths: bool = False, since: int | None = None, look: Look | None = None) -> _Ears:
        if since is None:  # else it listens since it was ready
            self._process.step("listens")
            self._take_in_rings()
        self._look, self._is_told = look, since not in (None, self._times_woken)
        return self

    def end(self, heard: _Ears) -> None:
        assert heard is self

    def __await__(self) -> Generator[None, None, Any]:
        return self._told()
        yield

    def _told(self) -> Any:
        """What a look finds that is to be called when the bell rings, if any."""
        if self._is_told:
            return None
        while self._process.number not in self._bells.rung:
            if not self._bells.left:
                raise _AllDone
            self._process.nap()
        if self._rings_stay:
            self._take_in_rings()
        else:
            self._rings_stay = True
        self._times_woken += 1
        return self._look and self._look()

    def _take_in_rings(self) -> None:
        if self._rings_stay:
            self._rings_stay = False
            self._bells.rung.discard(self._process.number)


class _Deadline:
    """A wait without an end."""

    over = False

    def __init__(self, timeout_s: float | None) -> None:
        assert timeout_s is None

    async def wait(self, heard: Any, at_most_s: float) -> Any:
        return await heard

    def timer(self, heard: Any, at_most_s: float) -> _Deadline:
        return self

    def cancel(self) -> None: ...


class _AllDone(Exception):
    """Nothing is left to wait for."""


@contextmanager
def without_net() -> Iterator[None]:
    """The driver's waits end with the bell alone."""
    real = waiters.Deadline
    for module in (sleeping, resting):
        module.Deadline = _Deadline  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module in (sleeping, resting):
            module.Deadline = real  # type: ignore[attr-defined]


def workshop(
    segment: Segment, workers: list[Looks], batches: list[list[str]], plan: Plan, *, rests: bool = False
) -> World:
    """Workers that look for what they serve, by `wait` or by `rest`, and producers that each append to these pipes in
    turn. Raises `Violation` where work is left and all sleep.
    """
    world, bells = World(plan), Bells(sum(map(len, batches)))
    for looks in workers:
        world.add(lambda process, looks=looks: _work(_storage(segment, bells, process), looks, bells, process, rests))
    for pipes in batches:
        world.add(lambda process, pipes=pipes: _produce(_storage(segment, bells, process), pipes))
    world.run()
    assert not bells.left
    return world


@contextmanager
def bare_segment() -> Iterator[Segment]:
    """A segment that no process is attached to."""
    segment = Segment.create(segment_name(), Layout.sized(MIB, 16, 8))
    try:
        yield segment
    finally:
        segment.close()
        remove_files(segment.name)


def bare_store(segment: Segment, bells: Bells, process: Process) -> Store:
    """A process's store, of which each section is one step."""
    store = Store(segment)
    store._slots = _Slots(segment, process)
    store.enter()
    store._guard = _Turn(segment, process)  # type: ignore[assignment]
    store._parts.doorbell = _Doorbell(bells, process)  # type: ignore[assignment]
    return store


def _storage(segment: Segment, bells: Bells, process: Process) -> SharedStorage:
    store = bare_store(segment, bells, process)
    # Each has bound a thread before: a first claim rings all that sleep, which would hide what is to be found.
    store.segment.words[store.segment.layout.slot_word(store.slot) + at.SLOT_SERVES] = 1
    storage = SharedStorage(store)
    storage.ears = _Ears(bells, process)  # type: ignore[assignment]
    return storage


def _work(storage: SharedStorage, looks: Looks, bells: Bells, process: Process, rests: bool) -> None:
    served = chain(looks, repeat(looks[-1]))
    try:
        while bells.left:
            if rests:
                hand = run(storage.rest(None, next(served), {}))
                assert hand
                _handle(storage, hand.key, hand.token, bells, process)
                continue
            key = run(storage.wait(next(served)))
            assert key
            token = run(storage.claim(key))
            if token:
                _handle(storage, key, token, bells, process)
    except _AllDone:
        return


def _handle(storage: SharedStorage, key: str, token: int, bells: Bells, process: Process) -> None:
    for pipe in listed(lambda after: run(storage.pipes(after))):
        if key_of(pipe) == key:
            batch = run(hands.take(storage, [pipe], 1, token))
            run(hands.pop(storage, pipe, batch.through, token))
            bells.left -= batch.count
            process.world.progress()
    assert run(storage.unclaim(key, token))


def _produce(storage: SharedStorage, pipes: list[str]) -> None:
    for pipe in pipes:
        assert run(storage.append([(pipe, [b"work"])]))
