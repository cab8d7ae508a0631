"""All that an in-memory storage holds: messages in tubes, messages that wait for their time, dead letters, and how many
there are and were. Wants the lock of the storage held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shardq.drivers.memory.bell import Bells
from shardq.drivers.memory.capacity import FOLLOW_UP_PART, HAND_OVER_PART, RESERVE_PART, Capacity
from shardq.drivers.memory.deferred import Pending, key_in
from shardq.drivers.memory.fifo import Fifo
from shardq.drivers.memory.graves import Graves
from shardq.drivers.memory.outputs import fresh
from shardq.drivers.memory.results import Results
from shardq.drivers.memory.threads import Threads
from shardq.drivers.memory.timing import Timing
from shardq.model import KEPT_PIPE, Counts, Hand, Part, Scheduled, When, check_parts, is_inbox
from shardq.model.trace import distinct, untraced
from shardq.outputs import Output, check_outputs, hands_over
from shardq.settings import StorageSettings

#: Seconds after which a `wait` for a due time reckons anew: the clock of the host may have been set.
_LONGEST_SLEEP_S = 10.0


class Stored:
    """What is stored, and how the verbs change it. `on_stored` is called with what an `append` or an acknowledgement
    stored.
    """

    def __init__(
        self,
        settings: StorageSettings,
        clock: Callable[[], float],
        now_us: Callable[[], int],
        bells: Bells,
        on_stored: Callable[[Sequence[Part]], None],
    ) -> None:
        self._settings = settings
        self._now_us = now_us
        self._bells = bells
        self._on_stored = on_stored
        self.threads = Threads(bells.work.ring, clock, now_us)
        self.pending = Pending()
        self.graves = Graves()
        self.results = Results()
        self.capacity = Capacity(settings.capacity_bytes)
        self.timing = Timing(self.pending, self.capacity, self._arrived, bells.work.ring, now_us)
        self._accepted = 0
        self._handled = 0
        self._replies = 0
        self._replies_taken = 0

    def tubes(self, pipe: str) -> Sequence[Fifo]:
        """The tubes of a pipe as far as there are any, or its grave: what is in front first."""
        grave = self._graves_of(pipe).get(pipe)
        return [grave] if grave else self.threads.tubes(pipe)

    def append(
        self, parts: Sequence[Part], when: When | None, absent: bool, kept_part: int = RESERVE_PART
    ) -> int | None:
        """See `Storage.append`. One part in `kept_part` of the capacity stays free."""
        check_parts(parts, self.capacity.limits.parts)
        if absent:
            parts = [(pipe, self._absent(pipe, messages, when)) for pipe, messages in parts]
        parts = [part for part in parts if part[1]]
        taken = self._store(parts, when, kept_part)
        if taken:
            self._on_stored(parts)
        return taken

    def acknowledge(self, hand: Hand, through: int, outputs: Sequence[Output] = ()) -> bool:
        """Let the messages below that number go, and store the outputs. False: there is no room for these, and nothing
        changed. Raises `MessageTooLarge` where there never will be room.
        """
        self.threads.check(hand.key, hand.token)
        if outputs and self.threads.stands_below(hand, through):
            check_outputs(outputs, self.capacity.limits.parts)
            results = [result for output in outputs if output.pipe == KEPT_PIPE for result in output.messages]
            sent = [output for output in outputs if output.pipe != KEPT_PIPE]
            new = list(fresh(self.timing.timed(sent), self._absent))
            acknowledged = sum(number < through for number in hand.batch.numbers)
            kept_part = HAND_OVER_PART if hands_over(new, acknowledged) else FOLLOW_UP_PART
            parts = [(pipe, its) for pipe, its, *_ in new]
            if new and not self.capacity.take_for(parts, kept_part):
                return False
            if results and not self._keep(results):
                self.capacity.used_bytes -= sum(len(message) for _, its in parts for message in its)
                self.capacity.check(KEPT_PIPE, results)
                return False
            self._send(new)  # before the others go: in between the storage must not be found quiet
        self._departed(hand.key, self.threads.drop_below(hand, through))
        return True

    def bury(self, hand: Hand, sequence: int, grave: str, letter: bytes) -> bool:
        """See `Storage.bury`."""
        self.threads.check(hand.key, hand.token)
        tube = self.threads.handed_from(hand)
        if tube is None or not tube.messages or tube.head_sequence != sequence:
            return True
        # The message leaves, which makes room for its letter.
        size, room = len(letter) - len(tube.messages[0]), self.capacity
        gone = self.graves.make_room(grave, size, self._settings.dead_letters, room.reserve_bytes, room.fits_in_reserve)
        if gone is None:
            return False
        self.graves.add(grave, letter)
        self.capacity.used_bytes += len(letter) - gone
        self._departed(hand.key, self.threads.drop_below(hand, sequence + 1))
        return True

    def requeue(self, grave: str, sequence: int, pipe: str, message: bytes, *, front: bool) -> bool | None:
        """See `Storage.requeue`."""
        letters = self.graves.get(grave)
        if letters is None or not letters.has(sequence):
            return None
        if not self.capacity.take_for([(pipe, [message])]):
            return False
        self._arrived(pipe, [message], front=front)
        self.capacity.used_bytes -= len(letters.drop_one(sequence) or b"")
        self._made_room()
        return True

    def drop(self, grave: str, sequences: Sequence[int]) -> int:
        """Forget letters of a grave. Returns how many there were."""
        graves = self._graves_of(grave)
        if graves is self.results:
            self._make_room_for(())
        letters = graves.get(grave)
        dropped = [letter for n in sequences if letters and (letter := letters.drop_one(n)) is not None]
        self.capacity.used_bytes -= sum(map(len, dropped))
        self._made_room()
        return len(dropped)

    def remove(self, pipe: str, unwanted: set[bytes]) -> int:
        """Take out messages, queued or waiting for their time. Returns how many there were. `unwanted`: without trace
        contexts.
        """
        waiting, dropped = self.pending.drop_equal(pipe, unwanted), self.threads.drop_equal(pipe, unwanted)
        self._cancelled(waiting)
        self._departed(pipe, dropped)
        return len(waiting) + len(dropped)

    def unschedule(self, pipe: str, unwanted: set[bytes]) -> int:
        """End messages that come again and again. Returns how many there were. `unwanted`: without trace contexts."""
        ended = self.pending.unschedule(pipe, unwanted)
        self._cancelled(ended)
        return len(ended)

    def cancel(self, ids: Sequence[str]) -> int:
        """Take out the messages of these ids that wait for their time. Returns how many there were."""
        for its_id in ids:
            key_in(its_id)
        dropped = [found.message for its_id in ids if (found := self.pending.take_out(its_id))]
        self._cancelled(dropped)
        return len(dropped)

    def run(self, its_id: str) -> bool | None:
        """Have the message of this id that waits for its time come into its tube. None: it is not there any more."""
        found = self.pending.take_out(its_id)
        if found is None:
            return None
        self._arrived(found.pipe, [found.message])
        return True

    def skip(self, scheduled: Scheduled) -> bool | None:
        """See `Deferrals.skip`."""
        ended = self.pending.skip(scheduled, self._now_us())
        if ended is None:
            return None
        self._cancelled(ended)
        return True

    def is_quiet(self, *, deferred: bool) -> bool:
        """Whether nothing is queued, nor, with `deferred`, waits for its time."""
        return self._accepted == self._handled and not (deferred and self.pending.deferred)

    def counts(self) -> Counts:
        graves, pending = self.graves, self.pending
        accepted, handled = self._accepted - self._replies, self._handled - self._replies_taken
        letters, later = (graves.buried, graves.count()), (pending.deferred, pending.recurrent)
        return Counts(accepted, handled, *letters, *later, graves.evicted, self._replies, self._replies_taken)

    def next_s(self) -> float | None:
        """In how many seconds a message is due, or a lease or pause ends, whichever comes first."""
        instants = (self.pending.next_due_us if self.pending else None, self.threads.pauses.next_end_us())
        first_us = min((instant for instant in instants if instant is not None), default=None)
        first_s = None if first_us is None else min((first_us - self._now_us()) / 1e6, _LONGEST_SLEEP_S)
        return min((span for span in (first_s, self.threads.next_end_s()) if span is not None), default=None)

    def _graves_of(self, pipe: str) -> Graves:
        return self.results if pipe == KEPT_PIPE else self.graves

    def _keep(self, results: Sequence[bytes]) -> bool:
        """Keep results in the place of older ones. False: there is no room even so."""
        if not self._make_room_for(results):
            return False
        self.capacity.used_bytes += sum(map(len, results))
        self.results.keep(results, self._now_us())
        return True

    def _make_room_for(self, results: Sequence[bytes]) -> bool:
        """Drop results that are too old, and the oldest where there were too many with these."""
        room, settings = self.capacity, self._settings
        room.used_bytes -= self.results.drop_older(self._now_us() - int(settings.results_age_s * 1e6))
        most, size = settings.results - len(results) + 1, sum(map(len, results))
        most_bytes = room.reserve_bytes if results else None
        gone = self.results.make_room(KEPT_PIPE, size, most, most_bytes, room.fits_in_reserve)
        room.used_bytes -= gone or 0
        return gone is not None

    def _store(self, parts: Sequence[Part], when: When | None = None, kept_part: int = RESERVE_PART) -> int | None:
        if not parts:
            return 0
        when = when and self.timing.resolved(when)
        if when and when.schedule:
            return self.timing.repeat(parts, when, kept_part)
        if not self.capacity.take_for(parts, kept_part):
            return None
        self._place(parts, when)
        return sum(len(its) for _, its in parts)

    def _send(self, outputs: Sequence[Output]) -> None:
        """Store outputs for which room is taken."""
        for pipe, messages, when, _ in outputs:
            self._place([(pipe, messages)], when)
            self._on_stored([(pipe, messages)])

    def _place(self, parts: Sequence[Part], when: When | None) -> None:
        if when:
            self.timing.defer(parts, when)
            return
        for pipe, its in parts:
            self._arrived(pipe, its)

    def _arrived(self, pipe: str, messages: Sequence[bytes], *, front: bool = False) -> None:
        self._accepted += len(messages)
        self._replies += len(messages) if is_inbox(pipe) else 0
        self.threads.add(pipe, messages, front=front)

    def _absent(self, pipe: str, messages: Sequence[bytes], when: When | None = None) -> list[bytes]:
        """Those of the messages that have no equal, each once."""
        if when and when.schedule:
            present = [self.pending.again(pipe)]
        else:
            present = [*self.threads.equal(pipe), self.pending.once(pipe)]
        return [message for message in distinct(messages) if not any(untraced(message) in found for found in present)]

    def _departed(self, key: str, dropped: Sequence[bytes]) -> None:
        """Messages have left a tube of that thread, or of that name."""
        self._handled += len(dropped)
        self._replies_taken += len(dropped) if is_inbox(key) else 0
        self._cancelled(dropped)

    def _cancelled(self, dropped: Sequence[bytes]) -> None:
        """Messages are stored no more."""
        if not dropped:
            return
        self.capacity.used_bytes -= sum(map(len, dropped))
        self._made_room()
        if self._accepted == self._handled:
            self._bells.quiet.ring()
            if not self.pending.deferred:
                self._bells.all_done.ring()

    def _made_room(self) -> None:
        self._bells.room.ring()
        if self.pending.lacks_room:
            self._bells.work.ring()  # a waiting worker moves the due messages that found no room
