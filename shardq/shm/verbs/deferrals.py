"""Verbs on single messages that wait for their time, each in one guarded section or few."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from shardq.model import Deferred, id_of
from shardq.pages import PAGE_ITEMS, Page
from shardq.shm import words as at
from shardq.shm.deferred.records import Key, PendingRecord, PendingRecords, key_in
from shardq.shm.gate import Gate
from shardq.shm.memory import record
from shardq.shm.processes.sleepers import Sleepers
from shardq.shm.segment import Segment
from shardq.shm.tubes.directory import NO_ROOM
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.pending_pages import PendingPages, Unread
from shardq.shm.verbs.transfer import Transfer

#: How many messages are taken out in one section.
CANCELLED_AT_ONCE = 64


class Deferrals:
    """See `protocols.Deferrals`."""

    def __init__(
        self,
        segment: Segment,
        records: PendingRecords,
        transfer: Transfer,
        appending: Appending,
        pages: PendingPages,
        sleepers: Sleepers,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._records = records
        self._transfer = transfer
        self._appending = appending
        self._pages = pages
        self._sleepers = sleepers
        self._section = section
        self._gate = gate

    def page(self, after: Unread | str | None = None, limit: int = PAGE_ITEMS) -> Page[Deferred]:
        """Some of them, the first due first. `after`: of the page before, or an id."""
        behind = key_in(after)[:2] if isinstance(after, str) else after
        page = self._pages.page(at.DEFERRED_HEAP, behind, limit)
        return Page([_shown(found, number, message) for found, number, message in page], page.after)

    def find(self, key: Key) -> Deferred | None:
        """The message of this key. None: it is not there any more."""
        with self._section:
            found = self._at(key)
            if found is None:
                return None
            message = record.message(self._segment, found.messages, key.number - found.first)
            return _shown(found, key.number, message)

    def cancel(self, keys: Sequence[Key]) -> int:
        """Take out the messages of these keys. Returns how many there were."""
        with self._section:
            if self._words[at.CLOSED] and not self._gate.takes():
                return 0
            cancelled = sum(map(self._cancel, keys))
            if cancelled:
                self._transfer.note_due()
                self._sleepers.messages_left()
            return cancelled

    def run(self, key: Key) -> bool | None:
        """Have the message of this key come now. False: there is no room. None: it is not there any more."""
        with self._section:
            if self._words[at.CLOSED] and not self._gate.takes():
                return False
            found = self._at(key)
            if found is None:
                return None
            tube = self._transfer.bring(found, key.number, time.time_ns() // 1000)
            if tube == NO_ROOM:
                return False
            self._appending.help(found.pipe, tube)
            self._transfer.note_due()
            return True

    def _cancel(self, key: Key) -> bool:
        found = self._at(key)
        if found:
            self._transfer.cancel(found, key.number)
        return found is not None

    def _at(self, key: Key) -> PendingRecord | None:
        """The record in which the message of this key waits. None: it does not."""
        if not self._records.stands(key.address):
            return None
        found = self._records.read(key.address)
        index = key.number - found.first
        if found.schedule or found.due_us != key.due_us or not 0 <= index < found.messages.count:
            return None
        return None if record.is_cancelled(self._segment, found.messages, index) else found


def _shown(found: PendingRecord, number: int, message: bytes) -> Deferred:
    return Deferred(id_of(found.due_us, number, found.address), found.pipe, found.due_us, message)
