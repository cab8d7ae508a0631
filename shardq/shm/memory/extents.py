"""Memory for messages: extents in a few size classes, backed with memory as they are written.

The free extent of the lowest number is lent first, so extents are reused with the memory that they have. A byte says
that an extent is lent, and a word says to which tube. Which extents a tube really uses follows from its records, so a
half-done change is mended by comparing the two. The segment's size in memory is the kernel's count of its pages and is
kept nowhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from shardq.model import Limits
from shardq.shm import words as at
from shardq.shm.counters import none_queued, none_to_come
from shardq.shm.damage import damaged
from shardq.shm.layout import ExtentClass
from shardq.shm.memory.record import LARGEST_PAYLOAD, size_of
from shardq.shm.memory.reserve import Reserve
from shardq.shm.segment import Segment, whole_pages
from shardq.shm.words import PAGE, WORD

#: Owners of extents that belong to no tube: of slabs, and of single large records. See `slabs`.
SLAB, LARGE = 1 << 40, 1 << 41
_FREE, _LENT = b"\0", 1
#: Free extents that keep their memory for the next tube, by class: at most about 8 MiB in all.
_KEPT = (512, 32, 4)
#: Backing grows in doubling steps up to this many bytes.
_LARGEST_STEP = 1 << 20
#: Behind the reader, memory is given back in steps of so many bytes, and only while memory is scarce.
_PUNCH_STEP = 16 << 10
#: Most bytes that a dead letter has beside its message, with what it leaves unused in its pages.
_LETTER_BYTES = 20 << 10
#: Follow-ups may have one part in so many of the capacity kept for them.
_MOST_WANTED_PART = 4
#: Of how many large pending records of a class the memory is looked at. Where there are more, its size stands for it.
_LOOKED_AT = 64
#: A step has at most one message for so many of its bytes, which is more than a record has beside each message.
_LEAST_BYTES = 5
#: Bit of the word that counts an extent's backed bytes, which are whole pages: its beginning was given back already, or
#: all of it is about to be.
_PUNCHED = 1


class Extents:
    """Lends extents to tubes. All methods want the guard held."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._classes = segment.layout.classes
        self._downwards = tuple(reversed(self._classes))
        self._map = segment.layout.extent_map
        self._owners = segment.layout.extent_owners_word
        self._backed = segment.layout.extent_backed_word
        self._capacity = segment.layout.storing_bytes
        self.reserve = Reserve(segment)
        self._limits: tuple[int, Limits] | None = None
        """With the memory of the tables that the numbers were found out for."""
        self._located = 0, 0, 0
        """Where the extent begins and ends that was asked for last, and its number."""

    def limit_bytes(self, share: int) -> int:
        """Most memory the segment may take for an operation with this share of it."""
        return self._capacity - self.reserve.left_by(share)

    def keep_room(self, messages: Sequence[bytes], share: int) -> int | None:
        """Have room kept in which any of these messages could be buried. Returns what was kept before, None: there is
        no room for that.
        """
        words = self._words
        if none_queued(words):
            words[at.WANTED_BYTES] = 0
            if words[at.KEPT_BYTES]:
                words[at.KEPT_BYTES] = min(words[at.KEPT_BYTES], self._kept_for_waiting())
            if words[at.RESERVED_BYTES] > self.reserve.least:
                self.reserve.fit()
        former: int = words[at.KEPT_BYTES]
        kept = self.kept_for(messages, sum(map(len, messages)))
        if kept > former:
            words[at.KEPT_BYTES] = kept
            if not self._reserve_is_whole(share):
                words[at.KEPT_BYTES] = former
                return None
        return former

    def found_no_room(self, messages: Sequence[bytes], nbytes: int, former: int | None, share: int) -> None:
        """Messages of so many bytes were not added: what `keep_room` returned holds again. Where they are follow-ups,
        other operations leave them room from now on: memory that becomes free is for them first.
        """
        if former is not None:
            self._words[at.KEPT_BYTES] = former
        if share not in (at.FOLLOW_UP, at.HAND_OVER):
            return
        needed = whole_pages(nbytes) + 4 * PAGE + self.kept_for(messages, nbytes)
        wanted = min(needed, self._capacity // _MOST_WANTED_PART)
        self._words[at.WANTED_BYTES] = max(self._words[at.WANTED_BYTES], wanted)

    def kept_for(self, messages: Sequence[bytes], nbytes: int) -> int:
        """What KEPT_BYTES must be for messages of so many bytes: any of them can become a dead letter while the storage
        is full. 0 where the reserve is enough.
        """
        if nbytes + _LETTER_BYTES <= self.reserve.half:
            return 0
        return self._kept_for_largest(max(map(len, messages)))

    def largest_bytes(self, kept: int) -> int:
        """Most bytes of records that an empty segment takes in one append for which so much has to be kept, with a
        little slack for page ends.
        """
        layout = self._layout
        step = layout.table_step_bytes
        threads = max(self._words[at.THREADS_BACKED], min(step, layout.tube_table - layout.thread_table))
        tubes = max(self._words[at.TUBES_BACKED], min(step, layout.heaps - layout.tube_table))
        tables = threads + tubes + max(self._words[at.HANDLERS_BACKED], PAGE)
        general = self._capacity - max(self.reserve.half, kept) - self.reserve.half
        room = general - self._layout.fixed_bytes - tables
        return max(0, min(room - room // 64 - 8 * PAGE, LARGEST_PAYLOAD))

    @property
    def limits(self) -> Limits:
        """How much one append takes, and how much a message may be. Wants no guard."""
        words = self._words
        tables_bytes = words[at.THREADS_BACKED] + words[at.TUBES_BACKED] + words[at.HANDLERS_BACKED]
        if self._limits is None or self._limits[0] != tables_bytes:
            self._limits = tables_bytes, self._limits_now()
        return self._limits[1]

    def _limits_now(self) -> Limits:
        layout, largest = self._layout, self._largest_message_bytes()
        # In a small segment a record of many messages would not fit, though one of a large message does.
        nbytes = min(layout.step_bytes, largest // 2)
        messages = max(1, min(at.MOST_MESSAGES, nbytes // _LEAST_BYTES))
        return Limits(layout.step_parts, messages, nbytes, PAGE, largest, at.NAME_BYTES)

    def _largest_message_bytes(self) -> int:
        def is_too_large(nbytes: int) -> bool:
            return size_of(1, nbytes) > self.largest_bytes(self._kept_for_largest(nbytes))

        return max(0, bisect_left(range(self._capacity), True, key=is_too_large) - 1)

    def _kept_for_waiting(self) -> int:
        """What KEPT_BYTES must be for what is deferred or recurrent, by the memory of the records. Messages are not
        looked at: so this takes no longer where many wait.
        """
        if none_to_come(self._words):
            return 0
        largest = PAGE  # a record in a cell, or in an extent of the smallest class, is no larger
        for its in self._downwards:
            if its.size <= largest:
                break
            found = list(islice(self._owned(LARGE, its.first, its.count), _LOOKED_AT + 1))
            sizes = [its.size] if len(found) > _LOOKED_AT else map(self.backed_bytes, found)
            largest = max([largest, *sizes])
        return self._kept_for_largest(largest)

    def _kept_for_largest(self, nbytes: int) -> int:
        kept = whole_pages(nbytes + _LETTER_BYTES)
        return kept if kept > self.reserve.half else 0

    def class_for(self, nbytes: int, at_least: int = 0) -> ExtentClass | None:
        """The smallest class, not below `at_least`, whose extents hold so many bytes."""
        for candidate in self._classes[min(at_least, len(self._classes) - 1) :]:
            if candidate.size >= nbytes:
                return candidate
        return None

    def take(self, tube: int, nbytes: int, at_least: int, *, share: int) -> int:
        """Lend the tube an extent with memory for `nbytes`. Returns its address, 0 when there is no room."""
        wanted = self.class_for(nbytes, at_least)
        if wanted is None:
            return 0
        for extent_class in self._classes[wanted.number :]:
            extent = self._lowest_free(extent_class)
            if extent >= 0:
                return self._lend(tube, extent_class, extent, nbytes, share=share)
        return 0

    def extend(self, address: int, end: int, *, share: int) -> bool:
        """Make sure that the extent around `address` has memory up to `end`. False: there is no room."""
        extent_class, extent, start = self.locate(address)
        return self.back(extent_class, extent, start, end - start, share=share)

    def has(self, address: int) -> bool:
        """Whether an extent is there, for any number."""
        return any(0 <= address - each.base < each.count * each.size for each in self._downwards)

    def locate(self, address: int) -> tuple[ExtentClass, int, int]:
        """The class, number and start of the extent an address lies in."""
        for extent_class in self._downwards:
            if address >= extent_class.base:
                index = (address - extent_class.base) // extent_class.size
                if index >= extent_class.count:
                    break
                return extent_class, extent_class.first + index, extent_class.base + index * extent_class.size
        raise damaged(self._segment.name, f"address {address} lies in no extent")

    def memory_around(self, address: int) -> tuple[int, int]:
        """Where the memory of the extent around an address begins and ends. Raises `SegmentForeign` where there is
        none, or where nothing begins at such an address.
        """
        start, limit, extent = self._located
        if not start <= address < limit:
            extent_class, extent, start = self.locate(address)
            limit = start + extent_class.size
            self._located = start, limit, extent
        end = start + (self._words[self._backed + extent] & ~_PUNCHED)
        if address & 7 or not address < end <= limit or not self._bytes[self._map + extent]:
            raise damaged(self._segment.name, f"nothing is stored at {address}")
        return start, end

    def size_of(self, extent: int) -> int:
        return self._class_of(extent).size

    def owner_of(self, extent: int) -> int:
        """The tube entry that the extent was lent to last."""
        return self._words[self._owners + extent] - 1

    def own(self, extent: int, tube: int) -> None:
        """The extent is the tube's from now on."""
        self._words[self._owners + extent] = tube + 1

    def start_of(self, extent: int) -> int:
        """Byte address of the extent."""
        extent_class = self._class_of(extent)
        return extent_class.base + (extent - extent_class.first) * extent_class.size

    def release(self, extent: int) -> None:
        """Take an extent back. All but the lowest few of a class return their memory."""
        extent_class = self._class_of(extent)
        kept = _KEPT[extent_class.number] if extent_class.number < len(_KEPT) else 0
        if extent - extent_class.first >= kept or self._words[self._backed + extent] & _PUNCHED:
            self._drop_memory(extent_class, extent)
            if self._words[at.RESERVED_BYTES] < self.reserve.least:
                self.reserve.is_whole(at.GENERAL)  # before another program gets it
        self._segment.bytes[self._map + extent] = 0
        self._words[self._owners + extent] = 0

    @property
    def scarce(self) -> bool:
        """Whether more than half of the capacity is in use."""
        return 2 * self._segment.used_bytes > self._capacity

    def punch(self, former: int, head: int) -> None:
        """Give back what lies before `head` in its extent, now that the reader has come there from `former`."""
        if former // _PUNCH_STEP == head // _PUNCH_STEP or not self.scarce:
            return
        _, extent, start = self.locate(head)
        end = head // _PUNCH_STEP * _PUNCH_STEP
        if end > start:
            self._words[self._backed + extent] |= _PUNCHED
            self._segment.give_back(start, end - start)

    def discard(self, extent: int) -> None:
        """As `release`, and return all its memory, however much of it is counted. For repair."""
        self._drop_memory(self._class_of(extent), extent)
        self._segment.bytes[self._map + extent] = 0
        self._words[self._owners + extent] = 0

    def owned_by(self, tube: int) -> list[int]:
        """Extents whose owner word names the tube, found by search. For repair."""
        return list(self._owned(tube, 0, self._layout.extents))

    def _owned(self, tube: int, first: int, count: int) -> Iterator[int]:
        """As `owned_by`, of so many extents from `first` on."""
        pattern, start = (tube + 1).to_bytes(WORD, "little"), self._owners * WORD
        find, last = self._segment.bytes.find, start + (first + count) * WORD
        place = find(pattern, start + first * WORD, last)
        while place >= 0:
            if place % WORD == 0:
                yield (place - start) // WORD
            place = find(pattern, place + 1, last)

    def could_hold(self, nbytes: int, given_back: int = 0, *, share: int = at.ALL) -> bool:
        """Whether there would be room for so many bytes, with what is given back before."""
        needed = whole_pages(nbytes) - given_back
        if self._has(needed, share):
            return True
        self.trim()
        return self._has(needed, share)

    def backed_bytes(self, extent: int) -> int:
        """Memory of an extent, that given back behind the reader included."""
        return self._words[self._backed + extent] & ~_PUNCHED

    def secure(self, start: int, nbytes: int, *, share: int, more_than_needed: bool = False) -> bool:
        """Back a range with memory, unless it is `more_than_needed` at the cost of what free extents keep, and of the
        reserve as far as the share goes. False: there is no room.
        """
        if self._secure(start, nbytes, share):
            return True
        if more_than_needed:
            return False
        self.trim()
        return self._secure(start, nbytes, share) or self._secure(start, nbytes, share, lend=True)

    def trim(self) -> None:
        """Return the memory that free extents keep."""
        for extent_class, kept in zip(self._classes, _KEPT, strict=False):
            for extent in range(extent_class.first, extent_class.first + min(kept, extent_class.count)):
                if self._words[self._backed + extent] and not self._segment.bytes[self._map + extent]:
                    self._drop_memory(extent_class, extent)

    def _secure(self, start: int, nbytes: int, share: int, *, lend: bool = False) -> bool:
        used = self._segment.used_bytes + nbytes
        if used > self.limit_bytes(share) or not self.reserve.is_whole(share):
            return False
        if not (self.reserve.lend(start, nbytes, share) if lend else self._segment.allocate(start, nbytes)):
            return False
        self.reserve.make_place(used)
        return True

    def _has(self, nbytes: int, share: int) -> bool:
        """Whether the capacity has so much left for the share, and /dev/shm or the reserve as well."""
        segment = self._segment
        has = segment.used_bytes + nbytes <= self.limit_bytes(share)
        return has and nbytes <= segment.free_bytes + self._words[at.RESERVED_BYTES]

    def _reserve_is_whole(self, share: int) -> bool:
        """As `Reserve.is_whole`, at the cost of what free extents keep if need be."""
        if self.reserve.is_whole(share):
            return True
        self.trim()
        return self.reserve.is_whole(share)

    def _lowest_free(self, extent_class: ExtentClass) -> int:
        first = self._map + extent_class.first
        return self._segment.bytes.find(_FREE, first, first + extent_class.count) - self._map

    def _lend(self, tube: int, extent_class: ExtentClass, extent: int, nbytes: int, *, share: int) -> int:
        start = extent_class.base + (extent - extent_class.first) * extent_class.size
        # The owner before the byte: the owner word of an extent that is marked as lent is always right.
        self._words[self._owners + extent] = tube + 1
        self._segment.bytes[self._map + extent] = _LENT
        self._drop_excess(extent, start, whole_pages(nbytes))
        if self.back(extent_class, extent, start, nbytes, share=share):
            return start
        self._segment.bytes[self._map + extent] = 0
        self._words[self._owners + extent] = 0
        return 0

    def back(self, extent_class: ExtentClass, extent: int, start: int, nbytes: int, *, share: int) -> bool:
        """Make sure that the extent, which begins at `start`, has memory for so many bytes. False: there is no room."""
        punched = self._words[self._backed + extent] & _PUNCHED
        backed = self._words[self._backed + extent] - punched
        if nbytes <= backed <= extent_class.size:
            return True
        exact = whole_pages(nbytes)
        if exact > extent_class.size or backed > extent_class.size:
            raise damaged(self._segment.name, f"extent {extent} cannot hold {max(nbytes, backed)} bytes")
        generous = min(extent_class.size, max(exact, backed + min(max(backed, PAGE), _LARGEST_STEP)))
        for goal in (generous, exact):
            # While memory is short only what is needed is taken, so that more extents get some.
            if goal > exact and self.scarce:
                continue
            if self.secure(start + backed, goal - backed, share=share, more_than_needed=goal > exact):
                self._words[self._backed + extent] = goal | punched
                return True
        return False

    def _drop_excess(self, extent: int, start: int, needed: int) -> None:
        """While memory is scarce, return most of what an extent kept from a larger use."""
        backed = self._words[self._backed + extent]
        if backed > 2 * needed and not backed & _PUNCHED and self.scarce:
            self._words[self._backed + extent] = needed
            self._segment.give_back(start + needed, backed - needed)

    def _drop_memory(self, extent_class: ExtentClass, extent: int) -> None:
        # The word first: memory that is not counted is harmless, counting on memory that is gone is a SIGBUS. All of
        # the extent is given back, not only what the word says: a process may have died between the memory and the
        # word. Where this process dies before it gave the memory of a free extent back, the next `trim` does.
        self._words[self._backed + extent] = _PUNCHED
        start = extent_class.base + (extent - extent_class.first) * extent_class.size
        self._segment.give_back(start, extent_class.size)
        self._words[self._backed + extent] = 0

    def _class_of(self, extent: int) -> ExtentClass:
        return next(candidate for candidate in reversed(self._classes) if extent >= candidate.first)
