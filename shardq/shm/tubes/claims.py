"""Which process serves which thread, and which threads have work.

The thread map has one byte per thread entry: idle, ready (work and no worker bound), bound, or paused. The ready map
has the number of its handler for each thread that is ready. A process finds work by a search for the bytes of the
handlers it serves, 0.1 us each for thousands of threads. It searches from the thread behind the one it served last, so
threads are served round robin at no cost.
"""

from __future__ import annotations

import time

from shardq.errors import FencedError
from shardq.model import Full, Hand, split_key
from shardq.shm import words as at
from shardq.shm.journal import Journal
from shardq.shm.processes.exit_log import ExitLog
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.delivery import Delivery
from shardq.shm.tubes.directory import NOT_FOUND, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.handler_table import HandlerTable, Served
from shardq.shm.tubes.pauses import Pauses
from shardq.shm.tubes.tallies import Tallies

_READY, _BOUND = bytes((at.THREAD_READY,)), bytes((at.THREAD_BOUND,))
_PAUSED = bytes((at.THREAD_PAUSED,))
#: How long a thread rests where workers of it died without a batch in hand twice or more: at first, and at most.
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 300.0


class Claims:
    """Claims on threads. A thread that becomes ready calls a sleeping process. All methods want the guard held."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        sleepers: Sleepers,
        journal: Journal,
        handlers: HandlerTable,
        directory: Directory,
        fifos: Fifos,
        delivery: Delivery,
        exit_log: ExitLog,
        tallies: Tallies,
        pauses: Pauses,
    ) -> None:
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._slots = slots
        self._sleepers = sleepers
        self._journal = journal
        self._handlers = handlers
        self._directory = directory
        self._fifos = fifos
        self._delivery = delivery
        self._exit_log = exit_log
        self.tallies = tallies
        """What this process counts of the handlers of these threads."""
        self.pauses = pauses

    def claim(self, thread: int) -> int:
        """Bind the thread to this process. Returns the fencing token, 0 where a living process is bound."""
        word = self._layout.thread_word(thread)
        owner = self._words[word + at.THREAD_OWNER]
        if owner and self._slots.alive(owner):
            return 0
        if owner:
            self._bury_owner(thread, owner)
        token = self._words[at.TOKEN] + 1
        # The counter first: a token is never given out twice, even if this process dies here.
        self._words[at.TOKEN] = token
        self._words[word + at.THREAD_TOKEN] = token
        for tube in self._directory.tubes_of(thread):
            self._delivery.take_back(tube)
        self._words[word + at.THREAD_NOT_BEFORE_NS] = 0
        self._words[word + at.THREAD_TAKEN] = 0
        self._sleepers.make_known()
        self._words[word + at.THREAD_OWNER] = self._slots.identity
        self._set_state(thread, at.THREAD_BOUND)
        return token

    def release(self, thread: int, pause_s: float = 0.0) -> None:
        """End the thread's binding. For `pause_s` it is not offered to any worker."""
        word = self._layout.thread_word(thread)
        self._words[word + at.THREAD_NOT_BEFORE_NS] = _now_ns() + int(pause_s * 1e9) if pause_s > 0 else 0
        self._words[word + at.THREAD_FAILURES] = 0
        self._words[word + at.THREAD_OWNER] = 0
        self.refresh(thread)

    def rests_s(self, thread: int) -> float:
        """For how many seconds the thread is still not offered to workers."""
        until_ns = self._words[self._layout.thread_word(thread) + at.THREAD_NOT_BEFORE_NS]
        return max(0, until_ns - _now_ns()) / 1e9

    def held(self, key: str, token: int) -> int:
        """The thread that this process is bound to with this token. Raises `FencedError`."""
        thread = self._directory.thread(key)
        if thread == NOT_FOUND or not self.current(thread, token):
            raise _fenced(key, token)
        return thread

    def handed_from(self, hand: Hand) -> tuple[int, int]:
        """Thread and tube that the batch in the hand is from. NOT_FOUND for the tube of an empty batch. Raises
        `FencedError`.
        """
        key, token, batch = hand
        if not batch.pipe:
            return self.held(key, token), NOT_FOUND
        thread, tube = self._directory.tube(batch.pipe, front=batch.front)
        if thread == NOT_FOUND or not self.current(thread, token):
            raise _fenced(key, token)
        return thread, tube

    def current(self, thread: int, token: int) -> bool:
        """Whether this token is the one of the thread's binding, and the binding this process's."""
        word = self._layout.thread_word(thread)
        return (
            token != 0
            and self._words[word + at.THREAD_TOKEN] == token
            and self._words[word + at.THREAD_OWNER] == self._slots.identity
        )

    def owner(self, thread: int) -> int:
        """Owner word of the living process that is bound to the thread, 0: none is."""
        owner = self._words[self._layout.thread_word(thread) + at.THREAD_OWNER]
        return owner if owner and self._slots.alive(owner) else 0

    def seen_owned(self, key: str) -> bool:
        """Whether a living process is seen to be bound to the thread. False: look more closely. Wants no guard."""
        thread = self._directory.known(key)
        # The entry is looked at once more: it may have become another thread's meanwhile.
        return thread != NOT_FOUND and self.owner(thread) != 0 and self._directory.known(key) == thread

    def found_full(self, handler: str, how: Full) -> None:
        """Count that a call for this handler found no room."""
        self.tallies.full(self._handlers.number(handler), how)

    def has_work(self, thread: int) -> bool:
        return any(not self._fifos.is_empty(tube) for tube in self._directory.tubes_of(thread))

    def is_paused(self, thread: int) -> bool:
        """Whether the thread's handler is paused."""
        return bool(self._words[at.PAUSED]) and self.pauses.is_paused(split_key(self._directory.name(thread))[0])

    def refresh(self, thread: int) -> None:
        """Set the thread's byte to what its owner word and its tubes say, and call a process to new work."""
        word = self._layout.thread_word(thread)
        owner = self._words[word + at.THREAD_OWNER]
        if owner and self._slots.alive(owner):
            self._set_state(thread, at.THREAD_BOUND)
            slot = self._owner_slot(thread)
            if self._sleepers.sleeps(slot) and self.has_work(thread) and not self.is_paused(thread):
                self._sleepers.call(slot)
            return
        if owner:
            self._bury_owner(thread, owner)
        if not self.has_work(thread):
            self._set_state(thread, at.THREAD_IDLE)
            return
        if self._words[word + at.THREAD_APART]:
            self._set_state(thread, at.THREAD_DEAD_LETTERS)
            return
        if self._words[word + at.THREAD_NOT_BEFORE_NS] > _now_ns():
            self._set_state(thread, at.THREAD_PAUSED)
            self._sleepers.call_worker()  # one sleeping process has to wake when the pause ends
            return
        self._make_ready(thread)

    def end_pauses(self) -> float | None:
        """Make threads ready whose pause is over, and end those of handlers that are. Returns in how many seconds the
        next pause ends.
        """
        rest_s = self._end_rests()
        pause_s = self.pauses.end_over() if self._words[at.PAUSED] else None
        return rest_s if pause_s is None else pause_s if rest_s is None else min(rest_s, pause_s)

    def _end_rests(self) -> float | None:
        """Make threads ready that have rested for long enough. Returns in how many seconds the next one has."""
        start, end, now_ns = self._layout.thread_map, self._layout.thread_map + self._layout.threads, 0
        earliest: int | None = None
        place = self._bytes.find(_PAUSED, start, end)
        while place >= 0:
            now_ns = now_ns or _now_ns()
            until_ns = self._words[self._layout.thread_word(place - start) + at.THREAD_NOT_BEFORE_NS]
            if until_ns <= now_ns:
                self._make_ready(place - start)
            elif earliest is None or until_ns < earliest:
                earliest = until_ns
            place = self._bytes.find(_PAUSED, place + 1, end)
        return None if earliest is None else (earliest - now_ns) / 1e9

    def work_arrived(self, thread: int) -> None:
        """As `refresh`, for a thread that just got messages: this frequent case needs fewer looks."""
        state = self._bytes[self._layout.thread_map + thread]
        if state == at.THREAD_BOUND and self._sleepers.sleeps(slot := self._owner_slot(thread)):
            if self.owner(thread):
                if not self.is_paused(thread):
                    self._sleepers.call(slot)
            else:
                self.refresh(thread)
        elif state == at.THREAD_IDLE:
            self.refresh(thread)

    def next_ready(self, after: int, served: Served) -> int:
        """The next thread of these handlers with work and no worker, going round from behind `after`; -1: none. Paused
        handlers have none.
        """
        if self._words[at.PAUSED]:
            served = self.pauses.without_paused(served)
        thread = self._next_byte(self._layout.thread_map, _READY, after)
        if thread < 0 or self._is_for(thread, served):
            return thread  # the frequent cases: no thread is ready, or the first one found is of these handlers
        found = (self._next_of(number, after, served) for number in served.numbers)
        return min((one for one in found if one >= 0), key=lambda one: (one <= after, one), default=-1)

    def orphans(self) -> list[int]:
        """Threads that are bound to a dead process."""
        start, end = self._layout.thread_map, self._layout.thread_map + self._layout.threads
        found, place = [], self._bytes.find(_BOUND, start, end)
        while place >= 0:
            thread = place - start
            owner = self._words[self._layout.thread_word(thread) + at.THREAD_OWNER]
            if not owner or not self._slots.alive(owner):
                found.append(thread)
            place = self._bytes.find(_BOUND, place + 1, end)
        return found

    def call_for(self, thread: int) -> None:
        """Call a sleeping process to a thread that is ready."""
        number = self._directory.handler(thread)
        for slot in self._sleepers.above():
            if self._handlers.serves(slot, number):
                self._sleepers.call(slot)
                return

    def pass_on(self, taken: int) -> None:
        """For a process that was called and has work in thread `taken` (-1: none): call another process, in a higher
        slot, for what else is ready. Processes in lower slots were awake when this one was called, or have looked for
        work themselves since.
        """
        looked: set[int] = set()
        for slot in self._sleepers.above(self._slots.mine):
            served = self._handlers.of(slot)
            if served.bits not in looked and self.next_ready(taken, served) not in (-1, taken):
                self._sleepers.call(slot)
                return
            looked.add(served.bits)

    def note_progress(self, thread: int) -> None:
        """The thread's worker got something done: earlier deaths in the thread count no more."""
        word = self._layout.thread_word(thread) + at.THREAD_FAILURES
        if self._words[word]:
            self._words[word] = 0

    def note_batch(self, thread: int, count: int, deadline_ns: int = 0) -> None:
        """Write down what this process has in hand, for observers and its supervisor."""
        words, word = self._words, self._slots.word(self._slots.mine)
        words[word + at.SLOT_BATCH_THREAD] = thread + 1
        words[word + at.SLOT_BATCH_COUNT] = count
        words[word + at.SLOT_BATCH_SINCE_NS] = _now_ns()
        words[word + at.SLOT_DEADLINE_NS] = deadline_ns
        if (words[at.AWAITED] or (deadline_ns and not words[at.WATCHED])) and words[word + at.SLOT_WORKER]:
            self._tell_supervisor(deadline_ns)

    def note_end(self, thread: int, done: int = 0) -> None:
        """Write down that this process has nothing of the thread in hand. `done`: so many of its batch were handled
        now. Where the process has several threads, another one may be the one whose batch is written down.
        """
        words, word = self._words, self._slots.word(self._slots.mine)
        if words[word + at.SLOT_BATCH_THREAD] != thread + 1:
            if done:
                self.tallies.done(thread, done)
            return
        if since_ns := words[word + at.SLOT_BATCH_SINCE_NS]:
            now_ns = _now_ns()
            self.tallies.ended(thread, done, max(0, now_ns - since_ns), now_ns)
        words[word + at.SLOT_BATCH_THREAD] = 0
        words[word + at.SLOT_BATCH_COUNT] = 0
        words[word + at.SLOT_BATCH_SINCE_NS] = 0
        words[word + at.SLOT_DEADLINE_NS] = 0

    def _tell_supervisor(self, deadline_ns: int) -> None:
        """It asked for the next batch, or for the next one with a deadline."""
        supervisor = self._words[at.SUPERVISOR_SLOT]
        if not supervisor:
            return
        self._words[at.AWAITED] = 0
        if deadline_ns:
            self._words[at.WATCHED] = 1
        self._sleepers.bells.add(supervisor - 1)

    def _bury_owner(self, thread: int, owner: int) -> None:
        """End the binding of a process that died. What it had in hand failed, unless its end was planned."""
        word = self._layout.thread_word(thread)
        taken = self._delivery.taken_from(thread)
        if self._exit_log.excused(owner) or (taken is None and not self.has_work(thread)):
            self._words[word + at.THREAD_OWNER] = 0
            return
        if taken is not None:
            self._delivery.kill(taken, self._fifos.handed(taken), owner, word + at.THREAD_OWNER)
            ending = self._exit_log.of(owner)
            self.tallies.failed(thread, "timeout" if ending and ending.timed_out else "died")
            return
        # There is no batch to blame for the death, and none to put away. So the thread rests, longer each time.
        failures = self._words[word + at.THREAD_FAILURES]
        rest_s = min(_FIRST_REST_S * 2 ** min(failures - 1, 30), _LONGEST_REST_S) if failures else 0.0
        self._words[word + at.THREAD_NOT_BEFORE_NS] = _now_ns() + int(rest_s * 1e9)
        self._journal.commit((word + at.THREAD_OWNER, 0), self._journal.moved(word + at.THREAD_FAILURES, 1))

    def _make_ready(self, thread: int) -> None:
        """The thread has work and no worker: offer it, and call a process to it."""
        # The ready map first, which is searched by handler: after a death between the two stores the thread may be
        # offered already, which is harmless.
        self._bytes[self._layout.ready_map + thread] = self._directory.handler(thread)
        self._bytes[self._layout.thread_map + thread] = at.THREAD_READY
        if not self.is_paused(thread):
            self.call_for(thread)

    def _next_byte(self, byte_map: int, value: bytes, after: int) -> int:
        """The next thread with this byte in the map, going round from behind `after`; -1: none."""
        end = byte_map + self._layout.threads
        place = self._bytes.find(value, byte_map + after + 1, end)
        if place < 0 and after >= 0:
            place = self._bytes.find(value, byte_map, byte_map + after + 1)
        return max(-1, place - byte_map)

    def _next_of(self, number: int, after: int, served: Served) -> int:
        """The next ready thread of the handler. Handlers without an entry in the table share a number, so the names of
        their threads have to be looked at.
        """
        value = bytes((number,))
        thread = first = self._next_byte(self._layout.ready_map, value, after)
        while thread >= 0 and not self._is_for(thread, served):
            thread = self._next_byte(self._layout.ready_map, value, thread)
            if thread == first:
                return -1
        return thread

    def _is_for(self, thread: int, served: Served) -> bool:
        number = self._directory.handler(thread)
        if number == at.OTHER_HANDLER and (served.names is not None or served.left_out):
            name = split_key(self._directory.name(thread))[0]
            return name not in served.left_out and (served.names is None or name in served.names)
        return bool(served.bits >> number & 1)

    def _owner_slot(self, thread: int) -> int:
        return (self._words[self._layout.thread_word(thread) + at.THREAD_OWNER] & 0xFFFF) - 1

    def _set_state(self, thread: int, state: int) -> None:
        """Give the thread a state other than ready."""
        self._bytes[self._layout.thread_map + thread] = state
        self._bytes[self._layout.ready_map + thread] = 0


def _fenced(key: str, token: int) -> FencedError:
    return FencedError(
        f"the claim on {key!r} with token {token} is over: another worker may have the thread, so nothing was changed; "
        f"stop working on it"
    )


def _now_ns() -> int:
    """The clock of pauses. It cannot be set, and all processes of a host read the same."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
