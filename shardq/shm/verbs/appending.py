"""Adding messages to tubes: all of them, or those that have no equal.

One number says which messages of a tube are in the table of equal ones: all below it are. A process that asks for
equality first puts the tube's other messages into the table, in several sections, so that other processes get in
between. From then on until the tube is empty, a producer that only appends to it puts some of the tube's messages into
the table as well. So it cannot append faster than messages are indexed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from shardq.model import Full, Part, key_of, split_key
from shardq.model.trace import distinct as firsts
from shardq.shm import words as at
from shardq.shm.core import Core
from shardq.shm.damage import damaged
from shardq.shm.gate import Gate
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter
from shardq.shm.verbs.equal_messages import Asked, EqualMessages, tube_field
from shardq.shm.verbs.transfer import Transfer

#: How many messages are put into the table in one section at first, twice as many each further time.
FIRST_SLICE = 512
#: How many at most by a producer that appends without asking for equality.
_HELP = 1024
#: How many tubes are made in one section, so that it takes less than a millisecond.
_NEW_TUBES = 16


class Appending:
    """Verbs that add, each in one guarded section or few."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        directory: Directory,
        fifos: Fifos,
        writer: FifoWriter,
        claims: Claims,
        transfer: Transfer,
        equals: EqualMessages,
        core: Core,
        section: AbstractContextManager[None],
        gate: Gate,
    ) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._directory = directory
        self._fifos = fifos
        self._writer = writer
        self._claims = claims
        self._transfer = transfer
        self._equals = equals
        self._core = core
        self._section = section
        self.gate = gate

    def append(self, parts: Sequence[Part], *, share: int = at.GENERAL) -> bool:
        """Add messages to tubes, all or none; no pipe may be there twice. False: there is no room now."""
        if self._core.append(parts, share) or (self._makes_tubes(parts, share) and self._core.append(parts, share)):
            return True
        bodies = [(pipe, record.Body(messages)) for pipe, messages in parts if messages]
        if not bodies:
            return True
        with self._section:
            if self._words[at.CLOSED] and not self.gate.takes():
                return False
            tubes = self._append(bodies, share)
            if self._words[at.EQUALITY_STATE]:
                for (pipe, _), tube in zip(bodies, tubes, strict=False):
                    self.help(pipe, tube)
            return bool(tubes)

    def append_absent(self, parts: Sequence[Part], *, due_us: int = 0, share: int = at.GENERAL) -> int | None:
        """Add those messages that have no equal queued, in hand or deferred, nor one before them here; with `due_us`
        they wait until then. Returns how many, None: there is no room now, and nothing was added.
        """
        asked = self.asked(parts, distinct=True)
        most = FIRST_SLICE
        while True:
            with self._section:
                if self._words[at.CLOSED] and not self.gate.takes():
                    return None
                tubes = [self._directory.tubes(each.pipe)[1] for each in asked]
                known = [
                    self.catch_up(each.pipe, tube, most, share=share)
                    for each, its in zip(asked, tubes, strict=True)
                    for tube in its
                ]
                if None in known:
                    return None
                if all(known):
                    return self._append_fresh(asked, tubes, due_us, share)
            most *= 2

    def found_full(self, parts: Sequence[Part], how: Full) -> None:
        """Count that a call with these messages, which are for one handler, found no room."""
        handler, _ = split_key(key_of(parts[0][0]))
        with self._section:
            self._claims.found_full(handler, how)

    def asked(self, parts: Sequence[Part], *, distinct: bool) -> list[Asked]:
        """The messages with their digests, of equal ones all or, with `distinct`, one. Wants no guard. Raises
        `HandlerError` for a pipe that cannot be stored.
        """
        for pipe, _ in parts:
            self._directory.check_name(pipe)
        return [
            Asked(pipe, chosen, self._digests(pipe, chosen))
            for pipe, messages in parts
            for chosen in [firsts(messages) if distinct else messages]
        ]

    def help(self, pipe: str, tube: int) -> None:
        """Put more of the tube's messages into the table, where a process asked for their equality before."""
        if self._words[self._layout.tube_word(tube) + at.TUBE_INDEXED]:
            self.catch_up(pipe, tube, _HELP, share=at.GENERAL)

    def catch_up(
        self, pipe: str, tube: int, most: int, *, share: int, digests: Sequence[int] | None = None
    ) -> bool | None:
        """Put up to `most` more of a tube's messages into the table. False: there are more left. None: there is no
        room. `digests` of the messages, where they are known.
        """
        words, word = self._words, self._layout.tube_word(tube)
        if self._fifos.is_empty(tube):
            return True
        head, indexed = words[word + at.TUBE_HEAD_SEQUENCE], words[word + at.TUBE_INDEXED] - 1
        start = words[word + at.TUBE_INDEXED_RECORD] if indexed > head else 0
        number = max(indexed, head)
        for found in self._fifos.chains.records(tube, start):
            index = max(0, number - found.sequence)
            count = min(most, found.count - index)
            if count <= 0:
                continue
            if digests is None:
                known = self._digests(pipe, record.cut(self._segment, found, index, count).messages)
            else:
                known, digests = digests[:count], digests[count:]
            if not self._insert_living(tube, found, index, known, share):
                return None
            number = found.sequence + index + count
            # The record first: after a death between the two its messages are put in once more, which is harmless.
            words[word + at.TUBE_INDEXED_RECORD] = found.address
            words[word + at.TUBE_INDEXED] = number + 1
            most -= count
            if not most:
                break
        following = self._fifos.next_sequence(tube)
        if most and number != following:
            raise damaged(self._segment.name, f"tube {tube} ends at {following}, and its equal messages at {number}")
        return number == following

    def _insert_living(self, tube: int, found: record.Record, index: int, digests: Sequence[int], share: int) -> bool:
        """Put messages of a record from `index` on, whose digests these are, into the table. Those that were taken out
        are left out: their entries would take the place of those of equal messages before them. False: there is no
        room.
        """
        field, first, count = tube_field(tube, found.address), found.sequence + index, len(digests)
        bits, start = record.cancelled_bits(self._segment, found) >> index, 0
        taken_out = [n for n in range(count) if bits >> n & 1] if bits else []
        for end in [*taken_out, count]:
            living = digests[start:end]
            if living and not self._equals.table.insert(living, field, first + start, share=share):
                return False
            start = end + 1
        return True

    def _makes_tubes(self, parts: Sequence[Part], share: int) -> bool:
        """Make the tubes that are new, empty, so that the core can fill all at once: that takes half of the time of
        filling them here. Returns whether any was. One that is given up before it is filled is made again by `append`.
        """
        if self._core.engine is None or self._words[at.EQUALITY_STATE]:
            return False
        new = [pipe for pipe, messages in parts if messages and not self._directory.knows(pipe)]
        for start in range(0, len(new), _NEW_TUBES):
            with self._section:
                if self._words[at.CLOSED]:
                    return False
                for pipe in new[start : start + _NEW_TUBES]:
                    if not self._makes_tube(pipe, share):
                        return False
        return bool(new)

    def _makes_tube(self, pipe: str, share: int) -> bool:
        thread, tube = self._directory.add_tube(pipe, share=share)
        if tube == NO_ROOM:
            self._journal.clear()
            return False
        self._core.learn(pipe, thread, tube)
        self._claims.tallies.have([self._directory.handler(thread)])
        self._journal.clear()
        return True

    def _append(self, parts: Sequence[tuple[str, Sequence[bytes]]], share: int) -> list[int]:
        """The tubes that have the messages now, none for lack of room."""
        # Empty literals here and where batches are read: `list[int]()` takes 0.8 us.
        threads: list[int] = []
        targets: list[tuple[int, Sequence[bytes]]] = []
        # A thread that is kept is not given up to make place for the next one's entry.
        declare = self._journal.declare if len(parts) == 1 else self._journal.keep
        for pipe, messages in parts:
            thread, tube = self._directory.add_tube(pipe, share=share)
            if tube == NO_ROOM:
                self._journal.clear()
                return []
            declare(thread)
            self._core.learn(pipe, thread, tube)
            threads.append(thread)
            targets.append((tube, messages))
        stored = self._writer.append(targets, time.time_ns() // 1000, share=share)
        if stored:
            for thread in threads:
                self._claims.work_arrived(thread)
        self._journal.clear()
        if not stored:
            return []
        self._claims.tallies.accepted(threads, targets)
        return [tube for tube, _ in targets]

    def _append_fresh(
        self, asked: Sequence[Asked], tubes: Sequence[Sequence[int]], due_us: int, share: int
    ) -> int | None:
        fresh = [Asked(each.pipe, *self._equals.absent(*each, its)) for each, its in zip(asked, tubes, strict=True)]
        fresh = [each for each in fresh if each.messages]
        count = sum(len(each.messages) for each in fresh)
        if not fresh:
            return 0
        if due_us:
            stored = self._transfer.add(fresh, "", due_us, time.time_ns() // 1000, share=share)
            return count if stored else None
        added = self._append([(each.pipe, each.messages) for each in fresh], share)
        for each, tube in zip(fresh, added, strict=False):
            self.catch_up(each.pipe, tube, len(each.messages), share=share, digests=each.digests)
        return count if added else None

    def _digests(self, pipe: str, messages: Sequence[bytes]) -> Sequence[int]:
        return self._equals.table.digests(pipe, messages)
