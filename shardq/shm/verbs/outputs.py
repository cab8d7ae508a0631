"""What a handler sends on: stored in the commit in which the batch leaves its tube that it comes of, or not at all.

A process that is killed before that commit leaves nothing of the outputs, and the batch comes again. A process that is
killed after it leaves all of them, and the batch does not come again. So each output appears once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from shardq.errors import DirectoryFull
from shardq.model import KEPT_PIPE
from shardq.model.trace import untraced
from shardq.outputs import Output, hands_over
from shardq.shm import words as at
from shardq.shm.core import Core
from shardq.shm.journal import Journal
from shardq.shm.memory import record
from shardq.shm.memory.extents import Extents
from shardq.shm.segment import Segment
from shardq.shm.tubes.claims import Claims
from shardq.shm.tubes.directory import NO_ROOM, Directory
from shardq.shm.tubes.fifo import Fifos
from shardq.shm.tubes.fifo_writer import FifoWriter
from shardq.shm.tubes.graves import Graves
from shardq.shm.verbs.appending import Appending
from shardq.shm.verbs.equal_messages import Asked, EqualMessages
from shardq.shm.verbs.transfer import Transfer

#: A tube that gets messages at once: its pipe, its thread and its entry.
Target = tuple[str, int, int]
#: Instead of outputs that were written: more messages of a tube have to come into the table of equal ones first.
AGAIN = -3


class Later(NamedTuple):
    """Messages that wait for their time."""

    part: Asked
    due_us: int


class AskedOutputs(NamedTuple):
    """The outputs of a batch, as far as they are known without the guard."""

    at_once: dict[str, Sequence[bytes]]
    """By pipe."""
    later: list[Later]
    doubtful: Sequence[Output]
    """All outputs, where some must have no equal: then what comes at once and later is found out inside the guard."""
    share: int
    """Which share of the capacity they may use."""
    kept: Sequence[bytes] = ()
    """Results that are kept: they are no messages of a tube that workers serve."""


class Written(NamedTuple):
    """Outputs that stand in the segment, and count once the stores are made."""

    stores: list[tuple[int, int]]
    targets: list[Target]
    counts: list[int]
    """How many messages come into each of the targets now."""
    deferred: bool
    """Whether some of them wait for their time."""


NOTHING = Written([], [], [], deferred=False)


class Outputs:
    """Writes outputs. All methods but `asked` want the guard held."""

    def __init__(
        self,
        segment: Segment,
        journal: Journal,
        extents: Extents,
        directory: Directory,
        fifos: Fifos,
        writer: FifoWriter,
        claims: Claims,
        graves: Graves,
        transfer: Transfer,
        equals: EqualMessages,
        appending: Appending,
        core: Core,
    ) -> None:
        self._words = segment.words
        self._layout = segment.layout
        self._journal = journal
        self._extents = extents
        self._directory = directory
        self._fifos = fifos
        self._writer = writer
        self._claims = claims
        self._graves = graves
        self._transfer = transfer
        self._equals = equals
        self._appending = appending
        self._core = core

    def asked(self, outputs: Sequence[Output], acknowledged: int) -> AskedOutputs:
        """The outputs of so many requests, ready to be written. Wants no guard. Raises `HandlerError` for a pipe that
        cannot be stored.
        """
        doubtful = False
        plain: dict[str, Sequence[bytes]] = {}
        for pipe, messages, when, absent in outputs:
            self._directory.check_name(pipe)
            doubtful = doubtful or absent
            if when is None and messages:
                plain[pipe] = messages
        kept = plain.pop(KEPT_PIPE, ())
        if kept:
            outputs = [output for output in outputs if output.pipe != KEPT_PIPE]
        share = at.HAND_OVER if hands_over(outputs, acknowledged) else at.FOLLOW_UP
        if doubtful:
            return AskedOutputs({}, [], outputs, share, kept)
        if len(plain) == len(outputs):
            return AskedOutputs(plain, [], (), share, kept)
        return AskedOutputs(*self._sorted(outputs), (), share, kept)

    def write(self, thread: int, asked: AskedOutputs, most: int) -> Written | int:
        """Write the outputs of a batch of this thread. They are no part of their tubes yet. Room is kept for the dead
        letter that each may become. NO_ROOM: there is no room for all of them. AGAIN: `most` more messages of a tube
        came into the table of equal ones, and others are still missing there. Raises `MessageTooLarge` where there
        never will be room.
        """
        if self._words[at.CLOSED]:
            self._appending.gate.check_not_shut()  # while the content leaves, what is in hand may still be acknowledged
        at_once, later, doubtful, share, kept = asked
        if doubtful:
            indexed = self._index(doubtful, most, share)
            if not indexed:
                return NO_ROOM if indexed is None else AGAIN
            at_once, later = self._sorted(self._fresh(doubtful))
        if not at_once and not later and not kept:
            return NOTHING
        self._journal.keep(thread)
        letters = self._kept(kept) if kept else NOTHING
        if letters is None:
            return NO_ROOM
        if not at_once and not later:
            return letters
        messages = list(chain(*at_once.values(), *(part.messages for part, _ in later) if later else ()))
        former, written = self._extents.keep_room(messages, share), None
        try:
            if former is not None:
                written = self._all_written(at_once, later, share)
        finally:
            if written is None:
                nbytes = record.size_of(len(messages), sum(map(len, messages)))
                self._extents.found_no_room(messages, nbytes, former, share)
        if written is None:
            for _, _, tube in letters.targets:
                self._fifos.chains.sweep(tube)
            self._writer.check_size(messages)
            return NO_ROOM
        if not kept:
            return written
        counts = written.counts + letters.counts
        return Written(written.stores + letters.stores, written.targets + letters.targets, counts, written.deferred)

    def arrived(self, written: Written) -> None:
        """Offer what was written, once its stores are made."""
        if written.deferred:
            self._transfer.settle("")
        for _, thread, _ in written.targets:
            self._claims.work_arrived(thread)
        for (_, thread, _), count in zip(written.targets, written.counts, strict=True):
            self._claims.tallies.accepted_in(thread, count)
        if self._words[at.EQUALITY_STATE]:
            for pipe, _, tube in written.targets:
                self._appending.help(pipe, tube)

    def _kept(self, results: Sequence[bytes]) -> Written | None:
        """Write results where they are kept. None: there is no room, also in the place of older ones."""
        thread, tube = grave = self._graves.place(KEPT_PIPE, at.RESULTS)
        if tube == NO_ROOM:
            return None
        self._journal.keep(thread)
        tail = self._graves.write(grave, results) if self._graves.could_hold(grave, results) else 0
        if not tail:
            self._writer.check_size(results)
            return None
        stores = [(self._layout.tube_word(tube) + at.TUBE_TAIL, tail)]
        return Written(stores, [(KEPT_PIPE, thread, tube)], [0], deferred=False)

    def _index(self, outputs: Sequence[Output], most: int, share: int) -> bool | None:
        """Put up to `most` messages of each tube into the table of equal ones, where an output must have no equal.
        False: there are more left. None: there is no room.
        """
        known = [
            self._appending.catch_up(pipe, tube, most, share=share)
            for pipe in dict.fromkeys(output.pipe for output in outputs if output.absent)
            for tube in self._directory.tubes(pipe)[1]
        ]
        return None if None in known else all(known)

    def _fresh(self, outputs: Sequence[Output]) -> Iterator[Output]:
        """The outputs with the messages that are stored: where they must have no equal, those that have none, also
        among the earlier outputs.
        """
        sent = defaultdict[str, set[bytes]](set)
        for output in outputs:
            pipe, messages = output.pipe, output.messages
            if output.absent:
                [asked] = self._appending.asked([(pipe, messages)], distinct=True)
                new, _ = self._equals.absent(*asked, self._directory.tubes(pipe)[1])
                messages = [message for message in new if untraced(message) not in sent[pipe]]
            sent[pipe].update(map(untraced, messages))
            yield output._replace(messages=messages)

    def _sorted(self, outputs: Iterable[Output]) -> tuple[dict[str, Sequence[bytes]], list[Later]]:
        """What comes at once, by pipe, and what comes later."""
        at_once, later = dict[str, Sequence[bytes]](), list[Later]()
        for pipe, messages, when, _ in outputs:
            if when is not None and messages:
                [asked] = self._appending.asked([(pipe, messages)], distinct=False)
                later.append(Later(asked, max(1, when.due_us or 0)))
            elif messages:
                before = at_once.get(pipe)
                at_once[pipe] = messages if before is None else [*before, *messages]
        return at_once, later

    def _all_written(self, at_once: dict[str, Sequence[bytes]], later: list[Later], share: int) -> Written | None:
        now_us = time.time_ns() // 1000
        targets = self._targets(at_once, share)
        if targets is None:
            return None
        stores = self._writer.write_all([(tube, at_once[pipe]) for pipe, _, tube in targets], now_us, share)
        if len(stores) < len(targets):
            return None
        if targets:
            stores.append(self._journal.moved(at.ACCEPTED, sum(map(len, at_once.values()))))
        if later:
            self._journal.declare_pending()
            waiting = self._transfer.write(later, "", now_us, share=share)
            if not waiting:
                self._journal.clear_pending()
                for _, _, tube in targets:
                    self._fifos.chains.sweep(tube)
                return None
            stores += waiting
        return Written(stores, targets, [len(at_once[pipe]) for pipe, _, _ in targets], deferred=bool(later))

    def _targets(self, pipes: Iterable[str], share: int) -> list[Target] | None:
        """The tubes of these pipes. None: there is no room for the entry of one of them."""
        targets: list[Target] = []
        for pipe in pipes:
            try:
                thread, tube = self._directory.add_tube(pipe, share=share)
            except DirectoryFull:
                return None
            if tube == NO_ROOM:
                return None
            self._journal.keep(thread)
            self._core.learn(pipe, thread, tube)
            targets.append((pipe, thread, tube))
        return targets
