"""Mutual exclusion between processes that survives the death of its holder at any instruction.

A semaphore of value 1 is the token. Around it stand two kinds of words that say where the token is:

* each process announces an attempt in its slot (`SLOT_ATTEMPT`) before it touches the semaphore, and withdraws after;
* the holder writes itself into `GUARD_OWNER` after it has the token, and clears it before it gives the token back.

No process ever blocks in the semaphore: a killed waiter or poster would strand others. A process that has waited for
longer than the patience looks whether the holder died. A process that must not wait for ever gives up when its limit is
over. The token is taken over from an owner that is dead. Where no owner stands and the token is gone, it is taken over
once two equal looks at all attempts show that no live process tries or holds. The attempts' sequence numbers only grow,
so two equal looks are one snapshot. A stopped process is alive, so the token is never taken from it.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import posix_ipc

from shardq.errors import SegmentBusy, StorageBusy, StorageClosed
from shardq.shm import words as at
from shardq.shm.processes.holding import named, stuck
from shardq.shm.processes.slots import RESCUE_BYTE, Slots
from shardq.shm.segment import Segment

#: How long to wait for the token before looking for a corpse, in seconds. Sections take microseconds.
PATIENCE_S = 0.005
#: For how long a waiting process only yields the processor between two tries: as long as two large sections take. A
#: nap lasts longer than the section that it waits for, and the guard stands idle meanwhile. With 25 us of yielding
#: 355,000 requests a second pass in calls of 128 over 16 threads, with 200 us 540,000, at the same processor time.
YIELDING_S = 200e-6
#: How long it then sleeps between two tries, at first and at most; and at most once the holder surely does not run.
SHORTEST_NAP_S, LONGEST_NAP_S, STUCK_NAP_S = 50e-6, 500e-6, 10e-3
#: After how many seconds a waiting process writes down which process it waits for, for observers.
NOTED_S = 0.05
#: For how many seconds a thread may stay inside, or at the door, while another one closes the guard.
LEAVING_S = 3.0
#: What the low 16 bits of an attempt say: this guard. There is one guard; the layout has room for more.
TRYING = 1


class Guard:
    """The segment's lock. `acquire` and `release` in pairs, from any thread of the process."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        nap: Callable[[float], None] = time.sleep,
        limit_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._name = segment.name
        self._words = segment.words
        self._semaphore = segment.semaphore
        self._slots = slots
        self._slot_count = segment.layout.slots
        self._attempt = slots.word(slots.mine) + at.SLOT_ATTEMPT
        self._sequence = self._words[self._attempt] >> 16
        self._patience_s = patience_s
        self._clock = clock
        self._nap = nap
        self._limit_s = limit_s
        # Reentrant: a signal handler may raise while this lock is held, and its thread must be able to enter again.
        self.threads = threading.RLock()
        """The lock of this process's threads: one of them is inside, or tries, here or in `shardq._core`."""
        self._holder = 0
        self._closed = False
        self.waits = 0
        """How often this process found the token taken."""

    def acquire(self) -> None:
        """Enter. The caller must then look for a standing intent and mend it: the last holder may have died. Raises
        `SegmentBusy` where others do not leave the guard within the caller's limit, and `StorageClosed`.
        """
        if not self.threads.acquire(False):
            self._wait_for_thread()
        if self._closed:
            self.threads.release()
            raise closed(self._name)
        try:
            self._holder = threading.get_ident()
            if not self._try():
                self.waits += 1
                self._wait()
        except BaseException:
            self._holder = 0
            self._abandon()
            # An exception may have cut a rescue short: no other process could be the rescuer while this one lives.
            self._slots.unlock(RESCUE_BYTE)
            self.threads.release()
            raise

    def release(self) -> None:
        """Leave."""
        try:
            self._words[at.GUARD_OWNER] = 0
            self._semaphore.release()
        finally:
            self._abandon()
            # Behind it: where a second exception comes, `forget` finds what is left.
            self._holder = 0
            self.threads.release()

    def forget(self) -> None:
        """Let this process's threads go in again, where an exception cut the calling thread short as it left. The token
        stays gone: whichever of them enters next takes it over.
        """
        self._holder = 0
        self.threads.release()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Within, no other thread of this process is inside, nor at the door; afterwards none enters any more."""
        self._closed = True
        # Not without an end: an exception may have cut a thread short that never enters again.
        alone = self.threads.acquire(timeout=LEAVING_S)
        try:
            yield
        finally:
            if alone:
                self.threads.release()

    @property
    def mine(self) -> bool:
        """Whether the calling thread is inside, is about to enter, or was cut short by an exception as it left."""
        return self._holder == threading.get_ident()

    def check_not_inside(self) -> None:
        """Raise `StorageBusy` where the calling thread was interrupted inside the guard. Only the stack tells this from
        the other cases in which `mine` is true: below the verb that is about to enter stands another one.
        """
        frame: FrameType | None = sys._getframe()
        while frame and _is_of_this_package(frame):
            frame = frame.f_back
        while frame:
            if _is_of_this_package(frame):
                raise StorageBusy(
                    "this thread is inside the storage already: a signal handler, a finalizer or a callback that "
                    "interrupted it there calls the storage too; let that only take a note, and act on it later"
                )
            frame = frame.f_back

    def _try(self) -> bool:
        self._sequence += 1
        self._words[self._attempt] = self._sequence << 16 | TRYING
        try:
            self._semaphore.acquire(0)
        except posix_ipc.BusyError:
            self._words[self._attempt] = self._sequence << 16
            return False
        self._words[at.GUARD_OWNER] = self._slots.identity
        return True

    def _wait(self) -> None:
        nap_s, began = SHORTEST_NAP_S, self._clock()
        since, limit_s = began, self._limit_s()
        while True:
            # An attempt is announced only when the token is there to be had: otherwise the waiters' attempts would
            # never leave a rescuer two equal looks.
            if self._semaphore.value and self._try():
                return
            if self._clock() - began < YIELDING_S:
                os.sched_yield()
                continue
            self._nap(nap_s)
            waited_s = self._clock() - began
            nap_s = min(2 * nap_s, LONGEST_NAP_S if waited_s < NOTED_S else STUCK_NAP_S)
            if self._closed:
                raise closed(self._name)
            over = limit_s is not None and waited_s >= limit_s
            if not over and self._clock() - since < self._patience_s:
                continue
            if self._rescue():
                return
            if over or waited_s >= NOTED_S:
                self._note_stuck(waited_s)
            if over:
                raise self._busy()
            since = self._clock()

    def _wait_for_thread(self) -> None:
        """Wait until the other threads of this process have left the guard. They may be waiting for it themselves."""
        limit_s = self._limit_s()
        if not self.threads.acquire(timeout=-1 if limit_s is None else limit_s):
            raise self._busy()

    def _busy(self) -> SegmentBusy:
        slot = max(0, self._owner_slot())
        pid, elsewhere = self._words[self._slots.word(slot) + at.SLOT_PID], not self._slots.in_my_namespace(slot)
        how = "kill -CONT, in its container" if elsewhere else f"kill -CONT {pid}"
        return SegmentBusy(
            f"segment {self._name!r} cannot be used now: {named(pid, elsewhere=elsewhere)} has its guard, and is "
            f"stopped perhaps: let it go on ({how}) or end it; `python -m shardq status` shows it"
        )

    def _owner_slot(self) -> int:
        return (self._words[at.GUARD_OWNER] & 0xFFFF) - 1

    def _note_stuck(self, waited_s: float) -> None:
        slot = self._owner_slot()
        if not 0 <= slot < self._slot_count:
            return
        holder = stuck(slot, self._words[self._slots.word(slot) + at.SLOT_ATTEMPT])
        if self._words[at.STUCK_ATTEMPT] != holder:
            self._words[at.STUCK_SINCE_NS] = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(waited_s * 1e9)
            self._words[at.STUCK_ATTEMPT] = holder

    def _abandon(self) -> None:
        """Withdraw the attempt, with the thread lock held. A token that an exception left in hand is not given back,
        since it cannot be known whether that was done already: a rescuer takes it over.
        """
        if self._words[at.GUARD_OWNER] == self._slots.identity:
            self._words[at.GUARD_OWNER] = 0
        self._words[self._attempt] = self._sequence << 16

    def _rescue(self) -> bool:
        """Take the token over if it is lost. One rescuer at a time; the record lock is freed if that one dies."""
        if not self._slots.try_lock(RESCUE_BYTE):
            return False
        try:
            if not (self._owner_is_dead() or self._token_is_lost()):
                return False
            self._sequence += 1
            self._words[self._attempt] = self._sequence << 16 | TRYING
            self._words[at.GUARD_OWNER] = self._slots.identity
            return True
        finally:
            self._slots.unlock(RESCUE_BYTE)

    def _owner_is_dead(self) -> bool:
        owner = self._words[at.GUARD_OWNER]
        if not owner:
            return False
        if owner == self._slots.identity:
            # This thread holds the lock of the process's threads, so none of them is inside: an exception cut a release
            # short.
            return True
        # Read again once it is known to be dead: it may have released the guard before it died.
        return not self._slots.alive(owner) and self._words[at.GUARD_OWNER] == owner

    def _token_is_lost(self) -> bool:
        if self._words[at.GUARD_OWNER]:
            return False
        before = self._attempts()
        if self._semaphore.value or self._tried_by_the_living(before):
            return False
        _barrier()
        return not self._words[at.GUARD_OWNER] and not self._semaphore.value and self._attempts() == before

    def _attempts(self) -> list[int]:
        words, slots = self._words, self._slots
        return [words[slots.word(slot) + at.SLOT_ATTEMPT] for slot in range(self._slot_count)]

    def _tried_by_the_living(self, attempts: list[int]) -> bool:
        return any(
            attempt & 0xFFFF == TRYING and slot != self._slots.mine and self._slots.occupied(slot)
            for slot, attempt in enumerate(attempts)
        )


def closed(name: str) -> StorageClosed:
    """The error for a verb on the segment of that name that this process has closed."""
    return StorageClosed(
        f"the storage on segment {name!r} was closed, as it is where its queue or its supervisor ends: use it inside "
        f"of their block, or attach to it again"
    )


def _is_of_this_package(frame: FrameType) -> bool:
    return f"{frame.f_globals.get('__package__')}.".startswith("shardq.shm.")


def _barrier() -> None:
    """Let other processors' announcements arrive. On x86 the semaphore's locked operation has ordered them already."""
    if platform.machine() not in ("x86_64", "AMD64"):
        time.sleep(0.002)
