"""Looking at a segment without disturbing the processes that work in it.

An overview reads single words and takes no guard, so it works while the other processes hang. A look at tubes takes
the guard for one thread at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from shardq.model import AtWork, Counts, split_key
from shardq.shm import words as at
from shardq.shm.counters import counts_in
from shardq.shm.damage import damage_told
from shardq.shm.processes.holding import Held, holder
from shardq.shm.processes.progress import progress_in
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.delivery import Delivery
from shardq.shm.tubes.directory import Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.handler_table import HandlerTable
from shardq.system.processes import is_stopped, memory


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process at one moment."""

    number: int
    """Counted by its supervisor."""
    pid: int
    state: str
    """`busy` with a batch, `idle`, `stopped` by a signal, or `dead`."""
    thread: str | None
    """Key of the thread whose batch it has in hand."""
    batch_count: int
    """Requests in that batch."""
    batch_age_s: float
    """How long it has had them."""
    done: float | None
    """How far the batch has come, as its handler says. None: the handler said nothing of it."""
    total: float | None
    """None: the handler did not say how far it goes."""
    note: str
    rss_bytes: int
    """Memory of the process, shared pages included."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A segment and its family at one moment. JSON encoders that know dataclasses make an object of it; for the
    standard library's there is `as_dict()`.
    """

    name: str
    capacity_bytes: int
    used_bytes: int
    """Memory in use now, by the kernel's own count."""
    reserved_bytes: int
    """Memory taken beside it, so that stored requests can be worked off when /dev/shm is full."""
    queued: int
    """Requests not yet acknowledged, those in hand included."""
    accepted: int
    """Requests ever accepted."""
    handled: int
    """Requests that ever left."""
    dead: int
    """Dead letters there are."""
    buried: int
    """Requests that ever became dead letters."""
    evicted: int
    """Dead letters that were dropped to make room for others: those requests are gone."""
    deferred: int
    """Requests that wait for their time; they are not `accepted` before."""
    recurrent: int
    """Requests that come again and again."""
    next_due_us: int | None
    """When the first of both is due, Unix microseconds."""
    supervisor_pid: int | None
    """None where no supervisor lives."""
    workers: list[WorkerView]
    guard: Held | None
    """The process that has the guard and does not leave it. None: no process has it, or only for a moment."""

    @property
    def counts(self) -> Counts:
        """The figures among these that every storage has. They are not of one instant."""
        return Counts(self.accepted, self.handled, self.buried, self.dead, self.deferred, self.recurrent, self.evicted)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, each worker as a dictionary too."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TubeView:
    """A tube that is not empty."""

    pipe: str
    queued: int
    oldest_age_s: float
    """How long ago the oldest of its requests was accepted."""
    worker_pid: int | None
    """Process whose worker is bound to its thread, None: no worker is."""
    unserved: bool
    """Whether no worker is bound, and none that looks for work has a handler for it. Where no worker looks: whether
    none of those that did had one."""
    attempts: int
    """How often the request at its head failed."""
    rests_s: float
    """For how many seconds its thread is still not offered to workers: its handler did not start or cannot be used, a
    request waits for its next attempt, or there was no room."""


