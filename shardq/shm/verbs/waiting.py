"""Looking for work, sleeping until there is some, and waiting for room or quiet: each look in one guarded section."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from shardq.shm import words as at
from shardq.shm.counters import none_queued
from shardq.shm.damage import damaged
from shardq.shm.gate import Gate
from shardq.shm.processes.death_watch import DeathWatch
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NOT_FOUND, Directory
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.shm.verbs.recovery import Recovery

#: How often a busy process looks for threads whose worker died; one that is about to sleep always does.
ORPHAN_INTERVAL_S = 0.01


class Waiting:
    """Verbs that look for what this process waits for, and mark it as asleep."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        handlers: HandlerTable,
        directory: Directory,
        claims: Claims,
        recovery: Recovery,
        watch: DeathWatch,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._segment = segment
        self._slots = slots
        self._handlers = handlers
        self._directory = directory
        self._claims = claims
        self._recovery = recovery
        self._watch = watch
        self._sleepers = sleepers
        self._section = section
        self._gate = gate
        self.sleeping = 0
        """How many coroutines of this process sleep."""
        self.last_served = -1
        """The thread that was found last: the next search begins behind it."""
        self._orphans_due = 0.0
        self._pauses_stand = False
        """Whether threads rested when this process looked last."""

    def find_work(self, names: frozenset[str] | None, bound: str | None = None) -> str | None:
        """Key of a thread to serve now: `bound` if it has messages, else a ready one of these handlers (None: any)."""
        with self._section:
            self.look_around()
            return self.find(names, bound)

    def lie_down(self, names: frozenset[str] | None, bound: str | None) -> tuple[str | None, float | None]:
        """As `find_work`; where there is nothing, this process counts as asleep, and will be rung, until `rise`. Also
        tells in how many seconds a pause ends, or a message is due for which no supervisor sets a timer: the caller
        has to wake by itself then, since neither rings a process.
        """
        with self._section:
            wait_s = self.look_around_to_sleep()
            key = self.find(names, bound)
            self.sleeping += 1
            if key is None:
                self._sleepers.sleep()
            return key, wait_s

    def rise(self, key: str | None, *, leaves: bool = True) -> None:
        """Undo one `lie_down`, with the work that was found. A call that was not for that work is passed on. `leaves`:
        the caller does not lie down again at once.
        """
        with self._section:
            self.sleeping -= 1
            if self._sleepers.wake(others_sleep=self.sleeping > 0):
                self._claims.pass_on(NOT_FOUND if key is None else self._directory.thread(key))
            if leaves:
                self._end_pauses()  # one may have been made since this process looked
                self._leave_the_clock()

    def rise_alone(self) -> None:
        """As `rise`, where a process is stopped inside the guard. A call that this process got is not passed on. The
        other processes look for work themselves once the guard is free, at the latest at their safety net's time.
        """
        self.sleeping -= 1
        self._sleepers.wake(others_sleep=self.sleeping > 0)

    def deaths(self) -> int:
        """A descriptor that becomes readable when a process ends that serves threads. Ask before `lie_down`."""
        return self._watch.open()

    def note_deaths(self) -> None:
        """Watch the processes that ended no more. The next look frees their threads. Wants no guard: who has waited for
        the thread of a dead one waits no longer than it must.
        """
        self._watch.clear()
        self._orphans_due = 0.0

    def asleep(self) -> int:
        """How many processes sleep."""
        start = self._segment.layout.sleep_map
        states = self._segment.bytes[start : start + self._segment.layout.slots]
        return states.count(at.ASLEEP) + states.count(at.CALLED)

    def quiet(self, *, deferred: bool = False) -> bool:
        """Whether nothing is queued or in hand, nor, with `deferred`, deferred. If something is, this process
        will be rung when that changes.
        """
        words = self._segment.words
        with self._section:
            self._gate.check_stays()
            if none_queued(words) and not (deferred and words[at.DEFERRED]):
                return True
            self._sleepers.await_(self._segment.layout.quiet_map)
            return False

    def idle(self) -> bool:
        """For the supervisor: whether nothing is queued or in hand. Then it will be rung when a worker of its family
        takes a batch.
        """
        with self._section:
            if not none_queued(self._segment.words):
                return False
            self._segment.words[at.AWAITED] = 1
            return True

    def await_room(self) -> None:
        """Ask to be rung when messages leave."""
        with self._section:
            self._sleepers.await_(self._segment.layout.room_map)

    def look_around_to_sleep(self) -> float | None:
        """As `look_around`, before this process sleeps: it looks at all, and also watches the processes that serve.
        Returns in how many seconds it has to wake by itself: see `lie_down`. Wants the guard held.
        """
        self._watch.update()
        self._adopt_orphans()
        wait_s = self._end_pauses()
        if self._sleepers_await_due():
            due_s = max(0.0, self._segment.words[at.NEXT_DUE_US] / 1e6 - time.time())
            wait_s = due_s if wait_s is None else min(due_s, wait_s)
        return wait_s

    def sleep(self) -> None:
        """One coroutine more of this process sleeps, which found nothing in this section. Wants the guard held."""
        self.sleeping += 1
        self._sleepers.sleep()

    def turn_over(self, *, sleeps_on: bool) -> None:
        """A coroutine that slept looked again, and `sleeps_on`, or rises as by `rise`. What work it found, it has
        claimed in this section. Wants the guard held.
        """
        if self._sleepers.wake(others_sleep=sleeps_on or self.sleeping > 1):
            self._claims.pass_on(NOT_FOUND)
        if not sleeps_on:
            self._leave_the_clock()
        # Last: where an exception cuts this short, the caller rises by `rise`.
        self.sleeping -= not sleeps_on

    def look_around(self) -> None:
        """Make threads ready whose pause is over and, now and then, free the threads of dead workers. Wants the guard
        held.
        """
        if time.monotonic() > self._orphans_due:
            self._adopt_orphans()
        self._end_pauses()

    def find(self, names: frozenset[str] | None, bound: str | None) -> str | None:
        """As `find_work`, with the guard held."""
        if self._segment.words[at.CLOSED] and not self._gate.hands_out():
            return None
        served = self._handlers.served(names)
        if bound is not None:
            thread = self._directory.thread(bound)
            if thread != NOT_FOUND and self._claims.has_work(thread) and not self._claims.is_paused(thread):
                return bound
        thread = self._claims.next_ready(self.last_served, served)
        if thread < 0:
            return None
        self.last_served = thread
        key = self._directory.name(thread)
        if self._directory.thread(key) != thread:
            # A claim by this name would be on another thread, and this one would be offered for ever.
            raise damaged(self._segment.name, f"thread {thread} is not found by its name")
        return key

    def _end_pauses(self) -> float | None:
        """In how many seconds the next pause ends."""
        wait_s = self._claims.end_pauses()
        self._pauses_stand = wait_s is not None
        return wait_s

    def _leave_the_clock(self) -> None:
        """Where this process was to wake at the end of a pause or at a due time, it calls another one, which wakes then
        instead: those that sleep on may have lain down before that time was known.
        """
        if self._pauses_stand or self._sleepers_await_due():
            self._sleepers.call_worker()

    def _sleepers_await_due(self) -> bool:
        """Whether something is deferred that comes when it is due, and no supervisor sets a timer for it."""
        words = self._segment.words
        return bool(words[at.NEXT_DUE_US]) and not words[at.CLOSED] and not self._sleepers.supervised()

    def _adopt_orphans(self) -> None:
        self._recovery.adopt_orphans()
        self._orphans_due = time.monotonic() + ORPHAN_INTERVAL_S
