"""Listings of what waits in a heap, the first due first, read in sections that are short."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from shardq.pages import Page
from shardq.shm.deferred.records import PendingRecord, PendingRecords

#: Of how many records the due times are read in one section, and how many records, with their messages.
_KEYS_AT_ONCE, _READ_AT_ONCE = 64, 32


class Waits(NamedTuple):
    """A message that waits in a heap."""

    record: PendingRecord
    number: int
    message: bytes


class Unread(NamedTuple):
    """Where a page ended."""

    records: Sequence[int]
    """Addresses of the records that are left, in their order."""
    number: int
    """Below this one the messages of the first of them were read."""


class PendingPages:
    """Reads the heaps. Other processes get in between its sections."""

    def __init__(self, records: PendingRecords, section: AbstractContextManager[None]) -> None:
        self._records = records
        self._section = section

    def page(self, heap: int, after: Unread | tuple[int, int] | None, limit: int) -> Page[Waits]:
        """Messages of a heap. `after`: of the page before, or the due time and the number of a message."""
        records, number = after if isinstance(after, Unread) else self._in_order(heap, after)
        page, read, limit = Page[Waits](), 0, max(1, min(limit, _READ_AT_ONCE))
        with self._section:
            while read < len(records) and len(page) < limit:
                found = self._at(heap, records[read])
                start = max(0, number - found.first) if found else 0
                if found is None or start >= found.messages.count:
                    read, number = read + 1, 0
                    continue
                count = min(limit - len(page), found.messages.count - start)
                page += [Waits(found, *its) for its in self._records.living_messages(found, start, count)]
                number = found.first + start + count
        page.after = Unread(records[read:], number) if read < len(records) else None
        return page

    def _at(self, heap: int, address: int) -> PendingRecord | None:
        """The record of the heap at this address. None: it is gone."""
        found = self._records.read(address) if self._records.stands(address) else None
        return found if found and found.heap == heap else None

    def _in_order(self, which: int, behind: tuple[int, int] | None) -> Unread:
        """Addresses of the records, the first due first, from the one on that may have messages behind that one."""
        heap, keys = self._records.heaps[which], list[tuple[int, int, int]]()
        with self._section:
            addresses = heap.copied()
        for start in range(0, len(addresses), _KEYS_AT_ONCE):
            chosen = addresses[start : start + _KEYS_AT_ONCE]
            with self._section:
                keys += [(*heap.key(address), address) for address in chosen if self._records.stands(address)]
        keys.sort()
        first = bisect_right(keys, behind, key=lambda its: its[:2]) if behind else 0
        # The record before may have further messages, which are due at the same time.
        if behind and first and keys[first - 1][0] == behind[0]:
            return Unread([address for *_, address in keys[first - 1 :]], behind[1] + 1)
        return Unread([address for *_, address in keys[first:]], 0)
