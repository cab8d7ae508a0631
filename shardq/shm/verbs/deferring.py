"""Verbs on deferred and recurrent messages, each in one guarded section or few.

No schedule is computed in here. `promote` returns a recurrent record that is due. The caller computes its next time and
calls `recur` with it. `recur` does nothing where another process was faster, so each time comes once, however many
processes promote.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from shardq.model import Part, Scheduled
from shardq.model.trace import distinct
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm import words as at
from shardq.shm.damage import damaged
from shardq.shm.deferred.records import PendingRecord, PendingRecords
from shardq.shm.gate import Gate
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.processes.slots import Slots
from shardq.shm.segment import Segment
from shardq.shm.tubes.directory import NO_ROOM, NOT_FOUND, Directory
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.equal_messages import Asked, EqualMessages
from shardq.shm.verbs.pending_pages import PendingPages, Unread
from shardq.shm.verbs.transfer import Transfer

#: How many records go to their tubes in one section.
_AT_ONCE = 32
#: Among how many due records others are looked for where there is no room for the first one.
_LOOKED_AT = 128
#: How many messages are looked for in one section to be taken out.
REMOVED_AT_ONCE = 128
#: After how many microseconds to look again where there was no room for due messages.
_RETRY_US = 50_000


class Promoted(NamedTuple):
    """The result of `promote`."""

    next_due_us: int
    """When the next record is due, which may be in the past, 0: there is none."""
    recurrent: PendingRecord | None
    """A recurrent record that is due: have it come with `recur`, then call `promote` again."""


class Deferring:
    """Verbs on messages that wait for their time. `pipe` is a tube's name, times are Unix microseconds."""

    def __init__(
        self,
        segment: Segment,
        slots: Slots,
        directory: Directory,
        transfer: Transfer,
        records: PendingRecords,
        equals: EqualMessages,
        appending: Appending,
        pages: PendingPages,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._name = segment.name
        self._words = segment.words
        self._layout = segment.layout
        self._slots = slots
        self._directory = directory
        self._transfer = transfer
        self._records = records
        self._equals = equals
        self._appending = appending
        self._pages = pages
        self._sleepers = sleepers
        self._section = section
        self._gate = gate
        self._in_vain_until = 0.0
        """Nothing came from behind what is stuck: until then it is not looked for again, which takes milliseconds."""

    def due(self) -> bool:
        """Whether a message should be due by now. A hint, without the guard."""
        first = self._words[at.NEXT_DUE_US]
        return first > 0 and first <= _now_us()

    def defer(self, parts: Sequence[Part], due_us: int, *, share: int = at.GENERAL) -> bool:
        """Have messages come into tubes at `due_us`, all or none. False: there is no room now."""
        asked = self._appending.asked(parts, distinct=False)
        with self._section:
            if self._words[at.CLOSED] and not self._gate.takes():
                return False
            return self._transfer.add(asked, "", due_us, _now_us(), share=share)

    def repeat(
        self, parts: Sequence[Part], schedule: str, due_us: int, *, absent: bool = False, share: int = at.GENERAL
    ) -> int | None:
        """Have messages come into tubes again and again, first at `due_us`. An equal message with another schedule
        gets this one, unless `absent`. Returns how many messages were given, with `absent` how many of them were new.
        None: there is no room now.
        """
        asked = self._appending.asked(parts, distinct=True)
        with self._section:
            if self._words[at.CLOSED] and not self._gate.takes():
                return None
            fresh = list[Asked]()
            for each in asked:
                new = self._not_repeated(each, schedule, due_us, absent=absent, share=share)
                if new is None:
                    return None
                if new.messages:
                    fresh.append(new)
            if fresh and not self._transfer.add(fresh, schedule, due_us, _now_us(), share=share):
                return None
            return sum(len(each.messages) for each in fresh) if absent else sum(len(its) for _, its in parts)

    def promote(self, now_us: int) -> Promoted:
        """Move some of the due messages to their tubes, up to a recurrent record that is due, which is returned."""
        with self._section:
            if self._words[at.CLOSED] and not self._gate.hands_out():
                return Promoted(0, None)
            deferred = self._records.heaps[at.DEFERRED_HEAP]
            before, stuck = deferred.count, self._move_due(now_us)
            found = self._move_behind(now_us) if stuck else self._due_recurrent(now_us)
            self._transfer.note_due()
            if found:
                return Promoted(self._words[at.NEXT_DUE_US], found)
            if before == deferred.count and 0 < self._words[at.NEXT_DUE_US] <= now_us:
                if not stuck:
                    raise damaged(self._name, "what is due first is not where it should be")
                self._words[at.NEXT_DUE_US] = now_us + _RETRY_US
            if self._words[at.SUPERVISOR_SLOT] - 1 == self._slots.mine:
                self._words[at.ARMED_US] = self._words[at.NEXT_DUE_US]
                if stuck:
                    self._sleepers.await_(self._layout.room_map)
            return Promoted(self._words[at.NEXT_DUE_US], None)

    def recur(self, found: PendingRecord, next_due_us: int | None) -> bool:
        """Have a recurrent record come now, and next at `next_due_us` (None: never), unless another process had it come
        already. False: there is no room now; the record is put off for a moment, so that other records can come.
        """
        with self._section:
            if self._words[at.CLOSED] >= at.LEAVING or not self._records.current(found):
                return True
            if self._transfer.recur(found, next_due_us, _now_us()):
                _, tube = self._directory.tube(found.pipe)
                if tube != NOT_FOUND:
                    self._appending.help(found.pipe, tube)
                self._transfer.note_due()
                return True
            self._transfer.put_off(found, max(_now_us(), found.due_us + 1) + _RETRY_US)
            self._transfer.note_due()
            return False

    def put_off(self, found: PendingRecord, due_us: int) -> None:
        """Have a recurrent record looked at again at `due_us`. It does not come now."""
        with self._section:
            if self._words[at.CLOSED] < at.LEAVING and self._records.current(found):
                self._transfer.put_off(found, due_us)
                self._transfer.note_due()

    def scheduled_us(self, scheduled: Scheduled) -> int | None:
        """When a recurrent message has to come next. None: it is not there any more, or not as it is said."""
        [digest] = self._equals.table.digests(scheduled.pipe, [scheduled.message])
        with self._section:
            if self._words[at.CLOSED] and not self._gate.takes():
                return None
            standing = self._standing(scheduled, digest)
            return standing[0].scheduled_us if standing else None

    def skip(self, scheduled: Scheduled, next_due_us: int | None) -> bool | None:
        """Have a recurrent message come at `next_due_us` (None: never), and not when it has to. False: it is one of
        several of its record, and there is no room for a record of its own. None: as `scheduled_us` says.
        """
        [digest] = self._equals.table.digests(scheduled.pipe, [scheduled.message])
        with self._section:
            if self._words[at.CLOSED] and not self._gate.takes():
                return None
            standing = self._standing(scheduled, digest)
            if standing is None:
                return None
            found, number = standing
            if next_due_us is None:
                self._transfer.cancel(found, number)
                self._sleepers.messages_left()
            elif self._records.living_count(found) == 1:
                self._transfer.skip(found, next_due_us)
            elif not self._change(standing, digest, found.schedule, next_due_us, at.GENERAL):
                return False
            self._transfer.note_due()
            return True

    def remove(self, pipe: str, messages: Sequence[bytes], *, recurrent: bool = False) -> int:
        """Take out deferred messages equal to these, or recurrent ones. Returns how many."""
        wanted = distinct(messages)
        digests, removed = self._equals.table.digests(pipe, wanted), 0
        for start in range(0, len(wanted), REMOVED_AT_ONCE):
            chosen = slice(start, start + REMOVED_AT_ONCE)
            with self._section:
                if self._words[at.CLOSED] and not self._gate.takes():
                    return removed
                removed += self._remove(pipe, zip(wanted[chosen], digests[chosen], strict=True), recurrent=recurrent)
        return removed

    def scheduled(self, after: Unread | None = None, limit: int = PAGE_ITEMS) -> Page[Scheduled]:
        """Recurrent messages, the next due first."""
        page = self._pages.page(at.RECURRENT_HEAP, after, limit)
        found = (Scheduled(its.pipe, message, its.schedule, its.due_us) for its, _, message in page)
        return Page(found, page.after)

    def _move_due(self, now_us: int) -> bool:
        """Move some of the deferred records that are due before any recurrent one. True: there was no room for one."""
        deferred, recurrent = self._records.heaps
        for _ in range(_AT_ONCE):
            if not deferred.count or deferred.first_due_us() > now_us:
                break
            if recurrent.count and recurrent.first_key() < deferred.first_key():
                break
            if not self._moved(self._records.read(deferred.first())):
                return True
        return False

    def _move_behind(self, now_us: int) -> PendingRecord | None:
        """Move some of the deferred records that are due behind one for which there was no room, up to a recurrent
        record that is due, which is returned. What is stuck holds up what is due later for its pipe, and nothing else.
        """
        if time.monotonic() < self._in_vain_until:
            return None
        deferred, recurrent = self._records.heaps
        before = deferred.count
        due = [*deferred.due(now_us, _LOOKED_AT), *recurrent.due(now_us, _LOOKED_AT)]
        stuck, entries_left, tries = set[str](), True, _AT_ONCE
        for address in sorted(due, key=deferred.key)[:_LOOKED_AT]:
            found = self._records.read(address)
            if found.pipe in stuck:
                continue
            if found.schedule:
                return self._in_its_heap(found)
            has_entry = self._directory.tube(found.pipe)[1] != NOT_FOUND
            if has_entry or entries_left:
                if not tries:
                    break
                tries -= 1
                if self._moved(found):
                    continue
                entries_left = entries_left and has_entry
            stuck.add(found.pipe)
        if before == deferred.count:
            self._in_vain_until = time.monotonic() + _RETRY_US / 1e6
        return None

    def _moved(self, found: PendingRecord) -> bool:
        """Whether the messages of a deferred record are in their tube now. False: there is no room."""
        tube = self._transfer.promote(found, _now_us())
        if tube not in (NO_ROOM, NOT_FOUND):
            self._appending.help(found.pipe, tube)
        return tube != NO_ROOM

    def _due_recurrent(self, now_us: int) -> PendingRecord | None:
        """The recurrent record that is due before any deferred one, if there is one."""
        deferred, recurrent = self._records.heaps
        if not recurrent.count or recurrent.first_due_us() > now_us:
            return None
        if deferred.count and deferred.first_key() < recurrent.first_key():
            return None
        return self._in_its_heap(self._records.read(recurrent.first()))

    def _in_its_heap(self, found: PendingRecord) -> PendingRecord:
        if not self._records.stands(found.address):
            raise damaged(self._name, "what comes again is not where it should be")
        return found

    def _remove(self, pipe: str, wanted: Iterable[tuple[bytes, int]], *, recurrent: bool) -> int:
        removed = 0
        for message, digest in wanted:
            for found, number in self._equals.pending(pipe, message, digest, recurrent=recurrent):
                self._transfer.cancel(self._records.read(found.address), number)
                removed += 1
        if removed:
            self._transfer.note_due()
            self._sleepers.messages_left()
        return removed

    def _standing(self, scheduled: Scheduled, digest: int) -> tuple[PendingRecord, int] | None:
        """The record and number of a recurrent message that has this schedule, and whose next time is the one that is
        said. Where there is no room it is due later than it has to come.
        """
        for found, number in self._equals.pending(scheduled.pipe, scheduled.message, digest, recurrent=True):
            is_its_time = found.scheduled_us <= scheduled.due_us <= found.due_us
            if is_its_time and found.schedule == scheduled.schedule:
                return found, number
        return None

    def _not_repeated(self, asked: Asked, schedule: str, due_us: int, *, absent: bool, share: int) -> Asked | None:
        """Those of the messages that are not recurrent yet. The others get this schedule, unless `absent`. None: there
        is no room for that.
        """
        fresh = list[tuple[bytes, int]]()
        for message, digest in zip(asked.messages, asked.digests, strict=True):
            found = self._equals.pending(asked.pipe, message, digest, recurrent=True)
            if not found:
                fresh.append((message, digest))
                continue
            if absent or found[0][0].schedule == schedule:
                continue
            if not self._change(found[0], digest, schedule, due_us, share):
                return None
        return Asked(asked.pipe, [message for message, _ in fresh], [digest for _, digest in fresh])

    def _change(self, former: tuple[PendingRecord, int], digest: int, schedule: str, due_us: int, share: int) -> bool:
        """Give a recurrent message another schedule. False: there is no room now."""
        found, number = former
        cancelled = self._records.cancelled_with(found, number)
        asked = Asked(found.pipe, [self._records.message(found, number)], [digest])
        changed = self._transfer.add([asked], schedule, due_us, _now_us(), share=share, followers=[cancelled], less=1)
        if changed:
            self._transfer.drop_if_empty(found)
        return changed


def _now_us() -> int:
    return time.time_ns() // 1000
