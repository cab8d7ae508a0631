"""How coroutines of one process wait for events in a segment: all on the one doorbell of their process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import CO_COROUTINE
from threading import RLock
from types import FrameType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from shardq.blocking import here
from shardq.errors import SegmentBusy
from shardq.shm.store import Store

#: For how long a coroutine keeps its loop waiting for the guard, and how long it then lets others run, at first and at
#: most, before it tries again.
SHORT_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.005, 0.002, 0.1
#: For how long a look for quiet waits for the guard at least, whatever its timeout: on a busy machine the process that
#: has the guard may not run for a moment, and the answer to a timeout of 0 is taken as what is there.
LOOK_S = 1.0

_Result = TypeVar("_Result")


#: What a waiting coroutine looks for, called without it. None: the coroutine has to look itself.
Look = Callable[[], object]


class Ears:
    """The coroutines of this process that wait for its doorbell: one future each, on the loop in which each runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[asyncio.Future[Any], tuple[bool, Look | None]] = {}
        """The futures that wait, with whether each is told of deaths, and what it looks for."""
        # Reentrant: a signal handler may run while this lock is held, and its thread must be able to enter again.
        self._lock = RLock()
        self._heard_by: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, bool]] = WeakKeyDictionary()
        """The descriptors that each loop watches, and whether each tells of deaths."""
        self._times_woken = 0
        self._rings_stay = False
        """Whether coroutines were told of rings that are not taken in."""
        self._ready = False

    def ready(self) -> int:
        """Have a bell that can be rung, and a watch over the other processes. Returns what `listening` takes as
        `since`: for a coroutine that looks before it listens.
        """
        if not self._ready:
            self._store.doorbell.open()
            self._store.waiting.deaths()
            self._ready = True
        if self._rings_stay:
            self._take_in_rings()
        return self._times_woken

    @contextmanager
    def listening(self, *, deaths: bool = False, since: int | None = None) -> Iterator[asyncio.Future[Any]]:
        """Within, a future is told as by `listen`."""
        heard = self.listen(deaths=deaths, since=since)
        try:
            yield heard
        finally:
            self.end(heard)

    def listen(
        self, *, deaths: bool = False, since: int | None = None, look: Look | None = None
    ) -> asyncio.Future[Any]:
        """A future that is done when the bell rings, or with `deaths` when a process ends that may have been bound to a
        thread. It is told until `end`. Listen before looking, so that no ring is missed; or say `since` when to have
        listened: where another coroutine of this process took in a ring after that, the future is done at once.

        With `look`, a ring calls that at once, and what it returns or raises is the future's: a turn of the loop less,
        until which the request would wait. Where it finds the guard held, nothing is told but the ring.
        """
        if since is None and self._rings_stay:
            self._take_in_rings()
        loop = asyncio.get_running_loop()
        heard = loop.create_future()
        try:
            with self._lock:
                self._waiting[heard] = deaths, look
                if since is not None and since != self._times_woken:
                    heard.set_result(None)
            self._hear(loop, deaths=deaths)
        except BaseException:
            self.end(heard)
            raise
        return heard

    def end(self, heard: asyncio.Future[Any]) -> None:
        """Have it told no more."""
        loop = heard.get_loop()
        with self._lock:
            self._waiting.pop(heard, None)
        if not loop.is_closed():
            # Not at once: a worker that is woken again and again is back before.
            loop.call_soon(self._hear_less, loop)

    def hear_no_more(self) -> None:
        """Before the doorbell may be closed: have the running loop watch nothing. `wake_all` has to follow, so that
        coroutines that go on listening have it watched again.
        """
        loop = _running_loop()
        if loop is not None:
            for descriptor in self._heard_by.pop(loop, {}):
                loop.remove_reader(descriptor)

    def _hear(self, loop: asyncio.AbstractEventLoop, *, deaths: bool) -> None:
        with self._lock:
            heard = self._heard_by.setdefault(loop, {})
        if (bell := self._store.doorbell.open()) not in heard:
            loop.add_reader(bell, self._heard, loop)
            heard[bell] = False
        if deaths and (watch := self._store.waiting.deaths()) not in heard:
            loop.add_reader(watch, self._saw_death)
            heard[watch] = True

    def _hear_less(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop watch only what coroutines of it listen to."""
        with self._lock:
            others = [deaths for future, (deaths, _) in self._waiting.items() if future.get_loop() is loop]
            heard = self._heard_by.get(loop, {})
        for descriptor, of_deaths in list(heard.items()):
            if not others or (of_deaths and not any(others)):
                del heard[descriptor]
                loop.remove_reader(descriptor)

    def _saw_death(self) -> None:
        try:
            self._store.waiting.note_deaths()
        except SegmentBusy:  # the descriptor stays readable, so it is not watched for a moment
            loop, watch = asyncio.get_running_loop(), self._store.waiting.deaths()
            loop.remove_reader(watch)
            loop.call_later(LONGEST_PAUSE_S, self._watch_again, loop, watch)
        self.wake_all()

    def _watch_again(self, loop: asyncio.AbstractEventLoop, watch: int) -> None:
        if watch in self._heard_by.get(loop, {}):
            loop.add_reader(watch, self._saw_death)

    def _heard(self, loop: asyncio.AbstractEventLoop) -> None:
        """The bell rings. To take the rings in costs a twentieth of a wake-up, and the request that rang would wait for
        it. So that is left to the next coroutine that looks before it sleeps; or to this, where the bell still rings in
        the next turn of the loop.
        """
        if self._rings_stay:
            self._take_in_rings()
        else:
            self._rings_stay = True
        self._wake(loop)

    def _take_in_rings(self) -> None:
        """Before a look: else a ring that comes after the look could be taken in unheard."""
        with self._lock:
            if self._rings_stay:
                self._rings_stay = False
                self._store.doorbell.silence()

    def forget(self) -> None:
        """Begin anew in a forked child: no coroutine of it waits, and no thread of it holds the lock."""
        self._waiting, self._lock, self._ready, self._rings_stay = {}, RLock(), False, False
        self._heard_by = WeakKeyDictionary()

    def wake_all(self) -> None:
        """Let all waiting coroutines look again."""
        self._wake(_running_loop())

    def _wake(self, here: asyncio.AbstractEventLoop | None) -> None:
        """As `wake_all`, from code that runs in this loop."""
        with self._lock:
            self._times_woken += 1
            waiting = list(self._waiting.items())
        for future, (_, look) in waiting:
            loop = future.get_loop()
            if loop is here:
                _tell(future, look)
                continue
            with suppress(RuntimeError):  # its loop is closed: no coroutine waits there any more
                loop.call_soon_threadsafe(_tell, future, look)


class Deadline:
    """The rest of a timeout. None: it has no end."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        self._pause_s = FIRST_PAUSE_S / 2

    @property
    def over(self) -> bool:
        return self._end is not None and asyncio.get_running_loop().time() >= self._end

    async def pause(self) -> None:
        """Let others run while another process does not leave the guard: longer each time, not beyond the deadline."""
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        left_s = LONGEST_PAUSE_S if self._end is None else self._end - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(self._pause_s, left_s)))

    async def wait(self, future: asyncio.Future[Any], at_most_s: float) -> Any:
        """Wait for the future, no longer than the deadline and `at_most_s`; it is done then. Returns its result."""
        timer = self.timer(future, at_most_s)
        try:
            return await future
        finally:
            timer.cancel()

    def timer(self, future: asyncio.Future[Any], at_most_s: float) -> asyncio.TimerHandle:
        """Have the future done by the deadline, and no later than in `at_most_s`. Cancel what it returns."""
        loop = asyncio.get_running_loop()
        if self._end is not None:
            at_most_s = min(at_most_s, max(0.0, self._end - loop.time()))
        return loop.call_later(at_most_s, _finish, future)