class Inspection:
    """Views of a segment."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        handlers: HandlerTable,
        directory: Directory,
        fifos: Fifos,
        claims: Claims,
        delivery: Delivery,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._slots = slots
        self._handlers = handlers
        self._directory = directory
        self._fifos = fifos
        self._claims = claims
        self._delivery = delivery
        self._sleepers = sleepers
        self._section = section

    def counts(self) -> Counts:
        """The totals of one instant."""
        with self._section:
            return counts_in(self._words)

    def accepted(self) -> int:
        """How many messages were ever accepted."""
        return self._words[at.ACCEPTED]

    def at_work(self) -> int:
        """How many processes have a batch in hand."""
        first, behind = self._layout.slot_word(0), self._layout.slot_word(self._layout.slots)
        counts = self._words[first + at.SLOT_BATCH_COUNT : behind : at.SLOT_WORDS].tolist()
        return len(counts) - counts.count(0)

    def workers(self) -> list[AtWork]:
        """What each living worker is at. Raises `SegmentForeign`."""
        first, behind = self._layout.slot_word(0), self._layout.slot_word(self._layout.slots)
        numbers = self._words[first + at.SLOT_WORKER : behind : at.SLOT_WORDS].tolist()
        with damage_told(self._segment.name):
            return [self._at_work(slot) for slot, number in enumerate(numbers) if number and self._slots.occupied(slot)]

    def overview(self) -> Overview:
        """The segment as a whole. Raises `SegmentForeign`."""
        with damage_told(self._segment.name):
            return self._overview()

    def _overview(self) -> Overview:
        # The count of what left is read before the count of what came: so their difference is never too low.
        handled = self._words[at.HANDLED]
        accepted = self._words[at.ACCEPTED]
        unburied = self._words[at.UNBURIED]
        buried = self._words[at.BURIED]
        return Overview(
            self._segment.name,
            self._layout.capacity_bytes,
            self._segment.used_bytes,
            self._words[at.RESERVED_BYTES],
            accepted - handled,
            accepted,
            handled,
            buried - unburied,
            buried,
            self._words[at.EVICTED],
            self._words[at.DEFERRED],
            self._words[at.RECURRENT],
            self._words[at.NEXT_DUE_US] or None,
            self._words[at.SUPERVISOR_PID] if self._sleepers.supervised() else None,
            [view for slot in range(self._layout.slots) if (view := self._worker(slot))],
            self.held(),
        )

    def held(self) -> Held | None:
        """The process that has the guard and does not leave it."""
        return holder(self._segment, self._slots)

    def tubes(self) -> Iterator[TubeView]:
        """The tubes that are not empty."""
        with self._section:
            threads = self._directory.living()
        for thread in threads:
            with self._section:
                views = list(self._tubes_of(thread))
            # Outside the guard: no other process may have to wait for what the caller does with them.
            yield from views

    def serving(self, name: str) -> int:
        """How many living processes look for work of the handler. One where a supervisor may begin one that does."""
        with self._section:
            number, slots = self._handlers.number(name), range(self._layout.slots)
            looking = [slot for slot in slots if self._handlers.looks(slot) and self._slots.occupied(slot)]
            count = sum(self._handlers.serves(slot, number) for slot in looking)
            begins = self._sleepers.supervised() and (not looking or self._handlers.ever_served(number))
            return count or int(begins)

    def _tubes_of(self, thread: int) -> Iterator[TubeView]:
        owner, now_us = self._claims.owner(thread), time.time_ns() // 1000
        if self._directory.apart(thread):
            return
        for pipe, its in self._directory.pipes_of(thread):
            tubes = [tube for tube in its if not self._fifos.is_empty(tube)]
            if tubes:
                queued = sum(map(self._fifos.length, tubes))
                age_s = max(0, now_us - min(map(self._fifos.oldest_us, tubes))) / 1e6
                worker = self._pid(owner) if owner else None
                unserved = not owner and not self._is_served(self._directory.handler(thread))
                failed = self._delivery.of(tubes[0])
                attempts = failed.attempts if failed else 0
                rests_s = 0.0 if owner else self._claims.rests_s(thread)
                yield TubeView(pipe, queued, age_s, worker, unserved, attempts, rests_s)

    def _is_served(self, number: int) -> bool:
        """Whether a process looks for work of that handler; where none looks for any, whether one ever did."""
        slots = range(self._layout.slots)
        living = [slot for slot in slots if self._handlers.looks(slot) and self._slots.occupied(slot)]
        if living:
            return any(self._handlers.serves(slot, number) for slot in living)
        return self._handlers.ever_served(number) or not self._handlers.any_served()

    def _pid(self, owner: int) -> int:
        return self._words[self._layout.slot_word((owner & 0xFFFF) - 1) + at.SLOT_PID]

    def _worker(self, slot: int) -> WorkerView | None:
        word = self._layout.slot_word(slot)
        if not self._words[word + at.SLOT_WORKER] or not self._words[word + at.SLOT_PID]:
            return None
        its, (state, rss_bytes) = self._at_work(slot), self._process(slot)
        return WorkerView(
            its.number,
            its.pid,
            state or ("busy" if its.requests else "idle"),
            f"{its.handler}/{its.thread}" if its.handler else None,
            its.requests,
            its.age_s,
            its.done,
            its.total,
            its.note,
            rss_bytes,
        )

    def _at_work(self, slot: int) -> AtWork:
        word, words = self._layout.slot_word(slot), self._words
        thread, since_ns = words[word + at.SLOT_BATCH_THREAD], words[word + at.SLOT_BATCH_SINCE_NS]
        handler, name = split_key(self._directory.name(thread - 1)) if thread else (None, None)
        age_s = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_ns) / 1e9 if since_ns else 0.0
        count, progress = words[word + at.SLOT_BATCH_COUNT], progress_in(self._segment, self._slots, slot)
        done, total, note = progress or (None, None, "")
        number, pid = words[word + at.SLOT_WORKER], words[word + at.SLOT_PID]
        return AtWork(number, pid, handler, name, count, age_s, done, total, note)

    def _process(self, slot: int) -> tuple[str | None, int]:
        """`dead` or `stopped`, None for a process that runs; and its resident memory in bytes, 0 where that cannot be
        seen from here, as from another pid namespace.
        """
        if not self._slots.occupied(slot):
            return "dead", 0
        pid = os.getpid() if slot == self._slots.mine else self._slots.pid_here(slot)
        if not pid:
            return None, 0
        try:
            return "stopped" if is_stopped(pid) else None, memory(pid).resident
        except ProcessLookupError:
            return "dead", 0
        except OSError:  # no descriptor is left to read it with
            return None, 0
