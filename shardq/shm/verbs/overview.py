"""A segment as a whole at one moment, and what its workers are at.

It reads single words and takes no guard, so it works while all processes hang.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from shardq.model import DIED, ELSEWHERE, AtWork, Counts, CrewMember, Pause, Stand, split_key
from shardq.shm import words as at
from shardq.shm.counters import counts_seen
from shardq.shm.gate import Gate
from shardq.shm.looks import looking_at
from shardq.shm.processes.holding import Held, holder
from shardq.shm.processes.progress import progress_in
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.pauses import pauses_seen
from shardq.shm.tubes.replies import Replies
from shardq.system.processes import glance

_THREAD_STATES = {
    "ready": at.THREAD_READY,
    "bound": at.THREAD_BOUND,
    "resting": at.THREAD_PAUSED,
    "idle": at.THREAD_IDLE,
}


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
    left_s: float | None
    """How long it still may have them; negative: since when it should have been done. None: as long as it takes."""
    done: float | None
    """How far the batch has come, as its handler says. None: the handler said nothing of it."""
    total: float | None
    """None: the handler did not say how far it goes."""
    note: str
    rss_bytes: int
    """Memory of the process, shared pages included."""
    elsewhere: bool
    """Whether it is in another pid namespace, where the pid counts."""


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
    """Requests not yet acknowledged, those in hand included, and replies that no caller has taken yet."""
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
    replies: int
    """Messages with results that ever came for callers. They are not `accepted`."""
    replies_taken: int
    """Those of them that callers have taken. They are not `handled`."""
    deferred: int
    """Requests that wait for their time; they are not `accepted` before."""
    recurrent: int
    """Requests that come again and again."""
    next_due_us: int | None
    """When the first of both is due, Unix microseconds."""
    supervisor_pid: int | None
    """None where no supervisor lives."""
    standing: str
    """How it stands as far as a move is concerned: `open`, `leaving`, `left` or `arriving`, as `Standing` has them."""
    goes_to: str
    """URL of where its content goes or went, without a password. Empty: it stays."""
    paused: list[Pause]
    """The handlers that are paused."""
    workers: list[WorkerView]
    threads: dict[str, int]
    """Threads by state: `ready` for a worker, `bound` to one, `resting` after a failure, and `idle`, without work."""
    slots_used: int
    """Processes that are attached."""
    deaths: dict[str, int]
    """Workers that died so far, by how: `killed`, `signal`, `exited`, `hung`, `unknown`. Those that ended as they were
    told, or were killed because their time for that was over, are not among them.
    """
    layout: int
    """Version of the segment's layout."""
    guard: Held | None
    """The process that has the guard and does not leave it. None: no process has it, or only for a moment."""

    @property
    def counts(self) -> Counts:
        """The figures among these that every storage has. They are not of one instant."""
        letters, later = (self.buried, self.dead), (self.deferred, self.recurrent)
        replies = self.replies, self.replies_taken
        return Counts(self.accepted, self.handled, *letters, *later, self.evicted, *replies)

    @property
    def is_served(self) -> bool:
        """Whether a supervisor lives, or a worker."""
        return self.supervisor_pid is not None or any(worker.state != "dead" for worker in self.workers)

    @property
    def crew(self) -> list[CrewMember]:
        """Its workers, by their numbers."""
        found = [_member(worker, self.supervisor_pid) for worker in self.workers]
        return sorted(found, key=lambda member: (member.at.number, member.at.pid))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, each worker as a dictionary too."""
        return asdict(self)


def _member(its: WorkerView, supervisor_pid: int | None) -> CrewMember:
    handler, thread = split_key(its.thread) if its.thread else (None, None)
    at = AtWork(its.number, its.pid, handler, thread, its.batch_count, its.batch_age_s, its.done, its.total, its.note)
    host = ELSEWHERE if its.elsewhere else None
    return CrewMember(host, supervisor_pid, its.state, at, its.rss_bytes or None, its.left_s)


class Overviews:
    """Looks at a segment as a whole. `name_of` gives the key of a thread entry; None: the entry is another thread's by
    now.
    """

    def __init__(
        self, segment: Segment, slots: Slots, sleepers: Sleepers, name_of: Callable[[int], str | None]
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._slots = slots
        self._sleepers = sleepers
        self._name_of = name_of
        self._replies = Replies(segment)
        self._gate = Gate(segment)

    def workers(self) -> list[AtWork]:
        """What each living worker is at. Raises `SegmentForeign`, and `StorageClosed`."""
        first, behind = self._layout.slot_word(0), self._layout.slot_word(self._layout.slots)
        numbers = self._words[first + at.SLOT_WORKER : behind : at.SLOT_WORDS].tolist()
        with looking_at(self._segment):
            return [
                self.at_work_in(slot) for slot, number in enumerate(numbers) if number and self._slots.occupied(slot)
            ]

    def overview(self) -> Overview:
        """The segment as a whole. Raises `SegmentForeign`, and `StorageClosed`."""
        with looking_at(self._segment), self._slots.one_look():
            return self._overview()

    def stand(self) -> Stand:
        """How the segment stands."""
        return self._gate.stand()

    def counts_seen(self) -> Counts:
        """The totals. While others work they are not of one instant."""
        return self._replies.counted_apart(lambda: counts_seen(self._words))

    def held(self) -> Held | None:
        """The process that has the guard and does not leave it."""
        return holder(self._segment, self._slots)

    def supervised(self) -> bool:
        """Whether a supervisor lives."""
        return self._sleepers.supervised()

    def at_work_in(self, slot: int) -> AtWork:
        """What the worker in the slot is at."""
        word, words = self._layout.slot_word(slot), self._words
        thread, since_ns = words[word + at.SLOT_BATCH_THREAD], words[word + at.SLOT_BATCH_SINCE_NS]
        key = self._name_of(thread - 1) if thread else None
        handler, name = split_key(key) if key else (None, None)
        age_s = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_ns) / 1e9 if since_ns else 0.0
        count, progress = words[word + at.SLOT_BATCH_COUNT], progress_in(self._segment, self._slots, slot)
        done, total, note = progress or (None, None, "")
        number, pid = words[word + at.SLOT_WORKER], words[word + at.SLOT_PID]
        return AtWork(number, pid, handler, name, count, age_s, done, total, note)

    def left_s(self, slot: int) -> float | None:
        """How long the worker in the slot still may have its batch. None: as long as it takes, or it has none."""
        due_ns = self._words[self._layout.slot_word(slot) + at.SLOT_DEADLINE_NS]
        return (due_ns - time.monotonic_ns()) / 1e9 if due_ns else None

    def process_in(self, slot: int) -> tuple[str | None, int]:
        """`dead` or `stopped`, None for a process that runs; and its resident memory in bytes, 0 where that cannot be
        seen from here, as from another pid namespace.
        """
        if not self._slots.occupied(slot):
            return "dead", 0
        pid = os.getpid() if slot == self._slots.mine else self._slots.pid_here(slot)
        if not pid:
            return None, 0
        try:
            its = glance(pid)
            return "stopped" if its.stopped else None, its.resident
        except ProcessLookupError:
            return "dead", 0
        except OSError:  # no descriptor is left to read it with
            return None, 0

    def _overview(self) -> Overview:
        counts, stand = self.counts_seen(), self.stand()
        return Overview(
            self._segment.name,
            self._layout.capacity_bytes,
            self._segment.used_bytes,
            self._words[at.RESERVED_BYTES],
            counts.queued,
            counts.accepted,
            counts.handled,
            counts.dead,
            counts.buried,
            counts.evicted,
            counts.replies,
            counts.replies_taken,
            counts.deferred,
            counts.recurrent,
            self._words[at.NEXT_DUE_US] or None,
            self._words[at.SUPERVISOR_PID] if self.supervised() else None,
            stand.standing.name.lower(),
            stand.to,
            pauses_seen(self._segment) or [],
            [view for slot in range(self._layout.slots) if (view := self._worker(slot))],
            self._threads(),
            self._slots_used(),
            {how: self._words[at.DIED + place] for place, how in enumerate(DIED)},
            at.LAYOUT_VERSION,
            self.held(),
        )

    def _threads(self) -> dict[str, int]:
        first = self._layout.thread_map
        states = self._segment.bytes[first : first + self._layout.threads]
        return {name: states.count(state) for name, state in _THREAD_STATES.items()}

    def _slots_used(self) -> int:
        first, behind = self._layout.slot_word(0), self._layout.slot_word(self._layout.slots)
        pids = self._words[first + at.SLOT_PID : behind : at.SLOT_WORDS].tolist()
        return sum(self._slots.occupied(slot) for slot, pid in enumerate(pids) if pid)

    def _worker(self, slot: int) -> WorkerView | None:
        word = self._layout.slot_word(slot)
        if not self._words[word + at.SLOT_WORKER] or not self._words[word + at.SLOT_PID]:
            return None
        its, (state, rss_bytes) = self.at_work_in(slot), self.process_in(slot)
        return WorkerView(
            its.number,
            its.pid,
            state or ("busy" if its.requests else "idle"),
            f"{its.handler}/{its.thread}" if its.handler else None,
            its.requests,
            its.age_s,
            self.left_s(slot),
            its.done,
            its.total,
            its.note,
            rss_bytes,
            not self._slots.in_my_namespace(slot),
        )