async def until_free(verb: Callable[[], _Result]) -> _Result:
    """The result of a verb of the store that found the guard held: it is called again after growing pauses, in which
    the loop serves others and the caller can be cancelled.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        with suppress(SegmentBusy):
            return verb()


def limit_of_coroutines() -> float | None:
    """How long the calling code waits for the guard: a coroutine of a loop only for a moment, other code without an
    end. It is called only where others are inside.
    """
    if here.blocking or _running_loop() is None:
        return None
    frame: FrameType | None = sys._getframe()
    while frame:
        if frame.f_code is _tell.__code__:
            return SHORT_S
        if frame.f_code.co_flags & CO_COROUTINE:
            return SHORT_S if str(frame.f_globals.get("__package__")) == __package__ else None
        frame = frame.f_back
    return None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _finish(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)


def _tell(future: asyncio.Future[Any], look: Look | None) -> None:
    """The bell rang for this future."""
    if future.done():
        return
    try:
        found = look() if look else None
    except SegmentBusy:
        future.set_result(None)
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(found)


#: One `Ears` per store of this process: the loop that hears its doorbell first wakes all waiting coroutines.
_ears: WeakKeyDictionary[Store, Ears] = WeakKeyDictionary()


def ears_of(store: Store) -> Ears:
    """The ears of this process for that store."""
    return _ears.setdefault(store, Ears(store))


def _deafen() -> None:
    """In a forked child: forget the coroutines that wait, which run in its parent."""
    for ears in _ears.values():
        ears.forget()


os.register_at_fork(after_in_child=_deafen)
